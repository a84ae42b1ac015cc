"""Masks: of the brain, and of the voxels at which a stain is intact."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mrh_monai.axis_order import CORONAL_AXIS, FILE_ORDER, AxisOrder
from mrh_monai.data.grid import check_single
from mrh_monai.errors import MRHWarning, SubjectError
from mrh_monai.io import Header, read_header, read_voxels, write_nifti
from mrh_monai.output_files import writing
from mrh_monai.subjects import Slices, Subject, files_of, in_slices

MASK_TOLERANCE = 1e-3  # how far the values of a mask may lie from 0 and 1


def read_masks(headers: Mapping[str, list[Header]], slices: Slices | None) -> tuple[np.ndarray, np.ndarray]:
    """Read the mask of a subject; where there is no mask, FA > 0.

    Args:
        headers: Headers of `read_headers`.
        slices: Slices of the subject; None for all slices.

    Returns:
        The mask restricted to the slices, and the mask over all slices, each (X, Y, Z) bool.

    Raises:
        SubjectError: The mask holds other values than 0 and 1, or has no voxel within the slices.
    """
    header = (headers["mask"] or headers["fa"])[0]
    whole = read_mask(header) if headers["mask"] else read_voxels(header)[..., 0] > 0
    return restricted_mask(whole, slices, header.path, header.axes), whole


def restricted_mask(whole: np.ndarray, slices: Slices | None, where: object, axes: AxisOrder = FILE_ORDER) -> np.ndarray:
    """Return the voxels of a mask that lie within some slices.

    Args:
        whole: (X, Y, Z) bool.
        slices: Ranges of slices; None for all slices.
        where: File that the error names.
        axes: Axis of the file that is X, Y and Z here.

    Raises:
        SubjectError: There is no such voxel.
    """
    if not whole.any():
        raise SubjectError(where, "voxels inside the mask", "an empty mask", "check the mask")
    mask = np.asarray(whole & in_slices(whole.shape[CORONAL_AXIS], slices)[None, :, None])
    if not mask.any():
        inside = np.flatnonzero(whole.any(axis=(0, 2)))
        found = f"a mask in slices {inside[0]} to {inside[-1]} of array axis {axes[CORONAL_AXIS]}, which is coronal"
        remedy = "choose other slices, or state another `coronal_axis`"
        raise SubjectError(where, f"voxels inside the mask in slices {[list(pair) for pair in slices or ()]}", found, remedy)
    return mask


def read_mask(header: Header) -> np.ndarray:
    """Read a mask (X, Y, Z) bool.

    Raises:
        SubjectError: The file holds other values than 0 and 1.
    """
    return checked_mask(read_voxels(header)[..., 0], header.path)


def checked_mask(values: np.ndarray, where: object) -> np.ndarray:
    """Return a volume of 0 and 1 as bool. Values within 0.001 of them count, as resampling leaves them.

    A volume of 0 and one other value above 0, such as 255, also counts as a mask, with a warning.

    Raises:
        SubjectError: The volume holds other values; the sentence names the file ``where``.

    Example:
        >>> checked_mask(np.array([0, 0.9999, 1.000001]), "mask.nii").tolist()
        [False, True, True]
    """
    if values.dtype == bool:
        return values
    kinds = np.unique(values)
    low = np.abs(kinds) <= MASK_TOLERANCE
    if (low | (np.abs(kinds - 1.0) <= MASK_TOLERANCE)).all():
        return np.asarray(values > 0.5)
    if low.any() and (~low).sum() == 1 and 0 < kinds[~low][0] < np.inf:
        text = f"{where}: a mask of 0 and {kinds[~low][0]:g} instead of 0 and 1; the voxels of {kinds[~low][0]:g} count as inside."
        warnings.warn(text, MRHWarning, stacklevel=2)
        return np.asarray(values > MASK_TOLERANCE)
    wrong = kinds[~(low | (np.abs(kinds - 1.0) <= MASK_TOLERANCE))]
    listed = np.unique([*kinds[:2], *wrong[:3]])
    shown = ", ".join(f"{float(kind):.9g}" for kind in listed) + (", ..." if len(kinds) > len(listed) else "")
    raise SubjectError(where, "a mask of 0 and 1", f"the values {shown}", "apply a threshold and save it as 0 and 1")


def checked_target_mask(intact: np.ndarray, mask: np.ndarray, where: object) -> np.ndarray:
    """Return the voxels with an intact target (X, Y, Z) bool, after a check that some of them lie in the mask.

    Raises:
        SubjectError: No such voxel lies in the mask; the sentence names the file ``where``.
    """
    if not (intact & mask).any():
        expected, remedy = "voxels with an intact target inside the mask", "check the target_mask and the slices"
        raise SubjectError(where, expected, "no such voxel", remedy)
    return intact


def read_target_mask(headers: Sequence[Header], mask: np.ndarray) -> np.ndarray | None:
    """Read the target mask (X, Y, Z) bool of a subject; None where there is no such file.

    Args:
        headers: Headers of its files, one at most.
        mask: (X, Y, Z) bool, the brain.

    Raises:
        SubjectError: The file holds other values than 0 and 1, or no voxel of it lies in the mask.
    """
    if not headers:
        return None
    return checked_target_mask(read_mask(headers[0]), mask, headers[0].path)


def with_target_masks(subjects: Sequence[Subject], folder: Path, overwrite: bool = False) -> list[Subject]:
    """Write a target mask for each subject whose stain has NaN or Inf, and return the subjects with these masks.

    Args:
        subjects: Subjects, those without a target or with a target of finite numbers only are returned as they are.
        folder: Folder into which ``<subject>_target_mask.nii.gz`` is written, 1 where the stain is finite.
        overwrite: Whether files of another origin may be replaced.

    Raises:
        SubjectError: A target cannot be read.
        OutputError: A mask cannot be written, or would replace a file of another origin.
    """
    intact = {subject.name: found for subject in subjects if (found := _intact(subject)) is not None}
    paths = {name: folder / f"{name}_target_mask.nii.gz" for name in intact}
    inputs = [file for subject in subjects for file in files_of(subject)]
    with writing("target-mask", paths.values(), inputs, overwrite):
        for name, (voxels, header) in intact.items():
            write_nifti(paths[name], voxels.astype(np.uint8), header.affine, header.placement)
    return [replace(subject, target_mask=paths.get(subject.name, subject.target_mask)) for subject in subjects]


def _intact(subject: Subject) -> tuple[np.ndarray, Header] | None:
    """Return the finite voxels of a stain and its header; None where there is no stain, or all of its voxels are finite."""
    if subject.target is None:
        return None
    header = read_header(subject.target)
    check_single(header, "target")
    finite = np.isfinite(read_voxels(header)[..., 0])
    return None if finite.all() else (finite, header)
