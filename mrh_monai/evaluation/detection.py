"""Detection of structures: how well a predicted stain finds the voxels where the true stain lies above, or below, a threshold."""

from __future__ import annotations

from typing import Literal

import numpy as np
from skimage.filters import threshold_otsu
from sklearn.metrics import roc_auc_score, roc_curve

from mrh_monai.data import ordinary_limits
from mrh_monai.errors import OptionError, one_of

Side = Literal["above", "below"]
SIDES: tuple[Side, ...] = ("above", "below")


def check_side(side: str) -> Side:
    """Return the side of the threshold on which structures lie.

    Raises:
        OptionError: It is not ``above`` or ``below``.
    """
    return one_of("structures", side, SIDES)


def structures(
    target: np.ndarray, side: str = "above", threshold: float | None = None, where: object = "threshold"
) -> tuple[np.ndarray, float]:
    """Return the voxels that a detector should find: those where the true stain lies above, or below, a threshold.

    Args:
        target: (N,) true stain of the voxels in the mask.
        side: ``above`` or ``below``.
        threshold: Threshold in the stain's units; None for Otsu's, which divides the values into two classes of the least variance. For
            it, a hot or cold voxel counts as the limit of ordinary ones.
        where: Option that the error names.

    Returns:
        (N,) bool, and the threshold.

    Raises:
        OptionError: The side is unknown, or all voxels lie on one side of the threshold.

    Source:
        Otsu, IEEE Trans Syst Man Cybern 1979;9:62, by scikit-image.

    Example:
        >>> voxels, threshold = structures(np.array([1.0, 2.0, 9.0]), threshold=5)
        >>> voxels.tolist()
        [False, False, True]
    """
    side = check_side(side)
    chosen = float(threshold_otsu(np.clip(target, *ordinary_limits(target)))) if threshold is None else float(threshold)
    found = target > chosen if side == "above" else target < chosen
    if found.all() or not found.any():
        span = f"{float(target.min()):g} to {float(target.max()):g}"
        expected = f"a threshold within the target's {span}, with voxels on both sides"
        raise OptionError(where, expected, f"{chosen:g}", "give another threshold")
    return found, chosen


def auc(prediction: np.ndarray, found: np.ndarray, side: str = "above") -> float:
    """Return the area under the ROC curve of a prediction as a detector of the voxels above, or below, a threshold.

    Args:
        prediction: (N,) predicted stain, in any units.
        found: (N,) bool, the voxels to find, see `structures`.
        side: Side of the threshold on which the structures lie.

    Returns:
        0 to 1; 0.5 by chance.

    Example:
        >>> auc(np.array([0.1, 0.4, 0.9]), np.array([False, False, True]))
        1.0
    """
    return float(roc_auc_score(found, prediction if side == "above" else -prediction))


def roc(prediction: np.ndarray, found: np.ndarray, side: str = "above", points: int = 201) -> tuple[np.ndarray, np.ndarray]:
    """Return the ROC curve at evenly spaced false-positive rates.

    Args:
        prediction: (N,) predicted stain, in any units.
        found: (N,) bool, the voxels to find, see `structures`.
        side: Side of the threshold on which the structures lie.
        points: Number of points of the curve.

    Returns:
        False-positive and true-positive rates, each (points,) from 0 to 1.
    """
    false_positive, true_positive, _ = roc_curve(found, prediction if side == "above" else -prediction)
    rates = np.linspace(0, 1, points)
    return rates, np.interp(rates, false_positive, true_positive)
