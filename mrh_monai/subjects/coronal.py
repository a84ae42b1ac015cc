"""Along which axis of the files the coronal slices lie."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from nibabel.orientations import io_orientation

from mrh_monai.axis_order import CORONAL_AXIS
from mrh_monai.errors import MRHWarning, SubjectError
from mrh_monai.io import Header
from mrh_monai.subjects.subject_arrays import AnySubject

ANTERIOR = 1  # the world's axis from posterior to anterior, in RAS+
FINER = 1.01  # factor by which a voxel may be longer in the coronal plane than across it


def coronal_axis(subject: AnySubject, headers: Sequence[Header]) -> int:
    """Return the axis of a subject's files, or arrays, along which its coronal slices lie.

    That is the axis that the subject states. Otherwise it is the axis that runs most along the world's anterior axis, in the first file
    whose affine counts. If no affine counts, it is axis 1, as in MRH-Net's own files, provided that no axis has longer voxels; if all three
    have voxels of one size, a warning says so.

    Args:
        subject: The subject.
        headers: Headers of its images, mask and FA map in this order; or the one header of its arrays.

    Raises:
        SubjectError: Nothing says which axis it is.
    """
    axis = subject.coronal_axis
    if axis is None:
        placed = next((header for header in headers if header.has_affine), None)
        axis = _likely_axis(headers[0]) if placed is None else _anterior_axis(placed.affine)
    spacing = headers[0].spacing
    if spacing[axis] * FINER < max(spacing):
        text = (
            f"{subject.name}: coronal slices lie along axis {axis}, and the voxels are {_edges(headers[0])}, so that patches are not in "
            "the plane of the finest voxels; check `coronal_axis`."
        )
        warnings.warn(text, MRHWarning, stacklevel=2)
    return axis


def with_default_axis(subject: AnySubject, axis: int | None) -> AnySubject:
    """Return a subject that states a coronal axis: its own, or otherwise the given one; None leaves it unchanged.

    Example:
        >>> from mrh_monai.subjects import Subject
        >>> with_default_axis(Subject("m7", ("m7.nii",)), 2).coronal_axis
        2
    """
    return subject if subject.coronal_axis is not None else replace(subject, coronal_axis=axis)


def _anterior_axis(affine: np.ndarray) -> int:
    return int(np.flatnonzero(io_orientation(affine)[:, 0] == ANTERIOR)[0])


def _likely_axis(header: Header) -> int:
    """Return axis 1 for files without an orientation, unless the size of their voxels speaks for another axis."""
    longest = [axis for axis in range(3) if header.spacing[axis] * FINER >= max(header.spacing)]
    if longest == [CORONAL_AXIS]:
        return CORONAL_AXIS
    where = "the datalist's entry or the layout"
    if len(longest) == 3:
        text = (
            f"{header.path}: no file of the subject has an orientation; coronal slices are taken along axis {CORONAL_AXIS}, as in "
            f"MRH-Net's own files. Write `coronal_axis` into {where} to confirm or correct this."
        )
        warnings.warn(text, MRHWarning, stacklevel=2)
        return CORONAL_AXIS
    remedy = f"write `coronal_axis`, such as {longest[-1]}, into {where}, or give --coronal-axis {longest[-1]}"
    found = f"files without an orientation and with voxels of {_edges(header)}"
    raise SubjectError(header.path, "the array axis along which coronal slices lie", found, remedy)


def _edges(header: Header) -> str:
    return " x ".join(f"{edge:g}" for edge in header.spacing) + " mm"
