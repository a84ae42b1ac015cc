"""Random misregistration of a stain: smooth displacements within the coronal plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import map_coordinates

from mrh_monai.data import CORONAL_PLANE, LoadedSubject

GRID_MM = 1.0


def displacement_field(shape: Sequence[int], spacing: Sequence[float], rms_mm: float, rng: np.random.Generator) -> np.ndarray:
    """A cubic B-spline whose control points, 1 mm apart, are displaced at random within the coronal plane.

    Args:
        shape: (X, Y, Z), voxels.
        spacing: Edges of a voxel in mm.
        rms_mm: Root mean square of the displacement's length over the volume.
        rng: Of the control points.

    Returns:
        (2, X, Y, Z) displacement along x and along z, in voxels.

    Source:
        Rueckert et al., IEEE Trans Med Imaging 1999;18:712, for the spline; Liang et al., eLife 2022;11:e72331, for the experiment.
    """
    coordinates = [np.arange(size) * edge / GRID_MM for size, edge in zip(shape, spacing, strict=True)]
    points = [int(np.ceil(along[-1])) + 4 for along in coordinates]
    # A point before the first voxel on each side, so that the spline is whole everywhere.
    grid = np.meshgrid(*[along + 1 for along in coordinates], indexing="ij")
    field = np.stack([map_coordinates(rng.standard_normal(points), grid, order=3, prefilter=False, mode="nearest") for _ in CORONAL_PLANE])
    length = float(np.sqrt((field**2).sum(0).mean()))
    edges = np.array([spacing[axis] for axis in CORONAL_PLANE])[:, None, None, None]
    return field * (rms_mm / length) / edges


def misregistered(subject: LoadedSubject, rms_mm: float, seed: int) -> LoadedSubject:
    """The same subject, its stain, and where that is sound, displaced by linear interpolation; nothing is done for 0 mm.

    Args:
        subject: With a target.
        rms_mm: See `displacement_field`.
        seed: Of the field.
    """
    if not rms_mm or subject.target is None:
        return subject
    field = displacement_field(subject.mask.shape, subject.spacing, rms_mm, np.random.default_rng(seed))
    grid = np.indices(subject.mask.shape, dtype=np.float64)
    for axis, along in zip(CORONAL_PLANE, field, strict=True):
        grid[axis] += along
    moved = map_coordinates(subject.target.astype(np.float32), grid, order=1, mode="nearest")
    sound = subject.target_mask
    if sound is not None:
        sound = map_coordinates(sound.astype(np.float32), grid, order=1, mode="nearest") > 0.999
    return replace(subject, target=moved, target_mask=sound)
