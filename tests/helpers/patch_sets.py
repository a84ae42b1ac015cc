"""Patches by plain slicing, which gathering must equal, and small data sets of patches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrh_monai.data import SubjectInMemory
from mrh_monai.patches.patch_dataset import PatchDataset
from mrh_monai.scaling import Coefficients


def sliced_patch(volume: np.ndarray, centre: Sequence[int], axes: Sequence[int], radius: int) -> np.ndarray:
    """One patch by plain slicing of a zero-padded copy: (C, ...)."""
    padded = np.pad(volume, [(radius, radius)] * 3 + [(0, 0)])
    index = [slice(c, c + 2 * radius + 1) if axis in axes else c + radius for axis, c in enumerate(centre)]
    return np.moveaxis(padded[tuple(index)], -1, 0)


def random_patches(
    subjects: Sequence[SubjectInMemory], rng: np.random.Generator, count: int = 50
) -> tuple[PatchDataset, list[Coefficients]]:
    """Patches at random voxels of the masks, with random coefficients of each subject."""
    centres = np.concatenate([np.column_stack([np.full(s.mask.sum(), i), np.argwhere(s.mask)]) for i, s in enumerate(subjects)])
    coefficients = [Coefficients(rng.uniform(0.1, 1, 67).astype(np.float32), rng.normal(0, 1, 67).astype(np.float32)) for _ in subjects]
    return PatchDataset(subjects, rng.permutation(centres)[:count], coefficients, target_max=250.0), coefficients
