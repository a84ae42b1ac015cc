"""Structural similarity of two stains inside a mask, in coronal slices."""

from __future__ import annotations

import numpy as np
from skimage.metrics import structural_similarity

# The Gaussian window of Wang et al. 2004, as scikit-image makes it for sigma 1.5, is 11 voxels wide.
SSIM_SIGMA, SSIM_WINDOW = 1.5, 11


def ssim_map(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray, data_range: float) -> np.ndarray:
    """Return the structural similarity around each voxel of the mask, in coronal slices. Both volumes count as 0 outside the mask.

    The window is a Gaussian of sigma 1.5 voxels, 11 voxels wide.

    Args:
        prediction: (X, Y, Z) predicted stain, in the stain's units.
        target: (X, Y, Z) true stain, in the same units.
        mask: (X, Y, Z) bool.
        data_range: Range of the stain, in its units.

    Returns:
        (N,) float32 in the order of the voxels of the mask, -1 to 1; NaN where a slice is smaller than the window.

    Source:
        Wang et al., IEEE Trans Image Process 2004;13:600, with its constants, by scikit-image.
    """
    similarity = np.full(mask.shape, np.nan, np.float32)
    if min(mask.shape[0], mask.shape[2]) >= SSIM_WINDOW:
        for y in np.nonzero(mask.any((0, 2)))[0]:
            p, t = (np.where(mask[:, y], volume[:, y], 0).astype(np.float64) for volume in (prediction, target))
            options = {"gaussian_weights": True, "sigma": SSIM_SIGMA, "use_sample_covariance": False, "full": True}
            similarity[:, y] = structural_similarity(p, t, data_range=data_range, **options)[1]
    return np.asarray(similarity[mask])


def ssim(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray, data_range: float) -> float:
    """Return the mean structural similarity of the voxels of the mask. The background, where any two stains agree, does not count.

    The arguments and the source are those of `ssim_map`.

    Example:
        >>> stain = np.random.default_rng(0).uniform(0, 255, (16, 2, 16))
        >>> ssim(stain, stain, stain >= 0, 255.0)
        1.0
    """
    return float(ssim_map(prediction, target, mask, data_range).mean(dtype=np.float64))
