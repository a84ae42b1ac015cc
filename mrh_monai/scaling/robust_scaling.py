"""Robust scaling, the default: one factor for each subject, then constants of the training set for each channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from mrh_monai.data import SubjectInMemory, level_voxels, ordinary_limits, robust_limits
from mrh_monai.scaling.intensity_scaling import Coefficients, MeasuredSubject, Scaling, TrainingLevels

# The brightest tissue of the brightest image holds little myelin, so that its level hardly moves with disease. A mean of the channels'
# medians would rise by 23% with a loss of myelin, and hide half of the loss (docs/results.md).
LEVEL_PERCENTILE = 99.0


@dataclass(frozen=True)
class RobustScaling(Scaling):
    """Scaling in which one bright voxel changes nothing.

    A subject is divided by one factor, its level: the 99th percentile of its brightest channel in the brain. Each channel is then
    standardised with constants of the training set. This removes the gain of the scanner and keeps the changes that disease makes.
    Contrasts that consist of many images get a smaller standard deviation, see `MRProtocol.weights`.

    Attributes:
        target_max: 99.9th percentile of the targets in the training masks, in the stain's own units, which is scaled to 1.
        target_min: Target that is scaled to 0: 0 for most stains, see `target_limits`.
        channel_mean: (C,) mean of each channel over the training masks, after the division by the level of the subject.
        channel_std: (C,) standard deviation of each channel over the training masks, after the same division.
        channel_weight: (C,) standard deviation of each channel once it is scaled.
        level_percentile: Percentile, 0 to 100, of the voxels of a channel in the mask. The percentile of the brightest channel is the
            level of the subject.
    """

    channel_mean: tuple[float, ...]
    channel_std: tuple[float, ...]
    channel_weight: tuple[float, ...]
    level_percentile: float = LEVEL_PERCENTILE
    mode: ClassVar[str] = "robust"
    description: ClassVar[str] = "one level for each subject, then constants of the training set for each channel"

    @classmethod
    def fit(cls, subjects: Sequence[SubjectInMemory], weights: Sequence[float] | None = None) -> Self:
        """Learn the constants of a training set, see `Scaling.fit`. A hot or cold voxel counts as the limit of ordinary ones."""
        levels = levels_of(subjects)
        weight = (1.0,) * len(levels.std) if weights is None else tuple(weights)
        low, high = cls.target_limits(subjects)
        return cls(high, tuple(levels.mean.tolist()), tuple(levels.std.tolist()), weight, target_min=low)

    @classmethod
    def target_limits(cls, subjects: Sequence[SubjectInMemory]) -> tuple[float, float]:
        """Return 0 and the 99.9th percentile of the targets in the training masks, see `Scaling.target_limits`.

        A stain with negative values, or with an offset of more than half of that percentile, begins at the 0.1th percentile instead of 0.
        """
        targets = [subject.target[subject.scored].ravel() for subject in subjects if subject.target is not None]
        if not targets:
            return 0.0, 1.0
        low, high = robust_limits(np.concatenate(targets))
        if low == high:
            return 0.0, high or 1.0
        return (0.0 if 0 <= low <= high / 2 else low), high

    def coefficients(self, subject: MeasuredSubject, support: np.ndarray) -> Coefficients:
        """Return the gain and offset of each channel of one subject, see `Scaling.coefficients`."""
        per_level = np.asarray(self.channel_weight) / np.asarray(self.channel_std)
        gain = per_level / robust_level(subject.level_values, self.level_percentile)
        return Coefficients(gain.astype(np.float32), (-np.asarray(self.channel_mean) * per_level).astype(np.float32))

    def check_channels(self, count: int) -> None:
        """Compare the constants with the number of channels of a network, see `Scaling.check_channels`."""
        if len(self.channel_mean) != count:
            raise ValueError(f"{len(self.channel_mean)} scaling constants for {count} channels")

    @property
    def training_levels(self) -> TrainingLevels:
        """Signals of the training subjects, relative to the level of each subject."""
        return TrainingLevels(np.array(self.channel_mean), np.array(self.channel_std))

    def matlab_comment(self) -> str:
        """Return how to scale an input and an output in MATLAB, as lines of comment."""
        output = "% Output: YPred * scaling.target_max."
        if self.target_min:
            output = "% Output: YPred * (scaling.target_max - scaling.target_min) + scaling.target_min."
        return (
            "% Input: X / level, level = prctile(brain voxels of a channel, scaling.level_percentile), largest over channels; then\n"
            "%   (X(:, :, c, :) - scaling.channel_mean(c)) / scaling.channel_std(c) * scaling.channel_weight(c).\n" + output
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the constants as plain values, for the sidecar of the weights."""
        return {
            "mode": self.mode,
            "channel_mean": self.channel_mean,
            "channel_std": self.channel_std,
            "target_max": self.target_max,
            "channel_weight": self.channel_weight,
            "level_percentile": self.level_percentile,
            **({"target_min": self.target_min} if self.target_min else {}),
        }

    @classmethod
    def from_constants(cls, values: Mapping[str, Any]) -> Self:
        """Return the scaling with the constants of a sidecar, see `Scaling.from_constants`."""
        mean, std, weight = constants = [tuple(map(float, values[f"channel_{key}"])) for key in ("mean", "std", "weight")]
        low, high, percentile = (float(values.get("target_min", 0)), *(float(values[key]) for key in ("target_max", "level_percentile")))
        if len({len(each) for each in constants}) > 1 or not 0 <= percentile <= 100 or not all(value > 0 for value in std + weight):
            raise ValueError("scaling constants outside their range")
        if not np.isfinite([*mean, *std, *weight, low, high]).all() or high <= low:
            raise ValueError("scaling constants that are not finite")
        return cls(high, mean, std, weight, percentile, target_min=low)


def levels_of(subjects: Sequence[SubjectInMemory]) -> TrainingLevels:
    """Return the signals of training subjects, relative to the level of each; a hot or cold voxel counts as the limit of ordinary ones.

    Args:
        subjects: At least one subject.
    """
    count, total, square = 0, np.zeros(0), np.zeros(0)
    for subject in subjects:
        values = subject.image[level_voxels(subject.mask)].astype(np.float64)
        values = np.clip(values, *ordinary_limits(values)) / robust_level(subject.level_values, LEVEL_PERCENTILE)
        count += len(values)
        total = total + values.sum(0) if total.size else values.sum(0)
        square = square + (values**2).sum(0) if square.size else (values**2).sum(0)
    mean = total / count
    std = np.sqrt(np.maximum(square / count - mean**2, 0))
    std[std == 0] = 1
    return TrainingLevels(mean, std)


def robust_level(values: np.ndarray, percentile: float = LEVEL_PERCENTILE) -> float:
    """Return the signal level of a subject: the largest of the percentiles of its channels.

    Args:
        values: (N, C) raw intensities of voxels in the brain.
        percentile: Percentile, 0 to 100.

    Returns:
        The level in the units of the scan; at least the smallest positive float32 number.

    Example:
        >>> robust_level(np.array([[1.0, 10.0], [2.0, 20.0]]), percentile=100)
        20.0
    """
    return max(float(np.percentile(values, percentile, axis=0).max()), float(np.finfo(np.float32).tiny))
