"""The scores of a predicted stain. Each is defined once, in `SCORES`; tables, bootstrap, studies, report and model card read it there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from mrh_monai.data import checked_mask, robust_limits
from mrh_monai.errors import SubjectError
from mrh_monai.evaluation.structural_similarity import ssim
from mrh_monai.subjects import real_array


def rmse(prediction: np.ndarray, target: np.ndarray) -> float:
    """Return the root mean squared error, sqrt(mean((p - t)^2)), in the stain's units.

    Args:
        prediction: (N,) predicted stain of the voxels in the mask.
        target: (N,) true stain of these voxels.

    Example:
        >>> rmse(np.array([1.0, 5.0]), np.array([1.0, 3.0]))
        1.4142135623730951
    """
    difference = prediction.astype(np.float64) - target
    return float(np.sqrt(np.mean(difference**2)))


def mae(prediction: np.ndarray, target: np.ndarray) -> float:
    """Return the mean absolute error, mean(|p - t|), in the stain's units; the arguments are those of `rmse`."""
    return float(np.mean(np.abs(prediction.astype(np.float64) - target)))


def r2(prediction: np.ndarray, target: np.ndarray) -> float:
    """Return the squared Pearson correlation, the R2 of Liang et al. A wrong gain or offset does not change it, so read also the RMSE.

    Args:
        prediction: (N,) predicted stain of the voxels in the mask.
        target: (N,) true stain of these voxels.

    Returns:
        0 to 1; NaN where the prediction or the target is constant.

    Example:
        >>> r2(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 30.0]))
        1.0
    """
    if any(values.min() == values.max() for values in (prediction, target)):
        return float("nan")
    p, t = (values.astype(np.float64) - values.mean(dtype=np.float64) for values in (prediction, target))
    return float((p @ t) ** 2 / ((p @ p) * (t @ t)))


def determination(prediction: np.ndarray, target: np.ndarray) -> float:
    """Return the coefficient of determination, 1 - SSE/SST, which a wrong gain or offset lowers. It is not the same number as `r2`.

    Args:
        prediction: (N,) predicted stain of the voxels in the mask.
        target: (N,) true stain of these voxels.

    Returns:
        At most 1 and at most `r2`; below 0 where the mean of the target would predict better; NaN where the target is constant.
    """
    t = target.astype(np.float64)
    total = float(((t - t.mean()) ** 2).sum())
    return 1 - float(((prediction - t) ** 2).sum()) / total if total > 0 else float("nan")


def stain_range(target: np.ndarray) -> float:
    """Return the range by which NRMSE, PSNR and SSIM measure errors, see `mrh_monai.data.robust_limits`; 1 where the target is constant.

    Args:
        target: (N,) true stain of the voxels in the mask.
    """
    low, high = robust_limits(target)
    return high - low or 1.0


def psnr(error: float, data_range: float) -> float:
    """Return the peak signal-to-noise ratio, 20 log10(range / RMSE), in dB; infinite for a perfect prediction, NaN where the error is NaN.

    Args:
        error: RMSE.
        data_range: Range of the stain, in the units of the RMSE.
    """
    return float("inf") if error == 0 else float(20 * np.log10(data_range / error))


@dataclass(frozen=True)
class StainPair:
    """A predicted and a true stain of one subject, from whose voxels scores are computed.

    Attributes:
        prediction: (X, Y, Z) predicted stain, in the stain's units.
        target: (X, Y, Z) true stain.
        mask: (X, Y, Z) bool, the voxels to score.
    """

    prediction: np.ndarray
    target: np.ndarray
    mask: np.ndarray

    @cached_property
    def p(self) -> np.ndarray:
        """(N,) predicted stain of the voxels in the mask."""
        return np.asarray(self.prediction[self.mask])

    @cached_property
    def t(self) -> np.ndarray:
        """(N,) true stain of the voxels in the mask."""
        return np.asarray(self.target[self.mask])

    @cached_property
    def data_range(self) -> float:
        """Range of the true stain, see `stain_range`."""
        return stain_range(self.t)

    @cached_property
    def error(self) -> float:
        """RMSE, from which other scores follow."""
        return rmse(self.p, self.t)


# What is summed over the voxels of each block: columns (N,) of predicted stain p, true stain t and structural similarity s, all float64.
SUMMED: Mapping[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "voxels": lambda p, t, s: np.ones_like(p),
    "p": lambda p, t, s: p,
    "t": lambda p, t, s: t,
    "pp": lambda p, t, s: p * p,
    "tt": lambda p, t, s: t * t,
    "pt": lambda p, t, s: p * t,
    "absolute": lambda p, t, s: np.abs(p - t),
    "similarity": lambda p, t, s: s,
}


@dataclass(frozen=True)
class DrawnSums:
    """Sums over the voxels of some blocks of a subject, in D draws of these blocks; the bootstrap computes scores from them.

    Attributes:
        sums: (D,) of each column of `SUMMED`.
        positives: (D, bins) histogram of the predictions of the positive voxels, which a detector should find.
        negatives: (D, bins) histogram of the predictions of all other voxels.
        data_range: Range of the subject's stain, see `stain_range`.
    """

    sums: Mapping[str, np.ndarray]
    positives: np.ndarray
    negatives: np.ndarray
    data_range: float

    @cached_property
    def error(self) -> np.ndarray:
        """(D,) RMSE."""
        s = self.sums
        return np.asarray(np.sqrt(np.maximum(s["pp"] - 2 * s["pt"] + s["tt"], 0) / s["voxels"]))

    def spread(self, name: Literal["p", "t"]) -> np.ndarray:
        """(D,) sum of squared differences from the mean; NaN where the values are constant, apart from rounding."""
        squares, sums = self.sums[name * 2], self.sums[name]
        found = squares - sums * sums / self.sums["voxels"]
        return np.where(found > 1e-12 * squares, found, np.nan)

    def r2(self) -> np.ndarray:
        """(D,) squared Pearson correlation."""
        s = self.sums
        between = s["pt"] - s["p"] * s["t"] / s["voxels"]
        return np.asarray(between**2 / (self.spread("p") * self.spread("t")))

    def auc(self) -> np.ndarray:
        """(D,) area under the ROC curve. Predictions are sorted into bins. This changes the area by less than 0.001."""
        # Share of the pairs of a voxel to find and another voxel that are in the right order; ties count one half.
        below = np.cumsum(self.negatives, 1) - self.negatives / 2
        return np.asarray((self.positives * below).sum(1) / (self.positives.sum(1) * self.negatives.sum(1)))


@dataclass(frozen=True)
class Score:
    """One score of a predicted stain.

    Attributes:
        key: Name in JSON and CSV files.
        title: Name in tables and pages.
        formula: Formula of predicted stain p and true stain t.
        unit: ``stain`` for the stain's own units, ``dB``, or ``none``.
        lower_is_better: Whether a lower score is a better score.
        from_sums: Function from the sums of blocks to the score in every draw (D,), for the bootstrap.
        from_voxels: Function from the voxels of one subject to the score; None where structures must be defined first, see `detection.py`.
        tabled: How comparison tables and report show it: ``interval`` (value and interval; the log and studies show it too), ``value``, or
            None to show it in the files only.
    """

    key: str
    title: str
    formula: str
    unit: Literal["stain", "dB", "none"]
    lower_is_better: bool
    from_sums: Callable[[DrawnSums], np.ndarray]
    from_voxels: Callable[[StainPair], float] | None
    tabled: Literal["interval", "value"] | None = None

    def text(self, value: float) -> str:
        """Return a value as tables show it: four digits in the stain's units, three decimals otherwise."""
        return f"{value:.4g}" if self.unit == "stain" else f"{value:.3f}"


SCORES = (
    Score("rmse", "RMSE", "sqrt(mean((p - t)^2))", "stain", True, lambda s: s.error, lambda v: v.error, "interval"),
    Score("nrmse", "NRMSE", "RMSE / (max(t) - min(t))", "none", True, lambda s: s.error / s.data_range, lambda v: v.error / v.data_range),
    Score("mae", "MAE", "mean(|p - t|)", "stain", True, lambda s: s.sums["absolute"] / s.sums["voxels"], lambda v: mae(v.p, v.t)),
    Score("r2", "R2", "squared Pearson correlation of p and t", "none", False, DrawnSums.r2, lambda v: r2(v.p, v.t), "interval"),
    Score(
        key="determination",
        title="1-SSE/SST",
        formula="1 - sum((p - t)^2) / sum((t - mean(t))^2)",
        unit="none",
        lower_is_better=False,
        from_sums=lambda s: 1 - s.sums["voxels"] * s.error**2 / s.spread("t"),
        from_voxels=lambda v: determination(v.p, v.t),
        tabled="value",
    ),
    Score(
        key="ssim",
        title="SSIM",
        formula="mean structural similarity in coronal slices (Gaussian window, sigma 1.5 voxels)",
        unit="none",
        lower_is_better=False,
        from_sums=lambda s: s.sums["similarity"] / s.sums["voxels"],
        from_voxels=lambda v: ssim(v.prediction, v.target, v.mask, v.data_range),
        tabled="value",
    ),
    Score(
        key="psnr",
        title="PSNR (dB)",
        formula="20 log10((max(t) - min(t)) / RMSE)",
        unit="dB",
        lower_is_better=False,
        from_sums=lambda s: 20 * np.log10(s.data_range / s.error),
        from_voxels=lambda v: psnr(v.error, v.data_range),
    ),
    Score("auc", "AUC", "area under the ROC curve of p as a detector of structures", "none", False, DrawnSums.auc, None, "interval"),
)
# Files of comparisons begin with the two scores by which models are ranked and judged; the order of the others is that of `SCORES`.
COMPARED_SCORES = tuple(sorted(SCORES, key=lambda each: each.key not in ("r2", "determination")))
HEADLINE_SCORES = tuple(each for each in COMPARED_SCORES if each.tabled == "interval")


def rank(scores: Mapping[str, float | None]) -> float:
    """Return a key by which models are sorted: the best R2 first, and models without R2 last, such as a marker that is the same everywhere.

    Args:
        scores: Scores of a model by their keys; None or NaN where a score is missing.

    Example:
        >>> sorted([{"r2": None}, {"r2": 0.2}, {"r2": 0.9}], key=rank)
        [{'r2': 0.9}, {'r2': 0.2}, {'r2': None}]
    """
    value = scores.get("r2")
    return 1.0 if value is None or np.isnan(value) else -value


def score(prediction: ArrayLike, target: ArrayLike, mask: ArrayLike) -> dict[str, float]:
    """Return all scores of one subject that need its voxels only; `mrh_monai.evaluate` also takes files and predictions.

    Args:
        prediction: (X, Y, Z) predicted stain, in the stain's units.
        target: (X, Y, Z) true stain.
        mask: (X, Y, Z) of 0 and 1, or bool, the voxels to score.

    Returns:
        ``rmse`` and ``mae`` in the stain's units, ``nrmse`` (RMSE divided by the target's range in the mask), ``r2`` (squared correlation),
        ``determination`` (1 - SSE/SST), ``ssim``, ``psnr`` in dB, and ``voxels``, their number. NaN in a stain
        inside the mask makes the scores NaN.

    Raises:
        SubjectError: The arrays are not of one shape (X, Y, Z), do not hold real numbers, or the mask is empty or has other values than
            0 and 1.

    Example:
        >>> target = np.arange(24.0).reshape(2, 3, 4)
        >>> scores = score(target + 2, target, target >= 0)
        >>> scores["rmse"], scores["voxels"]
        (2.0, 24)
    """
    p, t = real_array(prediction, "prediction"), real_array(target, "target")
    inside = real_array(mask, "mask", "buif")
    if not p.shape == t.shape == inside.shape or inside.ndim != 3:
        shapes = f"prediction {p.shape}, target {t.shape}, mask {inside.shape}"
        raise SubjectError("scores", "prediction, target and mask of one shape (X, Y, Z)", shapes, "resample them to one grid")
    inside = checked_mask(inside, "mask")
    if not inside.any():
        raise SubjectError("scores", "voxels inside the mask", "an empty mask", "check the mask")
    pair = StainPair(p, t, inside)
    return {each.key: each.from_voxels(pair) for each in SCORES if each.from_voxels is not None} | {"voxels": int(inside.sum())}
