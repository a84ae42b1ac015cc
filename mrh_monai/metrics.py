"""Scores of a predicted stain against the true one, inside the mask."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from skimage.metrics import structural_similarity

from mrh_monai.errors import SubjectError
from mrh_monai.subjects import CORONAL_AXIS

# The Gaussian window of Wang et al. 2004, as scikit-image makes it for sigma 1.5, is 11 voxels wide.
SSIM_SIGMA, SSIM_WINDOW = 1.5, 11


def rmse(prediction: np.ndarray, target: np.ndarray) -> float:
    """Root mean squared error, sqrt(mean((p - t)^2)), in the stain's units.

    Args:
        prediction: (N,) values of the voxels in the mask.
        target: (N,) likewise.
    """
    difference = prediction.astype(np.float64) - target
    return float(np.sqrt(np.mean(difference**2)))


def r2(prediction: np.ndarray, target: np.ndarray) -> float:
    """Squared Pearson correlation, the R2 of Liang et al.; blind to a wrong gain or offset, so read it with the RMSE.

    Args:
        prediction: (N,) values of the voxels in the mask.
        target: (N,) likewise.

    Returns:
        0 to 1; NaN where either is constant.
    """
    p, t = (values.astype(np.float64) - values.mean(dtype=np.float64) for values in (prediction, target))
    norm = (p @ p) * (t @ t)
    return float((p @ t) ** 2 / norm) if norm > 0 else float("nan")


def ssim(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray, data_range: float) -> float:
    """Structural similarity of coronal slices, averaged over the voxels of the mask.

    Both volumes are set to 0 outside the mask; the background itself, where any two agree, is not counted.

    Args:
        prediction: (X, Y, Z), in the stain's units.
        target: (X, Y, Z).
        mask: (X, Y, Z) bool.
        data_range: The stain's range, in its units.

    Returns:
        -1 to 1; NaN where a slice is smaller than the window of 11 voxels.

    Source:
        Wang et al., IEEE Trans Image Process 2004;13:600, with its constants, by scikit-image.
    """
    if min(mask.shape[0], mask.shape[2]) < SSIM_WINDOW:
        return float("nan")
    total = 0.0
    for y in range(mask.shape[CORONAL_AXIS]):
        inside = mask[:, y]
        if inside.any():
            p, t = (np.where(inside, volume[:, y], 0).astype(np.float64) for volume in (prediction, target))
            options = {"gaussian_weights": True, "sigma": SSIM_SIGMA, "use_sample_covariance": False, "full": True}
            total += structural_similarity(p, t, data_range=data_range, **options)[1][inside].sum()
    return float(total / mask.sum())


def score(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """All scores of one subject.

    Args:
        prediction: (X, Y, Z), in the stain's units.
        target: (X, Y, Z).
        mask: (X, Y, Z) bool.

    Returns:
        ``rmse`` in the stain's units, ``rmse_of_range`` (divided by the target's largest value in the mask), ``r2``, ``ssim``, ``voxels``.

    Raises:
        SubjectError: The shapes differ, or the mask is empty.
    """
    if not prediction.shape == target.shape == mask.shape:
        shapes = f"prediction {prediction.shape}, target {target.shape}, mask {mask.shape}"
        raise SubjectError("scores", "one shape", shapes, "resample them to one grid")
    if not mask.any():
        raise SubjectError("scores", "voxels inside the mask", "none", "check the mask")
    p, t = prediction[mask], target[mask]
    data_range = float(t.max()) or 1.0
    error = rmse(p, t)
    return {
        "rmse": error,
        "rmse_of_range": error / data_range,
        "r2": r2(p, t),
        "ssim": ssim(prediction, target, mask, data_range),
        "voxels": int(mask.sum()),
    }


def as_json(scores: dict[str, Any]) -> str:
    """Scores, or scores by subject, as JSON, in which a score that could not be computed is null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        return None if value != value else value

    return json.dumps(plain(scores), indent=2)
