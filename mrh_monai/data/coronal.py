"""Along which axis of the files the coronal slices lie."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from nibabel.orientations import io_orientation

from mrh_monai.errors import MRHWarning, SubjectError
from mrh_monai.io import Header
from mrh_monai.patch_geometry import CORONAL_AXIS
from mrh_monai.subjects import Subject

ANTERIOR = 1  # the world's axis from posterior to anterior, in RAS+
FINER = 1.01  # factor by which a voxel may be longer in the coronal plane than across it


def coronal_axis(subject: Subject, headers: Sequence[Header]) -> int:
    """Return the axis of a subject's files along which its coronal slices lie.

    That is the axis that the subject states. Otherwise it is the axis that runs most along the world's anterior axis, in the first file
    whose affine counts. If no affine counts, it is axis 1, as in the layout of MRH-Net, provided that the voxels are longest along it.

    Args:
        subject: The subject.
        headers: Headers of its files, images first.

    Raises:
        SubjectError: Nothing says which axis it is.
    """
    spacing = np.array(headers[0].spacing)
    if subject.coronal_axis is not None:
        axis = subject.coronal_axis
    else:
        placed = next((header for header in headers if header.has_affine), None)
        if placed is not None:
            axis = int(np.flatnonzero(io_orientation(placed.affine)[:, 0] == ANTERIOR)[0])
        elif spacing[CORONAL_AXIS] * FINER >= spacing.max():
            axis = CORONAL_AXIS
        else:
            edges = " x ".join(f"{edge:g}" for edge in spacing)
            found = f"files without an orientation and with voxels of {edges} mm"
            likely = int(spacing.argmax())
            remedy = f"write `coronal_axis`, such as {likely}, into the datalist's entry or the layout, or give --coronal-axis {likely}"
            raise SubjectError(headers[0].path, "the array axis along which coronal slices lie", found, remedy)
    if spacing[axis] * FINER < spacing.max():
        edges = " x ".join(f"{edge:g}" for edge in spacing)
        text = (
            f"{subject.name}: coronal slices lie along axis {axis}, and the voxels are {edges} mm, so that patches are not in the plane of "
            "the finest voxels; check `coronal_axis`."
        )
        warnings.warn(text, MRHWarning, stacklevel=2)
    return axis
