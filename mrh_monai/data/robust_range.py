"""Ranges that one hot or cold voxel, such as dust on a section or a spike of the scanner, does not change, and warnings of such voxels."""

from __future__ import annotations

import warnings

import numpy as np

from mrh_monai.errors import MRHWarning

LOWEST, HIGHEST = 0.1, 99.9  # percentiles
SAMPLED = 20_000  # voxels from which the percentiles of a channel are taken
FACTOR = 3.0  # a voxel is hot or cold if it lies so many times the range of the others above or below them


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
    low, high = (float(limit) for limit in _percentiles(values))
    return (low, high) if low < high else (float(values.min()), float(values.max()))


def _percentiles(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.percentile(values, LOWEST, axis=0, method="higher"), np.percentile(values, HIGHEST, axis=0, method="lower")
    return np.asarray(low, np.float64), np.asarray(high, np.float64)


def ordinary_limits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the limits beyond which a voxel is hot or cold: three times the range from the 0.1th to the 99.9th percentile away from these.

    Args:
        values: (N,) or (N, C), at least one voxel.

    Returns:
        Lower and upper limit of each channel; infinite where the two percentiles are the same.

    Example:
        >>> low, high = ordinary_limits(np.arange(1001.0))
        >>> float(low), float(high)
        (-2993.0, 3993.0)
    """
    low, high = _percentiles(values)
    reach = np.where(high > low, FACTOR * (high - low), np.inf)
    return low - reach, high + reach


def warn_of_hot_voxels(values: np.ndarray, mask: np.ndarray, where: object, what: str) -> None:
    """Warn if a voxel is hot or cold, see `ordinary_limits`; the percentiles are those of some of the voxels.

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
    sample = values[:: max(1, len(values) // SAMPLED)]
    bounds = ordinary_limits(sample)
    for direction, percentile, bound, index in (
        ("above", HIGHEST, bounds[1], int(values.argmax())),
        ("below", LOWEST, bounds[0], int(values.argmin())),
    ):
        is_above = direction == "above"
        if not (values[index] > bound if is_above else values[index] < bound):
            continue
        count = int(((values > bound) if is_above else (values < bound)).sum())
        place = tuple(np.argwhere(mask.T)[index][::-1].tolist())
        usual = float(_percentiles(sample)[is_above])
        others = "" if count == 1 else f", and {count - 1} more {'voxel' if count == 2 else 'voxels'} far {direction} it"
        text = (
            f"{where}: {what} has {float(values[index]):g} at voxel {place}, far {direction} its {percentile:g}th percentile of {usual:g}"
            f"{others}; if this is no tissue, remove it from the file or from the mask."
        )
        warnings.warn(text, MRHWarning, stacklevel=2)
