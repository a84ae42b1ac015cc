import numpy as np
import pytest
import torch

from helpers.patch_sets import random_patches, sliced_patch
from mrh_monai.errors import OptionError
from mrh_monai.patch_geometry import PatchGeometry
from mrh_monai.patches.patch_source import PatchSource


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize(("radius", "margin"), [(1, 1), (1, 2), (2, 2)])
def test_gather_equals_slicing(rng, axes, radius, margin):
    volumes = [rng.integers(-99, 99, (*shape, 5)).astype(np.int16) for shape in ((7, 6, 5), (4, 8, 6))]
    source = PatchSource([np.pad(v, [(margin, margin)] * 3 + [(0, 0)]) for v in volumes], margin, PatchGeometry(axes, radius))
    centres = np.concatenate(
        [np.column_stack([np.full(v[..., 0].size, i), np.argwhere(np.ones(v.shape[:3]))]) for i, v in enumerate(volumes)]
    )
    centres = rng.permutation(centres)
    patches = source.gather(source.locate(centres))
    assert patches.shape == (len(centres), 5, *(2 * radius + 1,) * len(axes))
    assert patches.dtype == torch.int16
    for patch, (index, *centre) in zip(patches.numpy(), centres, strict=True):
        np.testing.assert_array_equal(patch, sliced_patch(volumes[index], centre, axes, radius))


def test_patches_that_leave_volume_and_margin_are_refused():
    source = PatchSource([np.zeros((5, 5, 5, 1))], 1, PatchGeometry(radius=2))
    for centre in ([0, 0, 0, 0], [0, 2, 1, 2]):
        with pytest.raises(OptionError, match="expected patches within the volume and its margin of 1, found patches that reach beyond"):
            source.locate(np.array([centre]))
    assert len(source.locate(np.array([[0, 1, 1, 1]])))


def test_volumes_are_in_memory_once(loaded, rng):
    dataset, _ = random_patches(loaded, rng)
    assert dataset.images.memory.data_ptr() == loaded[0].padded.base.__array_interface__["data"][0]
