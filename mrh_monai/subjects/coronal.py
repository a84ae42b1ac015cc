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
from mrh_monai.subjects.layout import is_named_like_mrh_nets
from mrh_monai.subjects.subject_arrays import AnySubject

ANTERIOR = 1  # the world's axis from posterior to anterior, in RAS+
FINER = 1.05  # factor by which a voxel may be longer in the coronal plane than across it


def coronal_axis(headers: Sequence[Header], stated: int | None = None) -> int:
    """Return the axis of a subject's files, or arrays, along which its coronal slices lie.

    That is the axis that the user states. Otherwise it is the axis that runs most along the world's anterior axis, in the first file whose
    affine counts. If no affine counts, it is axis 1, as in MRH-Net's own files, provided that no axis has longer voxels. A warning says so
    where all axes have voxels of one size, and the names are not those of MRH-Net's files.

    Args:
        headers: Headers of the files, those of the images first; or the one header of arrays.
        stated: What the user states; None for nothing.

    Raises:
        SubjectError: Nothing says which axis it is.

    Example:
        >>> from pathlib import Path
        >>> from mrh_monai.io import make_header
        >>> spacing = (0.14, 0.14, 0.4)
        >>> scan = make_header(Path("dwi.img"), (128, 128, 20), spacing, np.diag([*spacing, 1]), False, np.dtype("int16"))
        >>> coronal_axis([scan], stated=2)
        2
    """
    first = headers[0]
    placed = next((header for header in headers if header.has_affine), None)
    named = None if placed is None else _anterior_axis(placed.affine)
    axis = stated if stated is not None else named if named is not None else _likely_axis(headers)
    if named not in (None, CORONAL_AXIS) and axis in (named, CORONAL_AXIS) and any(is_named_like_mrh_nets(h.path) for h in headers):
        text = (
            f"{first.path}: coronal slices are taken along axis {axis}; the affine names axis {named}, and MRH-Net's own files, which have "
            f"this name, have them along axis {CORONAL_AXIS}; check `coronal_axis`."
        )
        warnings.warn(text, MRHWarning, stacklevel=2)
    if first.spacing[axis] * FINER < max(first.spacing):
        text = (
            f"{first.path}: coronal slices lie along axis {axis}, and the voxels are {_edges(first)}, so that patches are not in the plane "
            "of the finest voxels; check `coronal_axis`."
        )
        warnings.warn(text, MRHWarning, stacklevel=2)
    return axis


def with_default_axis(subjects: Sequence[AnySubject], axis: int | None) -> tuple[AnySubject, ...]:
    """Return subjects that state a coronal axis: their own, or otherwise the given one; None leaves them unchanged.

    Args:
        subjects: The subjects. Those that state another axis are named in a warning.
        axis: Option of a bundle or of a run.

    Example:
        >>> from mrh_monai.subjects import Subject
        >>> with_default_axis([Subject("m7", ("m7.nii",))], 2)[0].coronal_axis
        2
    """
    others = [subject.name for subject in subjects if axis is not None and subject.coronal_axis not in (None, axis)]
    if others:
        names = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        text = f"coronal_axis {axis} is not used for {names}: datalist, manifest or layout state another one."
        warnings.warn(text, MRHWarning, stacklevel=2)
    return tuple(subject if subject.coronal_axis is not None else replace(subject, coronal_axis=axis) for subject in subjects)


def _anterior_axis(affine: np.ndarray) -> int:
    return int(np.flatnonzero(io_orientation(affine)[:, 0] == ANTERIOR)[0])


def _likely_axis(headers: Sequence[Header]) -> int:
    """Return axis 1 for files without an orientation, unless the size of their voxels speaks for another axis."""
    first = headers[0]
    longest = [axis for axis in range(3) if first.spacing[axis] * FINER >= max(first.spacing)]
    if longest == [CORONAL_AXIS]:
        return CORONAL_AXIS
    if len(longest) < 3:
        where = f"the datalist's entry or the layout, or give --coronal-axis {longest[-1]}"
        found = f"files without an orientation and with voxels of {_edges(first)}"
        remedy = f"state `coronal_axis`, such as {longest[-1]}, in {where}"
        raise SubjectError(first.path, "the array axis along which coronal slices lie", found, remedy)
    if not any(is_named_like_mrh_nets(header.path) for header in headers):
        text = (
            f"{first.path}: no file of the subject has an orientation; coronal slices are taken along axis {CORONAL_AXIS}, as in MRH-Net's "
            "own files. State `coronal_axis` to confirm or correct this."
        )
        warnings.warn(text, MRHWarning, stacklevel=2)
    return CORONAL_AXIS


def _edges(header: Header) -> str:
    return " x ".join(f"{edge:g}" for edge in header.spacing) + " mm"
