"""Confidence intervals of scores, by drawing blocks of tissue or whole animals again: neighbouring voxels are no independent witnesses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mrh_monai.errors import SubjectError

DRAWS = 1000
LEVEL = 0.95
BLOCK_MM = 1.0
LEAST_BLOCKS = 30  # below which blocks are halved
ROC_BINS = 1024
SCORES = ("r2", "determination", "rmse", "nrmse", "mae", "ssim", "psnr", "auc")


def blocks_of(mask: np.ndarray, spacing: Sequence[float], edge: float = BLOCK_MM) -> tuple[np.ndarray, float]:
    """Cubes of tissue.

    Args:
        mask: (X, Y, Z) bool.
        spacing: Edges of a voxel in mm.
        edge: Of a cube in mm; halved, no further than to a voxel, until the mask holds at least 30 of them.

    Returns:
        (N,) int, the block of each voxel of the mask, counted from 0 without gaps; and the edge.
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
class Tally:
    """What the scores of a subject, or of any blocks of it put together, follow from.

    Attributes:
        sums: (K, 8) of each block: voxels, sum of p, t, p^2, t^2, p t, |p - t| and of the structural similarity.
        found: (K, bins) histogram of the predictions of voxels that a detector should find.
        others: (K, bins) of the others.
        data_range: The stain's, see `mrh_monai.evaluation.scores.stain_range`.
    """

    sums: np.ndarray
    found: np.ndarray
    others: np.ndarray
    data_range: float

    def scores(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """Scores of the subject with each block taken some times.

        Args:
            times: (D, K).

        Returns:
            Of each of `SCORES` (D,), as `mrh_monai.evaluation.scores` defines them. Predictions are binned for ``auc``, which moves it by less than
            1/1000.
        """
        times = np.asarray(times, np.float64)
        n, p, t, pp, tt, pt, absolute, similar = (times @ self.sums).T
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.sqrt(np.maximum(pp - 2 * pt + tt, 0) / n)
            within_p, within_t, between = _spread(pp, p, n), _spread(tt, t, n), pt - p * t / n
            found, others = times @ self.found, times @ self.others
            # Of all pairs of a voxel to be found and another, those in the right order; half of those that tie.
            below = np.cumsum(others, 1) - others / 2
            area = (found * below).sum(1) / (found.sum(1) * others.sum(1))
            return {
                "r2": between**2 / (within_p * within_t),
                "determination": 1 - n * error**2 / within_t,
                "rmse": error,
                "nrmse": error / self.data_range,
                "mae": absolute / n,
                "ssim": similar / n,
                "psnr": 20 * np.log10(self.data_range / error),
                "auc": area,
            }


def tally(
    prediction: np.ndarray, target: np.ndarray, similarity: np.ndarray, found: np.ndarray, block: np.ndarray, data_range: float
) -> Tally:
    """Count one subject's voxels block by block.

    Args:
        prediction: (N,) in the stain's units.
        target: (N,).
        similarity: (N,) of `mrh_monai.evaluation.scores.ssim_map`.
        found: (N,) bool, voxels that a detector should find, where predictions are highest.
        block: (N,) of `blocks_of`.
        data_range: The stain's.
    """
    p, t = prediction.astype(np.float64), target.astype(np.float64)
    columns = (np.ones_like(p), p, t, p * p, t * t, p * t, np.abs(p - t), similarity.astype(np.float64))
    count = int(block.max()) + 1
    sums = np.stack([np.bincount(block, column, count) for column in columns], 1)
    edges = np.unique(np.quantile(p, np.linspace(0, 1, ROC_BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, p)
    size = len(edges) + 1
    histogram = [
        np.bincount(block[chosen] * size + bins[chosen], minlength=count * size).reshape(count, size) for chosen in (found, ~found)
    ]
    return Tally(sums, histogram[0].astype(np.float64), histogram[1].astype(np.float64), data_range)


def _spread(squares: np.ndarray, sums: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Sum of squared differences from the mean; NaN where it is no more than rounding leaves of a constant."""
    found = squares - sums * sums / count
    return np.where(found > 1e-12 * squares, found, np.nan)


@dataclass(frozen=True)
class Resampling:
    """How often each block, or each animal, is taken in each draw; the same draws for all models, so that their scores can be compared.

    Attributes:
        unit: ``blocks`` or ``animals``.
        times: Of each animal (D, K); with ``animals`` one (D, animals).
    """

    unit: str
    times: tuple[np.ndarray, ...]

    def draws(self, tallies: Sequence[Tally]) -> dict[str, np.ndarray]:
        """Mean scores over the animals, in every draw.

        Args:
            tallies: One an animal.

        Returns:
            Of each of `SCORES` (D,).
        """
        if self.unit == "blocks":
            each = [one.scores(times) for one, times in zip(tallies, self.times, strict=True)]
            return {name: np.mean([scores[name] for scores in each], 0) for name in SCORES}
        each = [one.scores(np.ones((1, len(one.sums)))) for one in tallies]
        (times,) = self.times
        return {name: times @ np.concatenate([scores[name] for scores in each]) / len(tallies) for name in SCORES}


def resample(counts: Sequence[int], unit: str, draws: int = DRAWS, seed: int = 0) -> Resampling:
    """Draw with replacement, as many as there are.

    Args:
        counts: Blocks of each animal.
        unit: ``blocks``: within each animal; ``animals``: the animals themselves, which says what another animal would be like.
        draws: How many times.
        seed: Of the draws.

    Raises:
        SubjectError: There are too few to draw from.
    """
    sizes = [len(counts)] if unit == "animals" else list(counts)
    if min(sizes) < 2:
        what = "animals" if unit == "animals" else "blocks of tissue"
        raise SubjectError("bootstrap", f"at least two {what}", f"{min(sizes)}", "give more, or resample the others (--bootstrap)")
    rng = np.random.default_rng(seed)
    return Resampling(unit, tuple(rng.multinomial(size, np.full(size, 1 / size), draws).astype(np.float64) for size in sizes))


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Percentile interval of the draws of a score; NaN where it could not be computed in most of them.

    Args:
        values: (D,).
        level: Share of the draws inside.
    """
    good = values[np.isfinite(values)]
    if len(good) * 2 < len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(good, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def intervals(draws: Mapping[str, np.ndarray], level: float = LEVEL) -> dict[str, tuple[float, float]]:
    """`interval` of every score."""
    return {name: interval(values, level) for name, values in draws.items()}
