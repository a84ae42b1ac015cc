"""Ranges that one hot voxel, such as dust on a section or a spike of the scanner, does not change, and warnings of such voxels."""

from __future__ import annotations

import warnings

import numpy as np

from mrh_monai.errors import MRHWarning

LOWEST, HIGHEST = 0.1, 99.9  # percentiles
SAMPLED = 20_000  # voxels from which the percentiles of a channel are taken
FACTOR = 3.0  # a voxel is hot if it lies so many times the range of the others above them


def robust_limits(values: np.ndarray) -> tuple[float, float]:
    """Return the 0.1th and the 99.9th percentile of some voxels.

    Each is the value of a voxel, and leaves out at least one more extreme voxel. Where both are the same, because few voxels differ from
    the others, the smallest and the largest value are returned.

    Args:
        values: (N,) at least one voxel.

    Example:
        >>> stain = np.arange(1001.0)
        >>> stain[500] = 20_000
        >>> robust_limits(stain)
        (1.0, 1000.0)
    """
    low, high = _percentiles(values)
    return (low, high) if low < high else (float(values.min()), float(values.max()))


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    return float(np.percentile(values, LOWEST, method="higher")), float(np.percentile(values, HIGHEST, method="lower"))


def warn_of_hot_voxels(values: np.ndarray, mask: np.ndarray, where: object, what: str) -> None:
    """Warn if the brightest voxel lies further above the 99.9th percentile than three times the range from the 0.1th percentile to it.

    Args:
        values: (N,) voxels of the mask, in the order of the file: x changes fastest.
        mask: (X, Y, Z) bool.
        where: File that the warning names.
        what: What the values are, in words: "the stain", "channel t2".

    Example:
        >>> mask = np.ones((10, 10, 1), bool)
        >>> values = np.arange(100.0)
        >>> values[11] = 20_000
        >>> with warnings.catch_warnings(record=True, action="always") as shown:
        ...     warn_of_hot_voxels(values, mask, "af.nii", "the stain")
        >>> print(str(shown[0].message)[:75])
        af.nii: the stain has 20000 at voxel (1, 1, 0), far above its 99.9th percen
    """
    largest = float(values.max())
    low, high = _percentiles(values[:: max(1, len(values) // SAMPLED)])
    if high <= low or largest - high <= FACTOR * (high - low):
        return
    place = np.argwhere(mask.T)[int(values.argmax())][::-1].tolist()
    count = int((values > high + FACTOR * (high - low)).sum())
    others = "" if count == 1 else f", and {count - 1} more {'voxel' if count == 2 else 'voxels'} far above it"
    text = (
        f"{where}: {what} has {largest:g} at voxel {tuple(place)}, far above its 99.9th percentile of {high:g}{others}; "
        "if this is no tissue, remove it from the file or from the mask."
    )
    warnings.warn(text, MRHWarning, stacklevel=2)
