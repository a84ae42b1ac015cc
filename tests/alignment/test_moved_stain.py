from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from mrh_monai.alignment.moved_stain import move_stain, moved_voxels, whole_stain


def test_a_stain_is_interpolated_by_cubic_splines_and_keeps_its_range(brains, rng):
    brain = brains[0]
    field = (0.05 * rng.normal(size=(2, 1, 5, 1)) * np.ones((2, *brain.mask.shape))).astype(np.float32)
    moved = move_stain(brain, torch.from_numpy(field))
    x, y, z = np.indices(brain.mask.shape).astype(float)
    expected = map_coordinates(brain.target, [x + field[0] / 0.0625, y, z + field[1] / 0.0625], order=3, mode="nearest")
    np.testing.assert_allclose(moved.target, np.clip(expected, brain.target.min(), brain.target.max()), atol=1e-2)
    assert moved.target.dtype == np.float32
    assert move_stain(brain, torch.zeros(field.shape)) is brain


def test_a_voxel_is_torn_where_its_stain_came_from_torn_tissue(brains):
    intact = np.ones(brains[0].mask.shape, bool)
    intact[20] = False
    field = torch.zeros(2, *intact.shape)
    field[0] = 0.0625
    moved = move_stain(replace(brains[0], target_mask=intact), field)
    np.testing.assert_array_equal(np.flatnonzero(~moved.target_mask.any(axis=(1, 2))), [19])


def test_torn_tissue_is_filled_from_beside_it(brains):
    intact = np.ones(brains[0].mask.shape, bool)
    intact[20:22] = False
    torn = replace(brains[0], target=np.where(intact, brains[0].target, np.nan), target_mask=intact)
    filled = whole_stain(torn)
    np.testing.assert_array_equal(filled[20], brains[0].target[19])
    np.testing.assert_array_equal(filled[21], brains[0].target[22])
    np.testing.assert_array_equal(filled[intact], brains[0].target[intact])


def test_some_voxels_are_those_of_the_whole_volume_by_linear_interpolation(brains, rng):
    brain = replace(brains[0], target_mask=rng.random(brains[0].mask.shape) > 0.02)
    field = torch.from_numpy(rng.normal(0, 0.05, (2, *brain.mask.shape)).astype(np.float32))
    whole = move_stain(brain, field, order=1)
    stain, known = moved_voxels(brain, torch.from_numpy(whole_stain(brain)), field, torch.from_numpy(brain.mask))
    np.testing.assert_allclose(stain, whole.target[brain.mask], atol=1e-2)
    np.testing.assert_array_equal(known, whole.target_mask[brain.mask])


def test_a_stain_from_beyond_the_volume_is_not_intact(brains):
    """The value at the border of the volume, which is repeated there, is not a stain of that voxel."""
    whole = replace(brains[0], mask=np.ones_like(brains[0].mask))
    field = torch.zeros(2, *whole.mask.shape)
    field[0] = -0.25  # four voxels
    moved = move_stain(whole, field)
    assert not moved.target_mask[:4].any()
    assert moved.target_mask[4:].all()
    _, known = moved_voxels(whole, torch.from_numpy(whole.target), field, torch.ones(whole.mask.shape, dtype=torch.bool))
    np.testing.assert_array_equal(known.view(whole.mask.shape), moved.target_mask)
    assert move_stain(brains[0], 0.1 * field).target_mask is None  # inside the brain nothing comes from beyond
