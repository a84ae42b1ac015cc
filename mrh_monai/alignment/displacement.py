"""Smooth displacements within the coronal plane: cubic B-splines of a grid of control points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import grid_sample

from mrh_monai.patch_geometry import CORONAL_PATCH

PLANE = CORONAL_PATCH.axes
INVERSION_STEPS = 4  # of the fixed point; each step multiplies the error by the steepness of the field, which is far below 1


class ControlGrid:
    """The control points of a displacement, and the voxels at which it is wanted.

    Control points lie at equal distances in mm along each axis, one of them before the first voxel, so that the spline is complete at
    every voxel. An axis of a single voxel has a single control point.

    Args:
        shape: (X, Y, Z), number of voxels along each axis.
        spacing: Edges of a voxel in mm.
        distance_mm: Distance of neighbouring control points in mm.

    Attributes:
        shape: (I, J, K), number of control points along each axis.

    Source:
        Rueckert et al., IEEE Trans Med Imaging 1999;18:712.

    Example:
        >>> grid = ControlGrid((9, 1, 9), (0.125, 0.125, 0.125), distance_mm=0.5)
        >>> grid.shape
        (6, 1, 6)
        >>> moved_by_one = grid.dense(torch.ones(2, *grid.shape))
        >>> tuple(moved_by_one.shape), round(float(moved_by_one.min()), 5), round(float(moved_by_one.max()), 5)
        ((2, 9, 1, 9), 1.0, 1.0)
    """

    def __init__(self, shape: Sequence[int], spacing: Sequence[float], distance_mm: float):
        lengths = zip(shape, spacing, strict=True)
        self._weights = [_spline_weights(np.arange(count) * edge / distance_mm) for count, edge in lengths]
        i, j, k = (weights.shape[1] for weights in self._weights)
        self.shape = (i, j, k)

    def dense(self, control: torch.Tensor, lattice: tuple[slice, slice, slice] = (slice(None),) * 3) -> torch.Tensor:
        """Return the displacement at every voxel, or at the voxels of a lattice.

        Args:
            control: (2, I, J, K) displacement of the control points along x and along z, in mm.
            lattice: Voxels along x, y and z.

        Returns:
            (2, X, Y, Z) in mm.
        """
        x, y, z = (weights[part] for weights, part in zip(self._weights, lattice, strict=True))
        return torch.einsum("cijk,xi,yj,zk->cxyz", control, x, y, z)


def _spline_weights(places: np.ndarray) -> torch.Tensor:
    """Return the cubic B-spline of each control point (column) at each place (row), places counted in distances of control points."""
    if len(places) == 1:
        return torch.ones(1, 1)
    first = np.floor(places).astype(int)
    t = places - first
    pieces = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    weights = np.zeros((len(places), first[-1] + 4), np.float32)
    for offset, piece in enumerate(pieces):
        weights[np.arange(len(places)), first + offset] += piece
    return torch.from_numpy(weights)


def bending_energy(control: torch.Tensor) -> torch.Tensor:
    """Return the sum of the squared second differences of control points (2, I, J, K): 0 for a shift, a turn, a stretch and a shear."""
    energy = torch.zeros(())
    for first in (1, 2, 3):
        for second in range(first, 4):
            bent = control.diff(dim=first).diff(dim=second)
            energy = energy + (1 if first == second else 2) * bent.square().sum()
    return energy


def sampled(volumes: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the values of volumes at any places, by linear interpolation; beyond the volume, the value at its edge.

    Args:
        volumes: (N, X, Y, Z) float32.
        places: (3, M) float32, coordinates in voxels.

    Returns:
        (N, M) float32.

    Example:
        >>> volume = torch.arange(4.0).view(1, 4, 1, 1)
        >>> sampled(volume, torch.tensor([[0.0, 2.5, 9.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])).tolist()
        [[0.0, 2.5, 3.0]]
    """
    sizes = volumes.shape[1:]
    scaled = torch.stack([2 * places[axis] / max(sizes[axis] - 1, 1) - 1 for axis in (2, 1, 0)], -1)
    found = grid_sample(volumes[None], scaled[None, None, None], padding_mode="border", align_corners=True)
    return found[0, :, 0, 0]


def displaced(places: torch.Tensor, displacement: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
    """Return places (3, M) in voxels, moved by displacements (2, M) in mm within the coronal plane."""
    moved = [*places]
    for along, axis in zip(displacement, PLANE, strict=True):
        moved[axis] = moved[axis] + along / spacing[axis]
    return torch.stack(moved)


def inverse(displacement: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
    """Return the displacement that leads back: v(x) = -u(x + v(x)).

    Args:
        displacement: (2, X, Y, Z) in mm, along x and along z.
        spacing: Edges of a voxel in mm.

    Returns:
        (2, X, Y, Z) in mm.
    """
    shape = displacement.shape[1:]
    voxels = torch.stack(torch.meshgrid(*(torch.arange(float(size)) for size in shape), indexing="ij")).flatten(1)
    back = -displacement.flatten(1)
    for _ in range(INVERSION_STEPS):
        back = -sampled(displacement, displaced(voxels, back, spacing))
    return back.view(displacement.shape)
