import numpy as np
import pytest
import torch

from helpers.voxel_loop import oracle, pad
from mrh_monai.errors import OptionError
from mrh_monai.inference.inferers import VoxelwiseInferer
from mrh_monai.inference.voxelwise import predict_volume
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.patch_geometry import PatchGeometry
from mrh_monai.scaling import Coefficients


def test_monai_inferer_gives_the_same(case):
    image, mask, gain, offset, network = case
    arguments = [torch.from_numpy(a)[None] for a in (mask[None].astype(np.uint8), gain, offset)]
    found = VoxelwiseInferer(batch_size=20)(torch.from_numpy(image.transpose(3, 0, 1, 2))[None], network, *arguments)
    assert found.shape == (1, 1, 7, 4, 6)
    np.testing.assert_allclose(found[0, 0], oracle(*case), atol=1e-5)


@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (0, 1, 2)])
def test_inferer_adds_the_margin_that_slabs_reach_for(case, axes):
    """Along the coronal axis even where no patch leaves the volume."""
    image, _, gain, offset, _ = case
    inner = np.zeros(image.shape[:3], bool)
    inner[2:-2, 1:-1, 2:-2] = True
    network = MRHNet(3, 8, 1, spatial_dims=len(axes), initialisation="he").eval()
    inputs = [torch.from_numpy(values)[None] for values in (image.transpose(3, 0, 1, 2), inner[None], gain, offset)]
    found = VoxelwiseInferer(PatchGeometry(axes), progress=False)(inputs[0], network, *inputs[1:])
    np.testing.assert_allclose(found[0, 0], oracle(image, inner, gain, offset, network, axes), atol=1e-5)
    with pytest.raises(OptionError, match="patches within slices and their margin of 0, found patches that reach 1 voxels"):
        predict_volume(network, pad(image, 0), inner, Coefficients(gain, offset), PatchGeometry(axes))


def test_inferer_of_a_volume_thinner_than_a_patch(case):
    image, mask, gain, offset, _ = case
    network = MRHNet(3, 4, 0).eval()
    thin = image[:, :, :1], mask[:, :, :1]
    inputs = [torch.from_numpy(values)[None] for values in (thin[0].transpose(3, 0, 1, 2), thin[1][None], gain, offset)]
    found = VoxelwiseInferer(PatchGeometry(radius=2), progress=False)(inputs[0], network, *inputs[1:])
    np.testing.assert_allclose(found[0, 0], oracle(*thin, gain, offset, network, radius=2), atol=1e-5)
