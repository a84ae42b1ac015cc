"""Which voxels of which subjects become the centres of training patches."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import binary_erosion

from mrh_monai.data import CORONAL_AXIS, CORONAL_PLANE, LoadedSubject
from mrh_monai.errors import MRHWarning, OptionError, SubjectError

METHODS = ("random", "published")
# Rules of the released MRH-Net code for 3x3 patches; labels are 8-bit.
FIBRE_FA = 102  # of 255
FIBRE_VOXELS = 1000
FIBRE_STRIDE, OTHER_STRIDE = 6, 8
MIN_NONZERO, MIN_SUM = 4, 30.0


def sample_centres(
    subjects: Sequence[LoadedSubject],
    count: int | None,
    seed: int,
    method: str = "random",
    axes: Sequence[int] = CORONAL_PLANE,
    radius: int = 1,
) -> np.ndarray:
    """Draw patch centres.

    Args:
        subjects: Loaded subjects; ``mask`` already holds the slice ranges.
        count: How many in all; None for every candidate.
        seed: Seed of the draw.
        method: ``random``: any voxel of any mask; ``published``: the candidates of the released code, see `published_candidates`.
        axes: Array axes that a patch spans.
        radius: Half the patch's edge, rounded down.

    A patch is drawn only where all of its target is sound.

    Returns:
        (N, 4) int64: subject index, x, y, z. N is smaller than ``count`` where there are fewer candidates.

    Raises:
        OptionError: The method is unknown, or the count below 1.
        SubjectError: There is no candidate.
    """
    if method not in METHODS:
        raise OptionError("sampling", " or ".join(METHODS), repr(method), "choose one of the two")
    if count is not None and count < 1:
        raise OptionError("patches", "at least 1", f"{count}", "ask for more patches")
    candidates = []
    for index, subject in enumerate(subjects):
        # A file of patches was sampled when it was made.
        allowed = subject.mask if method == "random" or subject.is_patches else published_candidates(subject)
        if subject.target_mask is not None:
            allowed = allowed & whole_patches(subject.target_mask, axes, radius)
        voxels = np.argwhere(allowed)
        candidates.append(np.column_stack([np.full(len(voxels), index), voxels]))
    centres = np.concatenate(candidates).astype(np.int64)
    if not len(centres):
        raise SubjectError(
            subjects[0].name, "voxels to sample patches at", "none that fit the rules", "widen `slices` or choose --sampling random"
        )
    if count is None or count >= len(centres):
        if count is not None and count > len(centres):
            where = f"{subjects[0].name} to {subjects[-1].name}" if len(subjects) > 1 else subjects[0].name
            warnings.warn(f"{where}: {count} patches asked for, {len(centres)} voxels fit; all are used.", MRHWarning, stacklevel=2)
        return centres
    chosen = np.random.default_rng(seed).choice(len(centres), count, replace=False)
    return centres[chosen]


def whole_patches(sound: np.ndarray, axes: Sequence[int], radius: int) -> np.ndarray:
    """(X, Y, Z) bool: voxels around which a whole patch is sound; beyond the volume everything counts as sound.

    Args:
        sound: (X, Y, Z) bool.
        axes: Array axes that a patch spans.
        radius: Half the patch's edge, rounded down.
    """
    box = np.ones([2 * radius + 1 if axis in axes else 1 for axis in range(3)], bool)
    return binary_erosion(sound, box, border_value=1)


def published_candidates(subject: LoadedSubject) -> np.ndarray:
    """(X, Y, Z) bool: centres that the released code may draw in the coronal plane.

    In the mask, on a grid of stride 6 in slices with more than 1,000 voxels of FA > 102/255 and 8 in the others, where the 3x3 label
    has at least 4 nonzero voxels and sums to at least 30 (of 255 a voxel). The released range of slices, 118 to 159 of 280 counted
    from 1, is left to the subject's ``slices``.

    Raises:
        SubjectError: The subject has no FA map or no target.
    """
    if subject.fa is None or subject.target is None:
        missing = "FA map" if subject.fa is None else "target"
        raise SubjectError(
            subject.name, f"an {missing} for published sampling", "none", "add it to the datalist or choose --sampling random"
        )
    fibres = (subject.fa > FIBRE_FA).sum(axis=(0, 2))
    on_grid = np.zeros(subject.mask.shape, bool)
    for y in range(subject.mask.shape[CORONAL_AXIS]):
        stride = FIBRE_STRIDE if fibres[y] > FIBRE_VOXELS else OTHER_STRIDE
        on_grid[1:-1:stride, y, 1:-1:stride] = True
    label = np.pad(np.asarray(subject.target, np.float64), ((1, 1), (0, 0), (1, 1)))
    windows = sliding_window_view(label, (3, 3), axis=(0, 2))
    rules = ((windows != 0).sum((-1, -2)) >= MIN_NONZERO) & (windows.sum((-1, -2)) >= MIN_SUM)
    return subject.mask & on_grid & rules


def hold_out(centres: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split centres at random into those that train and ``count`` that validate, as published where no subject validates.

    Args:
        centres: (N, 4).
        count: How many validate; at most half of them do.
        seed: Seed of the split.

    Returns:
        Two arrays (N - count, 4) and (count, 4).
    """
    count = min(count, len(centres) // 2)
    order = np.random.default_rng([seed, 1]).permutation(len(centres))
    return centres[order[count:]], centres[order[:count]]
