"""Misregister a stain at random: smooth displacements within the coronal plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mrh_monai.alignment import ControlGrid, move_stain
from mrh_monai.data import SubjectInMemory

GRID_MM = 1.0


def displacement_field(shape: Sequence[int], spacing: Sequence[float], rms_mm: float, rng: np.random.Generator) -> torch.Tensor:
    """Return a cubic B-spline whose control points, 1 mm apart, are displaced at random within the coronal plane.

    Args:
        shape: (X, Y, Z), number of voxels along each axis.
        spacing: Edges of a voxel in mm.
        rms_mm: Root mean square of the displacement's length over the volume, in mm.
        rng: Source of the displacements of the control points.

    Returns:
        (2, X, Y, Z) float32, displacement along x and along z, in mm.

    Source:
        Rueckert et al., IEEE Trans Med Imaging 1999;18:712, for the spline; Liang et al., eLife 2022;11:e72331, for the experiment.
    """
    grid = ControlGrid(shape, spacing, GRID_MM)
    field = grid.dense(torch.from_numpy(rng.standard_normal((2, *grid.shape)).astype(np.float32)))
    return field * (rms_mm / field.square().sum(0).mean().sqrt())


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
    return move_stain(subject, field, order=1)
