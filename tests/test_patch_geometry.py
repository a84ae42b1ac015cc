import itertools

import numpy as np
import pytest

from mrh_monai.axis_order import CORONAL_AXIS
from mrh_monai.errors import OptionError
from mrh_monai.patch_geometry import CORONAL_PATCH, PatchGeometry


def test_the_published_patch_lies_in_the_coronal_plane():
    assert PatchGeometry() == CORONAL_PATCH
    assert (CORONAL_PATCH.axes, CORONAL_PATCH.radius, CORONAL_PATCH.shape, CORONAL_PATCH.centre) == ((0, 2), 1, (3, 3), (1, 1))
    assert CORONAL_AXIS not in CORONAL_PATCH.axes


@pytest.mark.parametrize(
    ("axes", "radius", "shape", "centre", "reach"),
    [
        ((0, 1), 1, (3, 3), (1, 1), (1, 1, 0)),
        ((1, 2), 2, (5, 5), (2, 2), (0, 2, 2)),
        ((0, 1, 2), 3, (7, 7, 7), (3, 3, 3), (3, 3, 3)),
    ],
)
def test_sizes_follow_from_axes_and_radius(axes, radius, shape, centre, reach):
    patch = PatchGeometry(axes, radius)
    assert (patch.width, patch.shape, patch.centre, patch.reach) == (shape[0], shape, centre, reach)


def test_a_list_of_axes_becomes_a_tuple():
    """Sidecars hold lists, and a patch must be hashable."""
    assert hash(PatchGeometry([0, 2])) == hash(CORONAL_PATCH)


@pytest.mark.parametrize("axes", [(0, 2), (0, 1), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("radius", [1, 2])
def test_inner_voxels_are_those_whose_patch_lies_in_the_volume(rng, axes, radius):
    """Against a loop that looks at every corner of every patch."""
    mask = rng.random((6, 5, 7)) > 0.2
    patch = PatchGeometry(axes, radius)
    expected = np.zeros_like(mask)
    for voxel in np.argwhere(mask):
        steps = itertools.product(*((-radius, radius) if axis in axes else (0,) for axis in range(3)))
        corners = [voxel + step for step in steps]
        expected[tuple(voxel)] = all((corner >= 0).all() and (corner < mask.shape).all() for corner in corners)
    assert expected.any()
    np.testing.assert_array_equal(patch.inner(mask), expected)


def test_a_volume_smaller_than_the_patch_has_no_inner_voxel():
    assert not PatchGeometry(radius=3).inner(np.ones((5, 9, 9), bool)).any()


@pytest.mark.parametrize("axes", [(), (0,), (0, 0), (2, 0), (0, 3), (-1, 0), (0, 1, 2, 2)])
def test_impossible_axes_are_refused(axes):
    with pytest.raises(OptionError, match="patch_axes: expected two or three different axes of 0, 1, 2 in ascending order, found"):
        PatchGeometry(axes)


@pytest.mark.parametrize("radius", [0, -1, 1.0, True, "1", None])
def test_an_impossible_radius_is_refused(radius):
    with pytest.raises(OptionError, match="patch_radius: expected a whole number of at least 1, found"):
        PatchGeometry((0, 2), radius)
