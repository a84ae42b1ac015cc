"""Scores of a predicted stain against the true one, inside the mask."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from skimage.filters import threshold_otsu
from skimage.metrics import structural_similarity
from sklearn.metrics import roc_auc_score, roc_curve

from mrh_monai.errors import OptionError, SubjectError

# The Gaussian window of Wang et al. 2004, as scikit-image makes it for sigma 1.5, is 11 voxels wide.
SSIM_SIGMA, SSIM_WINDOW = 1.5, 11
SIDES = ("above", "below")


def rmse(prediction: np.ndarray, target: np.ndarray) -> float:
    """Root mean squared error, sqrt(mean((p - t)^2)), in the stain's units.

    Args:
        prediction: (N,) values of the voxels in the mask.
        target: (N,) likewise.
    """
    difference = prediction.astype(np.float64) - target
    return float(np.sqrt(np.mean(difference**2)))


def mae(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute error, mean(|p - t|), in the stain's units.

    Args:
        prediction: (N,) values of the voxels in the mask.
        target: (N,) likewise.
    """
    return float(np.mean(np.abs(prediction.astype(np.float64) - target)))


def r2(prediction: np.ndarray, target: np.ndarray) -> float:
    """Squared Pearson correlation, the R2 of Liang et al.; blind to a wrong gain or offset, so read it with the RMSE.

    Args:
        prediction: (N,) values of the voxels in the mask.
        target: (N,) likewise.

    Returns:
        0 to 1; NaN where either is constant.
    """
    if any(values.min() == values.max() for values in (prediction, target)):
        return float("nan")
    p, t = (values.astype(np.float64) - values.mean(dtype=np.float64) for values in (prediction, target))
    return float((p @ t) ** 2 / ((p @ p) * (t @ t)))


def determination(prediction: np.ndarray, target: np.ndarray) -> float:
    """Coefficient of determination, 1 - SSE/SST, which a wrong gain or offset lowers; `r2` is another number.

    Args:
        prediction: (N,) values of the voxels in the mask.
        target: (N,) likewise.

    Returns:
        At most 1, at most `r2`, below 0 where the target's mean would predict better; NaN where the target is constant.
    """
    t = target.astype(np.float64)
    total = float(((t - t.mean()) ** 2).sum())
    return 1 - float(((prediction - t) ** 2).sum()) / total if total > 0 else float("nan")


def stain_range(target: np.ndarray) -> float:
    """What NRMSE, PSNR and SSIM measure errors by: largest minus smallest target, in the stain's units; 1 where it is constant.

    Args:
        target: (N,) values of the voxels in the mask.
    """
    return float(target.max()) - float(target.min()) or 1.0


def psnr(error: float, data_range: float) -> float:
    """Peak signal-to-noise ratio, 20 log10(range / RMSE), in dB; infinite for a perfect prediction.

    Args:
        error: The RMSE.
        data_range: Of the stain, in the same units.
    """
    return float(20 * np.log10(data_range / error)) if error > 0 else float("inf")


def ssim_map(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray, data_range: float) -> np.ndarray:
    """Structural similarity around each voxel of the mask, in coronal slices, both volumes 0 outside the mask.

    The window is a Gaussian of sigma 1.5 voxels, 11 voxels wide.

    Args:
        prediction: (X, Y, Z), in the stain's units.
        target: (X, Y, Z).
        mask: (X, Y, Z) bool.
        data_range: The stain's range, in its units.

    Returns:
        (N,) in the order of ``mask``'s voxels, -1 to 1; NaN where a slice is smaller than the window.

    Source:
        Wang et al., IEEE Trans Image Process 2004;13:600, with its constants, by scikit-image.
    """
    similarity = np.full(mask.shape, np.nan, np.float32)
    if min(mask.shape[0], mask.shape[2]) >= SSIM_WINDOW:
        for y in np.nonzero(mask.any((0, 2)))[0]:
            p, t = (np.where(mask[:, y], volume[:, y], 0).astype(np.float64) for volume in (prediction, target))
            options = {"gaussian_weights": True, "sigma": SSIM_SIGMA, "use_sample_covariance": False, "full": True}
            similarity[:, y] = structural_similarity(p, t, data_range=data_range, **options)[1]
    return similarity[mask]


def ssim(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray, data_range: float) -> float:
    """Structural similarity averaged over the voxels of the mask; the background, where any two agree, is not counted.

    Args and source: as `ssim_map`.
    """
    return float(ssim_map(prediction, target, mask, data_range).mean(dtype=np.float64))


def score(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """All scores of one subject.

    Args:
        prediction: (X, Y, Z), in the stain's units.
        target: (X, Y, Z).
        mask: (X, Y, Z) bool.

    Returns:
        ``rmse`` and ``mae`` in the stain's units, ``nrmse`` (RMSE by the target's range in the mask), ``r2`` (squared correlation),
        ``determination`` (1 - SSE/SST), ``ssim``, ``psnr`` in dB, ``voxels``.

    Raises:
        SubjectError: The shapes differ, or the mask is empty.
    """
    if not prediction.shape == target.shape == mask.shape:
        shapes = f"prediction {prediction.shape}, target {target.shape}, mask {mask.shape}"
        raise SubjectError("scores", "one shape", shapes, "resample them to one grid")
    if not mask.any():
        raise SubjectError("scores", "voxels inside the mask", "none", "check the mask")
    p, t = prediction[mask], target[mask]
    data_range, error = stain_range(t), rmse(p, t)
    return {
        "rmse": error,
        "nrmse": error / data_range,
        "mae": mae(p, t),
        "r2": r2(p, t),
        "determination": determination(p, t),
        "ssim": ssim(prediction, target, mask, data_range),
        "psnr": psnr(error, data_range),
        "voxels": int(mask.sum()),
    }


def structures(
    target: np.ndarray, side: str = "above", threshold: float | None = None, where: object = "threshold"
) -> tuple[np.ndarray, float]:
    """Which voxels a detector should find: those above, or below, a threshold of the true stain.

    Args:
        target: (N,) values of the voxels in the mask.
        side: ``above`` or ``below``.
        threshold: In the stain's units; None for Otsu's, which parts the values into two classes of the least variance.
        where: What to name in an error.

    Returns:
        (N,) bool, and the threshold.

    Raises:
        OptionError: The side is unknown, or the threshold leaves one class.

    Source:
        Otsu, IEEE Trans Syst Man Cybern 1979;9:62, by scikit-image.
    """
    if side not in SIDES:
        raise OptionError("structures", " or ".join(SIDES), repr(side), "choose one of the two")
    chosen = float(threshold_otsu(target)) if threshold is None else float(threshold)
    found = target > chosen if side == "above" else target < chosen
    if found.all() or not found.any():
        span = f"{float(target.min()):g} to {float(target.max()):g}"
        raise OptionError(where, f"a threshold within the target's {span}, with voxels on both sides", f"{chosen:g}", "give another one")
    return found, chosen


def auc(prediction: np.ndarray, found: np.ndarray, side: str = "above") -> float:
    """Area under the ROC curve of a prediction as a detector; of two classes it is the same from either side.

    Args:
        prediction: (N,) in any units.
        found: (N,) bool of `structures`.
        side: On which side of the threshold the structures are.

    Returns:
        0 to 1, 0.5 by chance.
    """
    return float(roc_auc_score(found, prediction if side == "above" else -prediction))


def roc(prediction: np.ndarray, found: np.ndarray, side: str = "above", points: int = 201) -> tuple[np.ndarray, np.ndarray]:
    """The ROC curve at evenly spaced false-positive rates.

    Args:
        prediction: (N,) in any units.
        found: (N,) bool of `structures`.
        side: On which side of the threshold the structures are.
        points: How many.

    Returns:
        False- and true-positive rate, each (points,) from 0 to 1.
    """
    false_positive, true_positive, _ = roc_curve(found, prediction if side == "above" else -prediction)
    rates = np.linspace(0, 1, points)
    return rates, np.interp(rates, false_positive, true_positive)


def as_json(scores: dict[str, Any]) -> str:
    """Scores, or scores by subject, as JSON, in which a score that could not be computed, or is infinite, is null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [plain(inner) for inner in value]
        return None if isinstance(value, float | np.floating) and not np.isfinite(value) else value

    return json.dumps(plain(scores), indent=2)
