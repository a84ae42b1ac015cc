"""Intensity scaling of inputs and targets, and its inverse; the constants travel with the checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from mrh_monai.data import LoadedSubject, Slabs, level_voxels
from mrh_monai.errors import CheckpointError, OptionError

MODES = ("robust", "published")
# The brightest tissue of the brightest image holds little myelin: its level hardly moves with disease. A mean of the channels' medians
# would rise by 23% with a loss of myelin, and hide half of it (docs/results.md).
LEVEL_PERCENTILE = 99.0


class Measured(Protocol):
    """A subject as far as scaling looks at it: a `LoadedSubject`, or one that is streamed."""

    @property
    def slabs(self) -> Slabs:
        """Its images."""

    @property
    def level_values(self) -> np.ndarray:
        """(N, C) of voxels spread over the brain."""

    @property
    def largest(self) -> float | None:
        """Of a file of patches its largest intensity."""


@dataclass(frozen=True)
class Scaling:
    """How raw intensities become a network's numbers.

    ``robust`` (the default) divides a subject by one factor, its robust level over all channels in the mask, then standardises each
    channel with constants of the training set: what differs between scanners' gains goes, what disease changes stays, and one bright
    voxel moves nothing. Channels that are many of one kind are scaled to less, `MRProtocol.weights`.

    ``published`` is what MRH-Net's released code does, for training and for test data alike: intensities are divided by the largest one
    in the region at hand, NaN become 0, and the outermost voxels, which cannot be the centre of a patch inside the volume, are not
    predicted. The region is the support (mask, or FA > 0) of a subject, and the whole of a patch file.

    Attributes:
        mode: ``robust`` or ``published``.
        channel_mean: (C,) mean of each channel over the training masks, after division by the subject's level; empty for ``published``.
        channel_std: (C,) standard deviation likewise; empty for ``published``.
        target_max: Largest target in the training masks, in the stain's own units; predictions are multiplied by it.
        channel_weight: (C,) standard deviation of each channel once it is scaled; empty for ``published``.
        level_percentile: Of a channel's voxels in the mask; the brightest channel's is the subject's level. Not used by ``published``.
    """

    mode: str
    channel_mean: tuple[float, ...]
    channel_std: tuple[float, ...]
    target_max: float
    channel_weight: tuple[float, ...] = ()
    level_percentile: float = LEVEL_PERCENTILE

    def support(self, mask: np.ndarray, axes: Sequence[int], radius: int) -> np.ndarray:
        """The voxels that are predicted: the mask, for ``published`` without those whose patch would leave the volume.

        Args:
            mask: (X, Y, Z) bool.
            axes: Array axes that a patch spans.
            radius: Half the patch's edge, rounded down.

        Returns:
            (X, Y, Z) bool.
        """
        if self.mode != "published":
            return mask
        inner = tuple(slice(radius, -radius) if axis in axes else slice(None) for axis in range(3))
        support = np.zeros_like(mask)
        support[inner] = mask[inner]
        return support

    def coefficients(self, subject: Measured, support: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gain and offset of each channel of one subject: scaled = raw * gain + offset.

        Args:
            subject: Its robust level is taken over the whole brain, whatever slices are in use.
            support: (X, Y, Z) bool of `support`, in which ``published`` looks for the largest intensity.

        Returns:
            Gain and offset, each (C,) float32.
        """
        if self.mode == "published":
            return _published_coefficients(_largest(subject, support), subject.slabs.channels)
        per_level = np.asarray(self.channel_weight) / np.asarray(self.channel_std)
        gain = per_level / robust_level(subject.level_values, self.level_percentile)
        return gain.astype(np.float32), (-np.asarray(self.channel_mean) * per_level).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the sidecar."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Scaling:
        """The inverse of `to_dict`.

        Raises:
            CheckpointError: A constant is missing or of another kind.
        """
        try:
            percentile = float(values["level_percentile"])
            mean, std, weight = constants = [tuple(map(float, values[f"channel_{key}"])) for key in ("mean", "std", "weight")]
            found = cls(_known(values["mode"]), mean, std, float(values["target_max"]), weight, percentile)
            if len({len(each) for each in constants}) > 1 or not 0 <= percentile <= 100 or not all(value > 0 for value in std + weight):
                raise ValueError("constants that cannot be")
            if not np.isfinite([*mean, *std, *weight, found.target_max]).all() or found.target_max <= 0:
                raise ValueError("constants that are not finite")
            return found
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                "scaling", "the constants of a trained network", f"{error!r}", "train or import the network again"
            ) from error


def fit_scaling(subjects: Sequence[LoadedSubject], mode: str = "robust", weights: Sequence[float] | None = None) -> Scaling:
    """Learn the constants of a training set.

    Args:
        subjects: Training subjects with their targets.
        mode: ``robust`` or ``published``.
        weights: (C,) what standard deviation each channel is scaled to, such as `MRProtocol.weights`; None for 1. Not for ``published``.

    Raises:
        OptionError: The mode is unknown.
    """
    target_max = largest_target(subjects, _known(mode))
    if mode == "published":
        return Scaling(mode, (), (), target_max)
    count, total, square = 0, np.zeros(0), np.zeros(0)
    for subject in subjects:
        values = subject.image[level_voxels(subject.mask)].astype(np.float64)
        values /= robust_level(subject.level_values, LEVEL_PERCENTILE)
        count += len(values)
        total = total + values.sum(0) if total.size else values.sum(0)
        square = square + (values**2).sum(0) if square.size else (values**2).sum(0)
    mean = total / count
    std = np.sqrt(np.maximum(square / count - mean**2, 0))
    std[std == 0] = 1
    weight = (1.0,) * len(std) if weights is None else tuple(weights)
    return Scaling(mode, tuple(mean.tolist()), tuple(std.tolist()), target_max, weight, LEVEL_PERCENTILE)


def largest_target(subjects: Sequence[LoadedSubject], mode: str) -> float:
    """What training targets are divided by: the largest in the training masks, or with ``published`` of a whole patch file."""
    targets = [(s.target if mode == "published" and s.is_patches else s.target[s.scored]).max() for s in subjects if s.target is not None]
    return float(max(targets, default=1)) or 1.0


def training_coefficients(scaling: Scaling, subjects: Sequence[LoadedSubject]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Gain and offset, each (C,), of every subject that patches are drawn from together.

    ``published`` takes one maximum over all of them, as the released code does over a patch file.
    """
    if scaling.mode == "published":
        largest = max(_largest(s, s.mask) for s in subjects)
        return [_published_coefficients(largest, s.slabs.channels) for s in subjects]
    return [scaling.coefficients(s, s.mask) for s in subjects]


def nan_rule(mode: str, asked: str | None) -> str:
    """``refuse`` or ``zero``: what is done with NaN inside the mask, as asked for or as the scaling mode goes."""
    return asked if asked is not None else "zero" if mode == "published" else "refuse"


def robust_level(values: np.ndarray, percentile: float) -> float:
    """A subject's signal level: each channel's percentile, of the channel where it is largest.

    Args:
        values: (N, C), raw, of voxels in the brain.
        percentile: 0 to 100.

    Returns:
        The level, in the scan's units; at least the smallest positive number.
    """
    return max(float(np.percentile(values, percentile, axis=0).max()), float(np.finfo(np.float32).tiny))


def _largest(subject: Measured, support: np.ndarray) -> float:
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
        remedy = "published scaling leaves out the rim of the volume; pad the scans, or train with --scaling robust"
        raise OptionError("mask", "voxels whose patch lies within the volume", "none", remedy)
    return largest


def _published_coefficients(largest: float, channels: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(channels, 1 / (largest or 1.0), np.float32), np.zeros(channels, np.float32)


def _known(mode: str) -> str:
    if mode not in MODES:
        raise OptionError("scaling", " or ".join(MODES), repr(mode), "choose one of the two")
    return mode
