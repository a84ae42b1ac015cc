"""Published scaling: what the released code of MRH-Net does, for training and for test data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from mrh_monai.data import NanRule, SubjectInMemory
from mrh_monai.errors import OptionError
from mrh_monai.patch_geometry import PatchGeometry
from mrh_monai.scaling.intensity_scaling import Coefficients, MeasuredSubject, Scaling, TrainingLevels
from mrh_monai.scaling.robust_scaling import LEVEL_PERCENTILE, levels_of


@dataclass(frozen=True)
class PublishedScaling(Scaling):
    """Scaling by the largest intensity of the region that is predicted.

    This region is the support (the mask, or FA > 0) of a subject, or a whole patch file. NaN become 0. The outermost voxels, whose
    patch would leave the volume, are not predicted. One bright voxel changes the whole prediction: that is the published behaviour.

    Attributes:
        target_max: Largest target of the training, in the stain's own units.
        channel_mean: (C,) mean of each channel over the training masks, relative to the level of the subject, by which new scans are
            checked; empty where it is not known, as for imported networks. No prediction depends on it.
        channel_std: (C,) standard deviation of each channel over the training masks, relative to the same level; empty where it is unknown.
    """

    channel_mean: tuple[float, ...] = ()
    channel_std: tuple[float, ...] = ()
    mode: ClassVar[str] = "published"
    nan_rule: ClassVar[NanRule] = "zero"
    description: ClassVar[str] = "intensities divided by their maximum, as the released code does"

    @classmethod
    def fit(cls, subjects: Sequence[SubjectInMemory], weights: Sequence[float] | None = None) -> Self:
        """Learn the largest target of a training set, and the signals by which new scans are checked."""
        levels = levels_of(subjects)
        return cls(cls.target_limits(subjects)[1], channel_mean=tuple(levels.mean.tolist()), channel_std=tuple(levels.std.tolist()))

    @classmethod
    def target_limits(cls, subjects: Sequence[SubjectInMemory]) -> tuple[float, float]:
        """Return 0 and the largest target of the masks, or of whole patch files, see `Scaling.target_limits`."""
        targets = [s.target if s.is_patches else s.target[s.scored] for s in subjects if s.target is not None]
        largest = float(max((values.max() for values in targets), default=1))
        if largest <= 0 and any(values.any() for values in targets):
            expected, found = "a stain with values above 0, by whose largest value published scaling divides", f"at most {largest:g}"
            raise OptionError("scaling", expected, found, "train with --scaling robust")
        return 0.0, largest or 1.0

    def coefficients(self, subject: MeasuredSubject, support: np.ndarray) -> Coefficients:
        """Return the gain and offset of each channel of one subject, see `Scaling.coefficients`."""
        return _division_by(largest_intensity(subject, support), subject.slabs.channels)

    def training_coefficients(self, subjects: Sequence[SubjectInMemory]) -> list[Coefficients]:
        """Return the same coefficients for all subjects: the released code takes one maximum over the whole patch file."""
        largest = max(largest_intensity(subject, subject.mask) for subject in subjects)
        return [_division_by(largest, subject.slabs.channels) for subject in subjects]

    def support(self, mask: np.ndarray, patch: PatchGeometry) -> np.ndarray:
        """Return the voxels of the mask whose patch lies inside the volume, (X, Y, Z) bool."""
        return patch.inner(mask)

    def check_channels(self, count: int) -> None:
        """Compare the number of known signals, if there are any, with the number of channels, see `Scaling.check_channels`."""
        if self.channel_mean and len(self.channel_mean) != count:
            raise ValueError(f"{len(self.channel_mean)} scaling constants for {count} channels")

    @property
    def training_levels(self) -> TrainingLevels | None:
        """Signals of the training subjects, relative to the level of each subject; None where they are not known."""
        return TrainingLevels(np.array(self.channel_mean), np.array(self.channel_std)) if self.channel_mean else None

    def matlab_comment(self) -> str:
        """Return how to scale an input and an output in MATLAB, as one line of comment."""
        return "% Input: X / max(X(:)), as the released code does. Output: YPred * scaling.target_max."

    def to_dict(self) -> dict[str, Any]:
        """Return the constants as plain values; a weight of channels is empty, so that all sidecars have the same fields."""
        return {
            "mode": self.mode,
            "channel_mean": self.channel_mean,
            "channel_std": self.channel_std,
            "target_max": self.target_max,
            "channel_weight": (),
            "level_percentile": LEVEL_PERCENTILE,
        }

    @classmethod
    def from_constants(cls, values: Mapping[str, Any]) -> Self:
        """Return the scaling with the constants of a sidecar, see `Scaling.from_constants`."""
        target_max = float(values["target_max"])
        if not 0 < target_max < float("inf"):
            raise ValueError(f"a largest target of {target_max}")
        mean, std = (tuple(map(float, values.get(f"channel_{key}", ()))) for key in ("mean", "std"))
        if len(mean) != len(std) or not np.isfinite([*mean, *std]).all() or not all(value > 0 for value in std):
            raise ValueError("signals of the training that are outside their range")
        return cls(target_max, channel_mean=mean, channel_std=std)


def largest_intensity(subject: MeasuredSubject, support: np.ndarray) -> float:
    """Return the largest intensity of a subject inside its support, or of a whole patch file.

    Raises:
        OptionError: The support is empty.
    """
    if subject.largest is not None:
        return subject.largest
    slabs, largest = subject.slabs, -np.inf
    inner = slice(slabs.margin, -slabs.margin or None)
    for start in range(0, support.shape[1], slabs.thickness):
        inside = support[:, start : start + slabs.thickness]
        if inside.any():
            values = slabs.slab(start, start + inside.shape[1])[inner, :, inner]
            largest = max(largest, float(values[inside].max()))
    if not np.isfinite(largest):
        remedy = "published scaling leaves out the outermost voxels of the volume; pad the scans, or train with --scaling robust"
        raise OptionError("mask", "voxels whose patch lies inside the volume", "no such voxel", remedy)
    return largest


def _division_by(largest: float, channels: int) -> Coefficients:
    return Coefficients(np.full(channels, 1 / (largest or 1.0), np.float32), np.zeros(channels, np.float32))
