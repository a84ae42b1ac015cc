import numpy as np
import pytest
import torch

from helpers.random_weights import calibration_of, random_head, random_network
from helpers.voxel_loop import oracle, pad
from mrh_monai.data.slabs import PaddedImage
from mrh_monai.errors import OptionError
from mrh_monai.inference.inferers import PatchInferer, VoxelwiseInferer
from mrh_monai.inference.voxelwise import Computing, TrainedNetwork, predict_volume
from mrh_monai.network.interval_head import IntervalNetwork
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.patch_geometry import PatchGeometry
from mrh_monai.scaling import Coefficients, RobustScaling


@pytest.mark.parametrize("batch_size", [1, 7, 50, 100000])
def test_equals_the_loop_over_voxels(case, batch_size):
    image, mask, gain, offset, network = case
    found = predict_volume(network, pad(image), mask, Coefficients(gain, offset), computing=Computing(batch_size=batch_size))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, oracle(*case), atol=1e-5)
    assert not found[torch.from_numpy(~mask)].any()


@pytest.mark.parametrize(("axes", "radius"), [((0, 1), 1), ((1, 2), 1), ((0, 2), 2), ((0, 1, 2), 1)])
def test_other_planes_radii_and_3d(case, axes, radius):
    image, mask, gain, offset, _ = case
    network = MRHNet(3, 8, 1, spatial_dims=len(axes)).eval()
    found = predict_volume(network, pad(image, 2), mask, Coefficients(gain, offset), PatchGeometry(axes, radius), Computing(batch_size=32))
    np.testing.assert_allclose(found, oracle(image, mask, gain, offset, network, axes, radius), atol=1e-5)


def test_it_is_not_the_network_run_over_the_slice(case):
    """Zero padding at the edge of every patch makes the convolutional shortcut another function."""
    image, mask, gain, offset, network = case
    whole = torch.from_numpy(np.moveaxis(image * gain + offset, (1, 3), (0, 1)).copy()).float()
    with torch.no_grad():
        slices = network(whole)[:, 0].numpy().transpose(1, 0, 2)
    found = predict_volume(network, pad(image), mask, Coefficients(gain, offset)).numpy()
    inner = np.zeros_like(mask)
    inner[2:-2, :, 2:-2] = True
    assert np.abs(slices - found)[mask & inner].max() > 0.05


@pytest.mark.parametrize("axes", [(0, 2), (0, 1), (0, 1, 2)])
def test_slabs_of_any_thickness_give_the_same_bits(case, axes, monkeypatch):
    image, mask, gain, offset, _ = case
    network = MRHNet(3, 8, 1, spatial_dims=len(axes), initialisation="he")
    whole = predict_volume(network, pad(image), mask, Coefficients(gain, offset), PatchGeometry(axes), Computing(batch_size=16))
    monkeypatch.setattr("mrh_monai.data.slabs.SLAB_BYTES", 1)
    assert pad(image).thickness == 1
    assert torch.equal(
        predict_volume(network, pad(image), mask, Coefficients(gain, offset), PatchGeometry(axes), Computing(batch_size=16)), whole
    )


@pytest.mark.parametrize("ranks", [2, 3, 40])
def test_parts_put_together_are_the_whole_to_the_bit(case, ranks):
    image, mask, gain, offset, network = case
    nine = Computing(batch_size=9)
    whole = predict_volume(network, pad(image), mask, Coefficients(gain, offset), computing=nine)
    shares = [(rank, ranks) for rank in range(ranks)]
    parts = [predict_volume(network, pad(image), mask, Coefficients(gain, offset), computing=nine, share=share) for share in shares]
    assert sum((part != 0).sum() for part in parts) == (whole != 0).sum()
    assert torch.equal(sum(parts), whole)


def test_an_error_while_reading_ahead_is_raised(case):
    _, mask, gain, offset, network = case

    class Broken(PaddedImage):
        def slab(self, start, stop, reach=0):
            raise OSError("stale file handle")

    with pytest.raises(OSError, match="stale file handle"):
        predict_volume(network, Broken(np.zeros((9, 6, 8, 3)), 1), mask, Coefficients(gain, offset))


def test_a_voxels_bits_do_not_depend_on_the_size_of_the_mask(case):
    image, mask, gain, offset, network = case
    whole = predict_volume(network, pad(image), mask, Coefficients(gain, offset), computing=Computing(batch_size=16))
    fewer = np.zeros_like(mask)
    slice_by_slice = np.argwhere(mask.swapaxes(0, 1))[:25, [1, 0, 2]]
    fewer[tuple(slice_by_slice.T)] = True
    part = predict_volume(network, pad(image), fewer, Coefficients(gain, offset), computing=Computing(batch_size=16))
    assert torch.equal(part[torch.from_numpy(fewer)], whole[torch.from_numpy(fewer)])


def test_bf16_is_near_and_used_only_when_asked_for(case):
    image, mask, gain, offset, network = case
    computings = [Computing(precision=precision) for precision in ("float32", "bf16", "auto")]
    exact, near, auto = (predict_volume(network, pad(image), mask, Coefficients(gain, offset), computing=each) for each in computings)
    assert torch.equal(exact, auto)
    assert 0 < (exact - near).abs().max() < 0.05 * exact.abs().max()
    x = torch.randn(4, 3, 3, 3)
    assert PatchInferer("bf16")(x, network).dtype == torch.float32
    assert not torch.equal(PatchInferer("bf16")(x, network), network(x))
    with pytest.raises(OptionError, match="precision: expected float32, tf32, bf16, auto, found 'fp16'"):
        predict_volume(network, pad(image), mask, Coefficients(gain, offset), computing=Computing(precision="fp16"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_the_cpu(case):
    image, mask, gain, offset, network = case
    cpu = predict_volume(network, pad(image), mask, Coefficients(gain, offset))
    cuda = predict_volume(network.cuda(), pad(image), mask, Coefficients(gain, offset), computing=Computing("cuda"))
    torch.testing.assert_close(cuda, cpu, atol=1e-4, rtol=1e-4)


def test_batch_size_must_be_positive():
    with pytest.raises(OptionError, match="batch_size: expected a whole number of at least 1, found 0"):
        Computing(batch_size=0)


def test_without_a_margin_where_no_patch_leaves_the_volume(case, monkeypatch):
    image, mask, gain, offset, network = case
    inner = np.zeros_like(mask)
    inner[1:-1, :, 1:-1] = mask[1:-1, :, 1:-1]
    expected = oracle(image, inner, gain, offset, network)
    np.testing.assert_allclose(predict_volume(network, pad(image, 0), inner, Coefficients(gain, offset)), expected, atol=1e-5)
    with pytest.raises(OptionError, match="patches that reach beyond it"):
        predict_volume(network, pad(image, 0), mask, Coefficients(gain, offset))
    inputs = [torch.from_numpy(values)[None] for values in (image.transpose(3, 0, 1, 2), inner[None], gain, offset)]
    monkeypatch.setattr("torch.nn.functional.pad", None)  # nothing is copied
    found = VoxelwiseInferer(progress=False)(inputs[0], network, *inputs[1:])
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-5)


@pytest.mark.parametrize(("axes", "radius"), [((0, 2), 1), ((0, 1, 2), 1), ((0, 2), 2)])
def test_a_network_with_a_head_gives_two_volumes(case, axes, radius):
    image, mask, gain, offset, _ = case
    network = random_network(3, 8, 1, len(axes))
    both = IntervalNetwork(network, random_head(8, (2 * radius + 1) ** len(axes)))
    shape, coefficients = PatchGeometry(axes, radius), Coefficients(gain, offset)
    found = predict_volume(both, pad(image, 2), mask, coefficients, shape, Computing(batch_size=32))
    plain = predict_volume(network, pad(image, 2), mask, coefficients, shape, Computing(batch_size=32))
    if radius == 1:
        assert torch.equal(found[0], plain)
    else:
        torch.testing.assert_close(found[0], plain)

    class ExpectedError(torch.nn.Module):
        def forward(self, x):
            volume = x.new_zeros(len(x), 1, *x.shape[2:])
            volume[(slice(None), 0, *(radius,) * len(axes))] = both(x)[:, 1]
            return volume

    np.testing.assert_allclose(found[1], oracle(image, mask, gain, offset, ExpectedError(), axes, radius), rtol=1e-4, atol=1e-6)
    assert found[1].numpy()[mask].std() > 0


def test_bounds_lie_at_equal_distances_from_the_stain(case):
    image, mask, gain, offset, _ = case
    both = IntervalNetwork(random_network(3, 8, 1), random_head())
    scaling = RobustScaling(250.0, (1.0,) * 3, (0.5,) * 3, (1.0,) * 3, 99.0, target_min=50.0)
    trained = TrainedNetwork(both, scaling, calibration=calibration_of(1.5, 3.0))
    slabs, coefficients = pad(image), Coefficients(gain, offset)
    stain, bounds = trained.predict_with_bounds(slabs, mask, coefficients)
    np.testing.assert_array_equal(stain, trained.predict(slabs, mask, coefficients))
    expected = predict_volume(both, slabs, mask, coefficients)[1].numpy()
    np.testing.assert_allclose(bounds.upper - stain, 3.0 * 200 * expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(stain - bounds.lower, bounds.upper - stain, rtol=1e-3, atol=1e-4)
    for volume in (stain, *bounds):
        assert volume.dtype == np.float32
        assert not volume[~mask].any()
    assert TrainedNetwork(both.network, scaling).predict_with_bounds(slabs, mask, coefficients)[1] is None
