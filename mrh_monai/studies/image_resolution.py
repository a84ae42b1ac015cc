"""Estimate the resolution of an image from the image alone: decorrelation analysis of its spatial frequencies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.signal.windows import tukey

from mrh_monai.errors import SubjectError

RADII = 100  # number of spatial frequencies between 0 and the sampling limit
FILTERS = 10  # number of high-pass filters
LEAST_SIDE = 24  # smallest edge of a square that is analysed, in voxels
LEAST_DROP = 0.001  # a maximum counts as a peak if the curve falls by at least this much after it
TAPER = 0.25  # share of the square over which the window falls to 0


def decorrelation(image: np.ndarray, spacing: Sequence[float] = (1.0, 1.0)) -> float:
    """Return the highest spatial frequency at which an image holds more than noise.

    The Fourier transform is correlated with itself after all amplitudes were set to 1, within circles of growing radius. The correlation
    peaks where the signal ends and only noise is left. High-pass filters of growing strength move the peak outwards; the outermost peak
    counts.

    Args:
        image: (N, M) intensities, in any units.
        spacing: Edges of a pixel, in any units.

    Returns:
        Cut-off frequency from 0 (no peak) to 1, relative to the sampling limit along the longer edge of a pixel. The resolution is twice
        this edge divided by the frequency.

    Source:
        Descloux, Grussmayer, Radenovic, Nat Methods 2019;16:918.
    """
    image = image.astype(np.float64)
    if np.ptp(image) <= 1e-9 * np.abs(image).max():
        return 0.0
    window = np.outer(tukey(image.shape[0], TAPER), tukey(image.shape[1], TAPER))
    centred = (image - image.mean()) * window
    amplitude = np.abs(np.fft.fft2(centred - centred.mean()))
    along = [2 * np.fft.fftfreq(size) * max(spacing) / edge for size, edge in zip(image.shape, spacing, strict=True)]
    frequency = np.hypot(*np.meshgrid(*along, indexing="ij"))
    first, _ = _peak(amplitude, frequency)
    strongest = 2 / first if first > 0 else min(image.shape) / 2
    peaks = [first]
    for sigma in np.exp(np.linspace(np.log(strongest), np.log(0.15), FILTERS)):
        position, height = _peak(amplitude * (1 - np.exp(-2 * (sigma * frequency) ** 2)), frequency)
        if height > 0.05:
            peaks.append(position)
    return max(peaks)


def _peak(amplitude: np.ndarray, frequency: np.ndarray) -> tuple[float, float]:
    """Return position and height of the outermost local maximum of the correlation; zeros where there is no maximum."""
    inside = frequency < 1
    radius, weight = frequency[inside], amplitude[inside]
    step = np.minimum((radius * RADII).astype(int), RADII - 1)
    total = np.sqrt((weight**2).sum())
    if total == 0:
        return 0.0, 0.0
    summed, count = np.cumsum(np.bincount(step, weight, RADII)), np.cumsum(np.bincount(step, minlength=RADII))
    curve = summed / (total * np.sqrt(np.maximum(count, 1)))
    # A maximum at the very end does not count, since the curve has not fallen yet.
    last = RADII
    while last > 1:
        top = int(np.argmax(curve[:last]))
        if top == last - 1:
            last -= 1
        elif curve[top] - curve[top:].min() > LEAST_DROP:
            return (top + 1) / RADII, float(curve[top])
        else:
            last = top
    return 0.0, 0.0


def largest_square(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the largest square within the mask of a slice, so that no edge of the brain takes part.

    Args:
        mask: (N, M) bool.

    Raises:
        SubjectError: The largest square is smaller than 24 voxels.
    """
    sums = np.pad(mask.astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    low, high = 0, min(mask.shape)  # where a square fits, every smaller square fits
    while low < high:
        side = (low + high + 1) // 2
        low, high = (side, high) if _whole_squares(sums, side).any() else (low, side - 1)
    if low < LEAST_SIDE:
        found = f"a largest square of {low} voxels"
        raise SubjectError("resolution", f"a square of {LEAST_SIDE} voxels within the mask", found, "use a finer grid")
    row, column = np.argwhere(_whole_squares(sums, low))[0].tolist()
    return slice(row, row + low), slice(column, column + low)


def _whole_squares(sums: np.ndarray, side: int) -> np.ndarray:
    """Return the places where a square of some side lies completely in the mask, from the sums of the mask over rows and columns."""
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return np.asarray(inside == side * side)


def squares_of_slices(mask: np.ndarray) -> dict[int, tuple[slice, slice]]:
    """Return the largest square of every coronal slice that has a square of 24 voxels or more.

    Args:
        mask: (X, Y, Z) bool.

    Raises:
        SubjectError: No slice has such a square.
    """
    found, refused = {}, None
    for y in range(mask.shape[1]):
        try:
            found[y] = largest_square(mask[:, y])
        except SubjectError as error:
            refused = error
    if not found and refused is not None:
        raise refused
    return found


def resolution_of_slices(volume: np.ndarray, mask: np.ndarray, spacing: Sequence[float] = (1.0, 1.0)) -> np.ndarray:
    """Return the resolution of every coronal slice that has a large enough square of tissue.

    Args:
        volume: (X, Y, Z) intensities, in any units.
        mask: (X, Y, Z) bool.
        spacing: Edges of a voxel along x and z.

    Returns:
        (S,) resolution of each slice of `squares_of_slices`, in the units of ``spacing``; NaN where no frequency stands out.

    Raises:
        SubjectError: No slice has a large enough square.
    """
    cutoffs = np.array([decorrelation(volume[:, y][square], spacing) for y, square in squares_of_slices(mask).items()])
    return np.asarray(np.divide(2 * max(spacing), cutoffs, out=np.full(len(cutoffs), np.nan), where=cutoffs > 0))
