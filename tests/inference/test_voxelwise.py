import numpy as np
import pytest
import torch

from mrh_monai.data.slabs import PaddedImage
from mrh_monai.errors import OptionError
from mrh_monai.inference.inferers import PatchInferer, VoxelwiseInferer
from mrh_monai.inference.voxelwise import predict_volume
from mrh_monai.network.mrh_net import MRHNet


@pytest.fixture
def case(rng):
    """A volume whose mask touches its edges, factors and a network."""
    torch.manual_seed(0)
    image = rng.integers(0, 999, (7, 4, 6, 3)).astype(np.int16)
    mask = rng.random((7, 4, 6)) > 0.3
    gain, offset = rng.uniform(0.001, 0.002, 3).astype(np.float32), rng.normal(0, 1, 3).astype(np.float32)
    return image, mask, gain, offset, MRHNet(3, 8, 2, initialisation="he").eval()


def oracle(image, mask, gain, offset, network, axes=(0, 2), radius=1):
    """Patch by patch, voxel by voxel; keep the centre."""
    padded = np.pad(image.astype(np.float32), [(radius, radius)] * 3 + [(0, 0)])
    out = np.zeros(mask.shape, np.float32)
    for voxel in np.argwhere(mask):
        index = tuple(slice(c, c + 2 * radius + 1) if axis in axes else c + radius for axis, c in enumerate(voxel))
        patch = torch.from_numpy(np.moveaxis(padded[index] * gain + offset, -1, 0).copy())
        with torch.no_grad():
            out[tuple(voxel)] = network(patch[None])[(0, 0, *(radius,) * len(axes))]
    return out


def pad(image, margin=1):
    return PaddedImage(np.pad(image, [(margin, margin)] * 3 + [(0, 0)]), margin)


@pytest.mark.parametrize("batch_size", [1, 7, 50, 100000])
def test_equals_the_loop_over_voxels(case, batch_size):
    image, mask, gain, offset, network = case
    found = predict_volume(network, pad(image), mask, gain, offset, batch_size=batch_size)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, oracle(*case), atol=1e-5)
    assert not found[torch.from_numpy(~mask)].any()


@pytest.mark.parametrize(("axes", "radius"), [((0, 1), 1), ((1, 2), 1), ((0, 2), 2), ((0, 1, 2), 1)])
def test_other_planes_radii_and_3d(case, axes, radius):
    image, mask, gain, offset, _ = case
    network = MRHNet(3, 8, 1, spatial_dims=len(axes)).eval()
    found = predict_volume(network, pad(image, 2), mask, gain, offset, axes=axes, radius=radius, batch_size=32)
    np.testing.assert_allclose(found, oracle(image, mask, gain, offset, network, axes, radius), atol=1e-5)


def test_it_is_not_the_network_run_over_the_slice(case):
    """Zero padding at the edge of every patch makes the convolutional shortcut another function."""
    image, mask, gain, offset, network = case
    whole = torch.from_numpy(np.moveaxis(image * gain + offset, (1, 3), (0, 1)).copy()).float()
    with torch.no_grad():
        slices = network(whole)[:, 0].numpy().transpose(1, 0, 2)
    found = predict_volume(network, pad(image), mask, gain, offset).numpy()
    inner = np.zeros_like(mask)
    inner[2:-2, :, 2:-2] = True
    assert np.abs(slices - found)[mask & inner].max() > 0.05


@pytest.mark.parametrize("axes", [(0, 2), (0, 1), (0, 1, 2)])
def test_slabs_of_any_thickness_give_the_same_bits(case, axes, monkeypatch):
    image, mask, gain, offset, _ = case
    network = MRHNet(3, 8, 1, spatial_dims=len(axes), initialisation="he")
    whole = predict_volume(network, pad(image), mask, gain, offset, axes=axes, batch_size=16)
    monkeypatch.setattr("mrh_monai.data.slabs.SLAB_BYTES", 1)
    assert pad(image).thickness == 1
    assert torch.equal(predict_volume(network, pad(image), mask, gain, offset, axes=axes, batch_size=16), whole)


@pytest.mark.parametrize("ranks", [2, 3, 40])
def test_parts_put_together_are_the_whole_to_the_bit(case, ranks):
    image, mask, gain, offset, network = case
    whole = predict_volume(network, pad(image), mask, gain, offset, batch_size=9)
    parts = [predict_volume(network, pad(image), mask, gain, offset, batch_size=9, part=(rank, ranks)) for rank in range(ranks)]
    assert sum((part != 0).sum() for part in parts) == (whole != 0).sum()
    assert torch.equal(sum(parts), whole)


def test_an_error_while_reading_ahead_is_raised(case):
    _, mask, gain, offset, network = case

    class Broken(PaddedImage):
        def slab(self, start, stop, reach=0):
            raise OSError("stale file handle")

    with pytest.raises(OSError, match="stale file handle"):
        predict_volume(network, Broken(np.zeros((9, 6, 8, 3)), 1), mask, gain, offset)


def test_a_voxels_bits_do_not_depend_on_the_size_of_the_mask(case):
    image, mask, gain, offset, network = case
    whole = predict_volume(network, pad(image), mask, gain, offset, batch_size=16)
    fewer = np.zeros_like(mask)
    slice_by_slice = np.argwhere(mask.swapaxes(0, 1))[:25, [1, 0, 2]]
    fewer[tuple(slice_by_slice.T)] = True
    part = predict_volume(network, pad(image), fewer, gain, offset, batch_size=16)
    assert torch.equal(part[torch.from_numpy(fewer)], whole[torch.from_numpy(fewer)])


def test_monai_inferer_gives_the_same(case):
    image, mask, gain, offset, network = case
    arguments = [torch.from_numpy(a)[None] for a in (mask[None].astype(np.uint8), gain, offset)]
    found = VoxelwiseInferer(batch_size=20)(torch.from_numpy(image.transpose(3, 0, 1, 2))[None], network, *arguments)
    assert found.shape == (1, 1, 7, 4, 6)
    np.testing.assert_allclose(found[0, 0], oracle(*case), atol=1e-5)


def test_bf16_is_near_and_used_only_when_asked_for(case):
    image, mask, gain, offset, network = case
    exact, near, auto = (predict_volume(network, pad(image), mask, gain, offset, precision=p) for p in ("float32", "bf16", "auto"))
    assert torch.equal(exact, auto)
    assert 0 < (exact - near).abs().max() < 0.05 * exact.abs().max()
    x = torch.randn(4, 3, 3, 3)
    assert PatchInferer("bf16")(x, network).dtype == torch.float32
    assert not torch.equal(PatchInferer("bf16")(x, network), network(x))
    with pytest.raises(OptionError, match="precision: expected float32, tf32, bf16, auto, found 'fp16'"):
        predict_volume(network, pad(image), mask, gain, offset, precision="fp16")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_the_cpu(case):
    image, mask, gain, offset, network = case
    cpu = predict_volume(network, pad(image), mask, gain, offset)
    torch.testing.assert_close(predict_volume(network.cuda(), pad(image), mask, gain, offset, device="cuda"), cpu, atol=1e-4, rtol=1e-4)


def test_batch_size_must_be_positive(case):
    image, mask, gain, offset, network = case
    with pytest.raises(OptionError, match="batch_size: expected at least 1"):
        predict_volume(network, pad(image), mask, gain, offset, batch_size=0)


def test_without_a_margin_where_no_patch_leaves_the_volume(case, monkeypatch):
    image, mask, gain, offset, network = case
    inner = np.zeros_like(mask)
    inner[1:-1, :, 1:-1] = mask[1:-1, :, 1:-1]
    expected = oracle(image, inner, gain, offset, network)
    np.testing.assert_allclose(predict_volume(network, pad(image, 0), inner, gain, offset), expected, atol=1e-5)
    with pytest.raises(OptionError, match="patches that reach beyond it"):
        predict_volume(network, pad(image, 0), mask, gain, offset)
    inputs = [torch.from_numpy(values)[None] for values in (image.transpose(3, 0, 1, 2), inner[None], gain, offset)]
    monkeypatch.setattr("torch.nn.functional.pad", None)  # nothing is copied
    found = VoxelwiseInferer(progress=False)(inputs[0], network, *inputs[1:])
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-5)


@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (0, 1, 2)])
def test_inferer_adds_the_margin_that_slabs_reach_for(case, axes):
    """Along the coronal axis even where no patch leaves the volume."""
    image, _, gain, offset, _ = case
    inner = np.zeros(image.shape[:3], bool)
    inner[2:-2, 1:-1, 2:-2] = True
    network = MRHNet(3, 8, 1, spatial_dims=len(axes), initialisation="he").eval()
    inputs = [torch.from_numpy(values)[None] for values in (image.transpose(3, 0, 1, 2), inner[None], gain, offset)]
    found = VoxelwiseInferer(axes, progress=False)(inputs[0], network, *inputs[1:])
    np.testing.assert_allclose(found[0, 0], oracle(image, inner, gain, offset, network, axes), atol=1e-5)
    with pytest.raises(OptionError, match="patches within slices and their margin of 0, found patches that reach 1 voxels"):
        predict_volume(network, pad(image, 0), inner, gain, offset, axes=axes)


def test_inferer_of_a_volume_thinner_than_a_patch(case):
    image, mask, gain, offset, _ = case
    network = MRHNet(3, 4, 0).eval()
    thin = image[:, :, :1], mask[:, :, :1]
    inputs = [torch.from_numpy(values)[None] for values in (thin[0].transpose(3, 0, 1, 2), thin[1][None], gain, offset)]
    found = VoxelwiseInferer(radius=2, progress=False)(inputs[0], network, *inputs[1:])
    np.testing.assert_allclose(found[0, 0], oracle(*thin, gain, offset, network, radius=2), atol=1e-5)
