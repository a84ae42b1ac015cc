"""What every scaling mode can do: turn the intensities of a scanner into a network's numbers, and predictions back into the stain's units.

A mode is one class in a file of its own, see `scaling_modes.py`. Its constants travel with the network's weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Protocol, Self, TypeVar

import numpy as np

from mrh_monai.data import NanRule, Slabs, SubjectInMemory
from mrh_monai.patch_geometry import PatchGeometry

# Standard deviations of the training voxels by which the mean of a channel may differ. On digital brains it differs by up to 1.3 with one
# training subject and 0.7 with three, and by 2.8 or more where channels are in a wrong order.
FAR = 1.5
Values = TypeVar("Values", bound=Any)  # an array or a tensor; this room does not need PyTorch


class Coefficients(NamedTuple):
    """How the raw intensities of one subject become a network's numbers: scaled = raw * gain + offset.

    Attributes:
        gain: (C,) float32.
        offset: (C,) float32.
    """

    gain: np.ndarray
    offset: np.ndarray


class TrainingLevels(NamedTuple):
    """Signals of the training subjects, relative to the level of each subject.

    Attributes:
        mean: (C,) mean of each channel over the training voxels.
        std: (C,) standard deviation of each channel over the training voxels.
    """

    mean: np.ndarray
    std: np.ndarray

    def furthest(self, means: np.ndarray) -> tuple[int, float]:
        """Return the channel of a subject whose mean is furthest from the training subjects, and its distance.

        Args:
            means: (C,) mean of each channel in the brain, relative to the level of the subject.

        Returns:
            Index of the channel, and its distance in standard deviations of the training voxels, with its sign. Beyond `FAR` the subject
            is unlike the training subjects: in its tissue, its protocol, or the order of its channels.

        Example:
            >>> TrainingLevels(np.array([0.5, 0.4]), np.array([0.1, 0.2])).furthest(np.array([0.45, 0.7]))
            (1, 1.5)
        """
        away = (means - self.mean) / self.std
        worst = int(np.argmax(np.abs(away)))
        return worst, round(float(away[worst]), 6)


class MeasuredSubject(Protocol):
    """What scaling needs to know of a subject, whether its images are in memory or on disk."""

    @property
    def slabs(self) -> Slabs:
        """The images of the subject."""

    @property
    def level_values(self) -> np.ndarray:
        """(N, C) raw intensities of voxels that are spread over the brain."""

    @property
    def largest(self) -> float | None:
        """The largest intensity of a patch file; None for volumes."""


@dataclass(frozen=True)
class Scaling(ABC):
    """The scaling of one trained network.

    Attributes:
        target_max: Target that is scaled to 1, in the stain's own units, see `target_limits`.
        target_min: Target that is scaled to 0, in the stain's own units.
        mode: Name of the scaling mode.
        nan_rule: What is done with NaN and Inf inside the mask if the user does not choose: ``refuse``, or ``zero`` to set them to 0.
        description: The mode in a few words, for help texts.
    """

    target_max: float
    target_min: float = field(default=0.0, kw_only=True)
    mode: ClassVar[str]
    nan_rule: ClassVar[NanRule] = "refuse"
    description: ClassVar[str]

    @classmethod
    @abstractmethod
    def fit(cls, subjects: Sequence[SubjectInMemory], weights: Sequence[float] | None = None) -> Self:
        """Learn the constants of a training set.

        Args:
            subjects: Training subjects with their targets.
            weights: (C,) standard deviation to which each channel is scaled, such as `MRProtocol.weights`; None for 1.
        """

    @abstractmethod
    def coefficients(self, subject: MeasuredSubject, support: np.ndarray) -> Coefficients:
        """Return the gain and offset of each channel of one subject.

        Args:
            subject: The subject. Its level is taken over the whole brain, whatever slices are in use.
            support: (X, Y, Z) bool, the voxels that are predicted, see `support`.
        """

    def training_coefficients(self, subjects: Sequence[SubjectInMemory]) -> list[Coefficients]:
        """Return the coefficients of all subjects from which training patches are drawn together."""
        return [self.coefficients(subject, subject.mask) for subject in subjects]

    def support(self, mask: np.ndarray, patch: PatchGeometry) -> np.ndarray:
        """Return the voxels that are predicted, (X, Y, Z) bool.

        Args:
            mask: (X, Y, Z) bool, the brain.
            patch: The patch around each voxel.
        """
        return mask

    @classmethod
    @abstractmethod
    def target_limits(cls, subjects: Sequence[SubjectInMemory]) -> tuple[float, float]:
        """Return the targets that are scaled to 0 and to 1, in the stain's own units.

        Args:
            subjects: Training subjects; 0 and 1 where they have no targets.

        Raises:
            OptionError: The mode cannot scale such a stain.
        """

    @property
    def target_range(self) -> float:
        """Difference of two targets whose scaled values differ by 1, in the stain's own units."""
        return self.target_max - self.target_min

    def unscaled(self, prediction: Values) -> Values:
        """Return a prediction of the network in the stain's own units.

        Args:
            prediction: Scaled prediction, an array or a tensor of any shape.
        """
        stain: Values = prediction * self.target_range
        if self.target_min:
            stain = stain + self.target_min
        return stain

    def with_targets_of(self, subjects: Sequence[SubjectInMemory]) -> Self:
        """Return the same scaling of the images, with the limits of the targets of other training subjects."""
        low, high = self.target_limits(subjects)
        return replace(self, target_min=low, target_max=high)

    @classmethod
    def chosen_nan_rule(cls, asked: str | None) -> str:
        """Return what is done with NaN inside the mask: what the user asked for, or the rule of the mode if the user asked for nothing."""
        return cls.nan_rule if asked is None else asked

    @abstractmethod
    def check_channels(self, count: int) -> None:
        """Compare the constants with the number of channels of a network.

        Raises:
            ValueError: The numbers differ.
        """

    @property
    def training_levels(self) -> TrainingLevels | None:
        """Signals of the training subjects, by which a new scan can be checked; None where the mode does not know them."""
        return None

    @abstractmethod
    def matlab_comment(self) -> str:
        """Return how to scale an input and an output in MATLAB, as lines of comment."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the constants as plain values, for the sidecar of the weights."""

    @classmethod
    @abstractmethod
    def from_constants(cls, values: Mapping[str, Any]) -> Self:
        """Return the scaling with the constants of a sidecar.

        Raises:
            KeyError: A constant is missing.
            TypeError: A constant has a wrong type.
            ValueError: A constant is outside its range.
        """
