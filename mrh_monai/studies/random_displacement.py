"""Misregister a stain at random: smooth displacements within the coronal plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import map_coordinates

from mrh_monai.data import SubjectInMemory
from mrh_monai.patch_geometry import CORONAL_PATCH

GRID_MM = 1.0
PLANE = CORONAL_PATCH.axes


def displacement_field(shape: Sequence[int], spacing: Sequence[float], rms_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Return a cubic B-spline whose control points, 1 mm apart, are displaced at random within the coronal plane.

    Args:
        shape: (X, Y, Z), number of voxels along each axis.
        spacing: Edges of a voxel in mm.
        rms_mm: Root mean square of the displacement's length over the volume, in mm.
        rng: Source of the displacements of the control points.

    Returns:
        (2, X, Y, Z) float64, displacement along x and along z, in voxels.

    Source:
        Rueckert et al., IEEE Trans Med Imaging 1999;18:712, for the spline; Liang et al., eLife 2022;11:e72331, for the experiment.
    """
    coordinates = [np.arange(size) * edge / GRID_MM for size, edge in zip(shape, spacing, strict=True)]
    points = [int(np.ceil(along[-1])) + 4 for along in coordinates]
    # One control point lies before the first voxel on each side, so that the spline is complete everywhere.
    grid = np.meshgrid(*[along + 1 for along in coordinates], indexing="ij")
    field = np.stack([map_coordinates(rng.standard_normal(points), grid, order=3, prefilter=False, mode="nearest") for _ in PLANE])
    length = float(np.sqrt((field**2).sum(0).mean()))
    edges = np.array([spacing[axis] for axis in PLANE])[:, None, None, None]
    return np.asarray(field * (rms_mm / length) / edges)


def misregistered(subject: SubjectInMemory, rms_mm: float, seed: int) -> SubjectInMemory:
    """Return the same subject with its stain and its ``target_mask`` displaced, by linear interpolation.

    Args:
        subject: Subject with a target; without a target it is returned unchanged.
        rms_mm: Root mean square of the displacement in mm, see `displacement_field`; 0 leaves the subject unchanged.
        seed: Random seed of the field.
    """
    if not rms_mm or subject.target is None:
        return subject
    field = displacement_field(subject.mask.shape, subject.spacing, rms_mm, np.random.default_rng(seed))
    grid = np.indices(subject.mask.shape, dtype=np.float64)
    for axis, along in zip(PLANE, field, strict=True):
        grid[axis] += along
    moved = map_coordinates(subject.target.astype(np.float32), grid, order=1, mode="nearest")
    intact = subject.target_mask
    if intact is not None:
        intact = map_coordinates(intact.astype(np.float32), grid, order=1, mode="nearest") > 0.999
    return replace(subject, target=moved, target_mask=intact)
