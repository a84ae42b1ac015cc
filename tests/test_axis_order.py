import itertools

import numpy as np
import pytest

from mrh_monai.axis_order import CORONAL_AXIS, FILE_ORDER, affine_in_order, coronal_order, in_order, inverse_order


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_an_order_and_its_inverse_give_the_same_volume_back(order, rng):
    volume = rng.integers(0, 9, (4, 3, 2, 5))
    there = in_order(volume, order)
    assert there.shape == (*(volume.shape[axis] for axis in order), 5)
    np.testing.assert_array_equal(in_order(there, inverse_order(order)), volume)
    assert there[1, 0, 1, 3] == volume[(*np.eye(3, dtype=int)[list(order)].T @ [1, 0, 1], 3)]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_coronal_axis_comes_to_its_place_and_the_others_keep_their_order(axis):
    order = coronal_order(axis)
    assert order[CORONAL_AXIS] == axis
    assert order[0] < order[2]
    assert coronal_order(CORONAL_AXIS) == FILE_ORDER


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_voxel_keeps_its_place(axis, rng):
    affine = np.eye(4)
    affine[:3] = rng.integers(-9, 9, (3, 4))
    order, index = coronal_order(axis), np.array([3, 5, 7])
    np.testing.assert_array_equal(affine_in_order(affine, order) @ [*index[list(order)], 1], affine @ [*index, 1])
