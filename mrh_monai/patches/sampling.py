"""Choose the voxels that become the centres of training patches."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import binary_erosion

from mrh_monai.axis_order import CORONAL_AXIS
from mrh_monai.data import SubjectInMemory
from mrh_monai.errors import MRHWarning, OptionError, SubjectError, one_of
from mrh_monai.patch_geometry import CORONAL_PATCH, PatchGeometry

SAMPLING_METHODS = ("random", "published")
# Rules of the released code of MRH-Net for patches of 3 x 3 voxels; its labels are 8-bit numbers.
FIBRE_FA = 102  # FA is stored as 0 to 255
FIBRE_VOXELS = 1000
FIBRE_STRIDE, OTHER_STRIDE = 6, 8
MIN_NONZERO, MIN_SUM = 4, 30.0


def sample_centres(
    subjects: Sequence[SubjectInMemory],
    count: int | None,
    seed: int,
    method: str = "random",
    patch: PatchGeometry = CORONAL_PATCH,
) -> np.ndarray:
    """Draw the centres of patches. A patch is drawn only where its whole target is intact.

    Args:
        subjects: Subjects in memory, whose masks are already restricted to their slices.
        count: Number of patches from all subjects together; None for every candidate.
        seed: Random seed of the draw.
        method: ``random``: any voxel of any mask; ``published``: the candidates of the released code, see `published_candidates`.
        patch: Shape of the patches.

    Returns:
        (N, 4) int64: index of the subject, x, y, z. N is smaller than ``count`` where there are fewer candidates.

    Raises:
        OptionError: The method is unknown, or the count is below 1.
        SubjectError: There is no candidate.
    """
    one_of("sampling", method, SAMPLING_METHODS)
    if count is not None and count < 1:
        raise OptionError("patches", "at least 1", f"{count}", "ask for more patches")
    candidates = []
    for index, subject in enumerate(subjects):
        # The patches of a patch file were sampled when the file was made.
        allowed = subject.mask if method == "random" or subject.is_patches else published_candidates(subject)
        if subject.target_mask is not None:
            allowed = allowed & whole_patches(subject.target_mask, patch)
        voxels = np.argwhere(allowed)
        candidates.append(np.column_stack([np.full(len(voxels), index), voxels]))
    centres = np.concatenate(candidates).astype(np.int64)
    if not len(centres):
        raise SubjectError(
            subjects[0].name,
            "voxels at which patches can be drawn",
            "no voxel that fits the rules",
            "widen `slices`, or choose --sampling random",
        )
    if count is None or count >= len(centres):
        if count is not None and count > len(centres):
            where = f"{subjects[0].name} to {subjects[-1].name}" if len(subjects) > 1 else subjects[0].name
            warnings.warn(
                f"{where}: {count} patches were asked for, but only {len(centres)} voxels fit the rules; all of them are used.",
                MRHWarning,
                stacklevel=2,
            )
        return centres
    chosen = np.random.default_rng(seed).choice(len(centres), count, replace=False)
    return centres[chosen]


def whole_patches(intact: np.ndarray, patch: PatchGeometry) -> np.ndarray:
    """Return the voxels around which a whole patch is intact; voxels beyond the volume count as intact.

    Args:
        intact: (X, Y, Z) bool, the voxels where the target is intact.
        patch: Shape of the patches.

    Returns:
        (X, Y, Z) bool.
    """
    box = np.ones([2 * reach + 1 for reach in patch.reach], bool)
    return np.asarray(binary_erosion(intact, box, border_value=1))


def published_candidates(subject: SubjectInMemory) -> np.ndarray:
    """Return the centres that the released code may draw in the coronal plane.

    They lie in the mask, on a grid whose stride is 6 in slices with more than 1,000 voxels of FA > 102/255 and 8 in the other slices. The
    3 x 3 label around them has at least 4 nonzero voxels, and its sum is at least 30 (a voxel has 0 to 255). The range of slices of the
    released code, 118 to 159 of 280 counted from 1, can be given as the ``slices`` of a subject.

    Returns:
        (X, Y, Z) bool.

    Raises:
        SubjectError: The subject has no FA map or no target.
    """
    if subject.fa is None or subject.target is None:
        missing = "FA map" if subject.fa is None else "target"
        raise SubjectError(
            subject.name, f"an {missing} for published sampling", "no such file", "add it to the datalist, or choose --sampling random"
        )
    fibres = (subject.fa > FIBRE_FA).sum(axis=(0, 2))
    on_grid = np.zeros(subject.mask.shape, bool)
    for y in range(subject.mask.shape[CORONAL_AXIS]):
        stride = FIBRE_STRIDE if fibres[y] > FIBRE_VOXELS else OTHER_STRIDE
        on_grid[1:-1:stride, y, 1:-1:stride] = True
    label = np.pad(np.asarray(subject.target, np.float64), ((1, 1), (0, 0), (1, 1)))
    windows = sliding_window_view(label, (3, 3), axis=(0, 2))
    rules = ((windows != 0).sum((-1, -2)) >= MIN_NONZERO) & (windows.sum((-1, -2)) >= MIN_SUM)
    return np.asarray(subject.mask & on_grid & rules)


def hold_out(centres: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split centres at random into those that train and those that validate, as published where no subject validates.

    Args:
        centres: (N, 4) result of `sample_centres`.
        count: Number of centres that validate; at most half of the centres do.
        seed: Random seed of the split.

    Returns:
        The centres that train, (N - count, 4), and those that validate, (count, 4).
    """
    count = min(count, len(centres) // 2)
    order = np.random.default_rng([seed, 1]).permutation(len(centres))
    return centres[order[count:]], centres[order[:count]]
