"""Confidence intervals of scores, by drawing blocks of tissue or whole animals again: neighbouring voxels are not independent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mrh_monai.errors import SubjectError, one_of
from mrh_monai.evaluation.scores import COMPARED_SCORES, SUMMED, DrawnSums

DRAWS = 1000
LEVEL = 0.95
BLOCK_MM = 1.0
LEAST_BLOCKS = 30  # with fewer blocks, their edges are halved
ROC_BINS = 1024
ResamplingUnit = Literal["blocks", "animals"]
UNITS: tuple[ResamplingUnit, ...] = ("blocks", "animals")


def blocks_of(mask: np.ndarray, spacing: Sequence[float], edge: float = BLOCK_MM) -> tuple[np.ndarray, float]:
    """Divide the voxels of a mask into cubes of tissue.

    Args:
        mask: (X, Y, Z) bool.
        spacing: Edges of a voxel in mm.
        edge: Edge of a cube in mm. It is halved until the mask holds at least 30 cubes, but not below one voxel.

    Returns:
        (N,) int, the block of each voxel of the mask, counted from 0 without gaps; and the edge.

    Example:
        >>> blocks_of(np.ones((2, 1, 2), bool), (1.0, 1.0, 1.0))[0].tolist()
        [0, 1, 2, 3]
    """
    voxels = np.argwhere(mask)
    while True:
        steps = np.maximum(np.round(edge / np.asarray(spacing, float)), 1)
        places = (voxels // steps).astype(np.int64)
        _, block = np.unique(places, axis=0, return_inverse=True)
        if block.max(initial=0) + 1 >= LEAST_BLOCKS or (steps == 1).all():
            return block.ravel(), float(edge)
        edge /= 2


@dataclass(frozen=True)
class BlockSums:
    """Sums over the voxels of each block of a subject. The scores of the subject, or of any of its blocks together, follow from them.

    Attributes:
        sums: (K, 8) sums of each block, one column for each entry of `SUMMED`.
        positives: (K, bins) histogram of the predictions of the positive voxels, which a detector should find.
        negatives: (K, bins) histogram of the predictions of all other voxels.
        data_range: Range of the stain, see `mrh_monai.evaluation.stain_range`.
    """

    sums: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray
    data_range: float

    def scores(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """Return the scores of the subject with each block counted some times.

        Args:
            times: (D, K) how often each block counts in each draw.

        Returns:
            (D,) for each of `COMPARED_SCORES`, by its key.
        """
        times = np.asarray(times, np.float64)
        columns = dict(zip(SUMMED, (times @ self.sums).T, strict=True))
        drawn = DrawnSums(columns, times @ self.positives, times @ self.negatives, self.data_range)
        with np.errstate(divide="ignore", invalid="ignore"):
            return {score.key: score.from_sums(drawn) for score in COMPARED_SCORES}

    @property
    def whole(self) -> dict[str, float]:
        """Scores of the whole subject, each block counted once."""
        return {key: float(values[0]) for key, values in self.scores(np.ones((1, len(self.sums)))).items()}


def sum_blocks(
    prediction: np.ndarray, target: np.ndarray, similarity: np.ndarray, positive: np.ndarray, block: np.ndarray, data_range: float
) -> BlockSums:
    """Sum the voxels of one subject block by block.

    Args:
        prediction: (N,) predicted stain, in the stain's units.
        target: (N,) true stain.
        similarity: (N,) result of `mrh_monai.evaluation.structural_similarity.ssim_map`.
        positive: (N,) bool, the voxels that a detector should find: those where a good prediction is high.
        block: (N,) block of each voxel, see `blocks_of`.
        data_range: Range of the stain.
    """
    p, t = prediction.astype(np.float64), target.astype(np.float64)
    columns = [column(p, t, similarity.astype(np.float64)) for column in SUMMED.values()]
    count = int(block.max()) + 1
    sums = np.stack([np.bincount(block, column, count) for column in columns], 1)
    edges = np.unique(np.quantile(p, np.linspace(0, 1, ROC_BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, p)
    size = len(edges) + 1
    histogram = [
        np.bincount(block[chosen] * size + bins[chosen], minlength=count * size).reshape(count, size) for chosen in (positive, ~positive)
    ]
    return BlockSums(sums, histogram[0].astype(np.float64), histogram[1].astype(np.float64), data_range)


@dataclass(frozen=True)
class Resampling:
    """How often each block, or each animal, counts in each draw. All models get the same draws, so that their scores can be compared.

    Attributes:
        unit: ``blocks`` or ``animals``.
        times: (D, K) for the blocks of each animal; with ``animals`` one (D, animals).
    """

    unit: ResamplingUnit
    times: tuple[np.ndarray, ...]

    def draws(self, animals: Sequence[BlockSums]) -> dict[str, np.ndarray]:
        """Return the mean scores over the animals in every draw.

        Args:
            animals: Sums of each animal.

        Returns:
            (D,) for each of `COMPARED_SCORES`, by its key.
        """
        keys = [score.key for score in COMPARED_SCORES]
        if self.unit == "blocks":
            each = [one.scores(times) for one, times in zip(animals, self.times, strict=True)]
            return {key: np.mean([scores[key] for scores in each], 0) for key in keys}
        each = [one.scores(np.ones((1, len(one.sums)))) for one in animals]
        (times,) = self.times
        return {key: times @ np.concatenate([scores[key] for scores in each]) / len(animals) for key in keys}


def check_unit(unit: str) -> ResamplingUnit:
    """Return what is resampled.

    Raises:
        OptionError: It is not ``blocks`` or ``animals``.
    """
    return one_of("bootstrap", unit, UNITS)


def resample(counts: Sequence[int], unit: ResamplingUnit, draws: int = DRAWS, seed: int = 0) -> Resampling:
    """Draw blocks or animals with replacement, in each draw as many as there are.

    Args:
        counts: Number of blocks of each animal.
        unit: ``blocks`` to draw within each animal; ``animals`` to draw the animals, which says what another animal would be like.
        draws: Number of draws.
        seed: Random seed of the draws.

    Raises:
        SubjectError: There are too few to draw from.
    """
    sizes = [len(counts)] if unit == "animals" else list(counts)
    if min(sizes) < 2:
        what = "animals" if unit == "animals" else "blocks of tissue"
        remedy = f"give more subjects, or use --bootstrap {'blocks' if unit == 'animals' else 'animals'}"
        raise SubjectError("bootstrap", f"at least two {what}", f"{min(sizes)}", remedy)
    rng = np.random.default_rng(seed)
    return Resampling(unit, tuple(rng.multinomial(size, np.full(size, 1 / size), draws).astype(np.float64) for size in sizes))


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Return the percentile interval of the draws of a score; NaN where the score could not be computed in most of them.

    Args:
        values: (D,) score in each draw.
        level: Share of the draws that lie inside the interval.

    Example:
        >>> interval(np.arange(101.0), 0.5)
        (25.0, 75.0)
    """
    good = values[np.isfinite(values)]
    if len(good) * 2 < len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(good, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def intervals(draws: Mapping[str, np.ndarray], level: float = LEVEL) -> dict[str, tuple[float, float]]:
    """Return the `interval` of every score."""
    return {name: interval(values, level) for name, values in draws.items()}
