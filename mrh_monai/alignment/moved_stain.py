"""Stains that are displaced within the coronal plane: the same subject with its stain elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, map_coordinates

from mrh_monai.alignment.displacement import displaced, sampled
from mrh_monai.data import SubjectInMemory

INTACT = 0.999  # share of a displaced voxel that must be intact


def move_stain(subject: SubjectInMemory, displacement: torch.Tensor, order: int = 3) -> SubjectInMemory:
    """Return a subject with its stain moved by spline interpolation, and its ``target_mask`` by linear interpolation.

    Args:
        subject: Subject with a target.
        displacement: (2, X, Y, Z) float32, along x and z in mm: how far from each voxel its stain lies now.
        order: Order of the splines: 3 for cubic, 1 for linear interpolation.

    Returns:
        The subject with a target (X, Y, Z) float32, without values beyond those of the original's slices in use. Where the displacement
        is 0 everywhere, the subject is returned unchanged. A voxel whose stain would come from beyond the volume is not intact.
    """
    if not displacement.any():
        return subject
    places = displaced(_places(torch.ones(displacement.shape[1:])), displacement.flatten(1), subject.spacing)
    original = whole_stain(subject)
    target = map_coordinates(original, places.numpy(), order=order, mode="nearest").reshape(original.shape)
    used = original if subject.left_out is None else original[:, ~subject.left_out]
    intact = None if subject.target_mask is None else _intact(subject.target_mask, places).view(original.shape).numpy()
    inside = _inside(places, original.shape).view(original.shape).numpy()
    if not inside[subject.mask].all():
        intact = inside if intact is None else intact & inside
    return replace(subject, target=np.clip(target, used.min(), used.max()), target_mask=intact)


def moved_voxels(
    subject: SubjectInMemory, stain: torch.Tensor, displacement: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the moved stain of some voxels by linear interpolation, which is faster than `move_stain`.

    Args:
        subject: Subject of the stain.
        stain: (X, Y, Z) float32, its `whole_stain`.
        displacement: (2, X, Y, Z) float32, see `move_stain`.
        mask: (X, Y, Z) bool, the V voxels.

    Returns:
        The stain (V,) float32, and where it is intact, (V,) bool.
    """
    places = displaced(_places(mask), displacement[:, mask], subject.spacing)
    known = _inside(places, stain.shape)
    return sampled(stain[None], places)[0], known if subject.target_mask is None else known & _intact(subject.target_mask, places)


def whole_stain(subject: SubjectInMemory) -> np.ndarray:
    """Return the stain (X, Y, Z) float32 of a subject; where it is torn or not finite, the nearest value, so that splines do not ring."""
    assert subject.target is not None
    stain = subject.target.astype(np.float32)
    known = np.isfinite(stain) if subject.target_mask is None else np.isfinite(stain) & subject.target_mask
    if known.all():
        return stain
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(stain[tuple(nearest)])


def _places(mask: torch.Tensor) -> torch.Tensor:
    """Return the coordinates (3, V) float32 of the voxels of a mask."""
    return torch.nonzero(mask).T.to(torch.float32)


def _inside(places: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return (V,) bool: whether places (3, V), in voxels, lie within the volume."""
    return torch.stack([(along > -0.5) & (along < size - 0.5) for along, size in zip(places, shape, strict=True)]).all(0)


def _intact(target_mask: np.ndarray, places: torch.Tensor) -> torch.Tensor:
    return sampled(torch.from_numpy(target_mask.astype(np.float32))[None], places)[0] > INTACT
