"""The resolution of an image by itself: decorrelation analysis of its spatial frequencies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.signal.windows import tukey

from mrh_monai.errors import SubjectError

RADII = 100  # spatial frequencies, 0 to the sampling limit
FILTERS = 10
LEAST_SIDE = 24  # voxels of a square to be analysed
LEAST_DROP = 0.001  # behind a peak, for it to be one
TAPER = 0.25


def decorrelation(image: np.ndarray, spacing: Sequence[float] = (1.0, 1.0)) -> float:
    """The highest spatial frequency at which an image holds more than noise.

    The Fourier transform, and itself with all amplitudes set to 1, are correlated within circles of growing radius: the correlation peaks
    where the signal ends and noise goes on. High-pass filters of growing strength move the peak outwards; the outermost counts.

    Args:
        image: (N, M), any units.
        spacing: Edges of a pixel.

    Returns:
        Cut-off frequency, relative to the sampling limit along the pixels' longer edge: 0 (no peak) to 1; the resolution is two of these
        edges divided by it.

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
    """Position and height of the correlation's outermost local maximum; zeros without one."""
    inside = frequency < 1
    radius, weight = frequency[inside], amplitude[inside]
    step = np.minimum((radius * RADII).astype(int), RADII - 1)
    total = np.sqrt((weight**2).sum())
    if total == 0:
        return 0.0, 0.0
    summed, count = np.cumsum(np.bincount(step, weight, RADII)), np.cumsum(np.bincount(step, minlength=RADII))
    curve = summed / (total * np.sqrt(np.maximum(count, 1)))
    # A maximum at the very end is none: the curve has not come down yet.
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
    """The largest square within a slice's mask, so that no edge of the brain takes part.

    Args:
        mask: (N, M) bool.

    Raises:
        SubjectError: It is smaller than 24 voxels.
    """
    sums = np.pad(mask.astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    low, high = 0, min(mask.shape)  # where a square of one side fits, smaller ones do
    while low < high:
        side = (low + high + 1) // 2
        low, high = (side, high) if _whole_squares(sums, side).any() else (low, side - 1)
    if low < LEAST_SIDE:
        raise SubjectError("resolution", f"a square of {LEAST_SIDE} voxels within the mask", f"one of {low}", "use a finer grid")
    row, column = np.argwhere(_whole_squares(sums, low))[0].tolist()
    return slice(row, row + low), slice(column, column + low)


def _whole_squares(sums: np.ndarray, side: int) -> np.ndarray:
    """Where a square of some side has all of its voxels in the mask, from the mask's sums over rows and columns."""
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return inside == side * side


def squares_of_slices(mask: np.ndarray) -> dict[int, tuple[slice, slice]]:
    """The largest square of every coronal slice that has one of 24 voxels or more.

    Args:
        mask: (X, Y, Z) bool.

    Raises:
        SubjectError: No slice has.
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
    """The resolution of every coronal slice that has a large enough square of tissue.

    Args:
        volume: (X, Y, Z), any units.
        mask: (X, Y, Z) bool.
        spacing: Edges of a voxel along x and z.

    Returns:
        (S,) in the units of ``spacing``, of the slices of `squares_of_slices`; NaN where no frequency stands out.

    Raises:
        SubjectError: No slice has a large enough square.
    """
    cutoffs = np.array([decorrelation(volume[:, y][square], spacing) for y, square in squares_of_slices(mask).items()])
    return np.divide(2 * max(spacing), cutoffs, out=np.full(len(cutoffs), np.nan), where=cutoffs > 0)
