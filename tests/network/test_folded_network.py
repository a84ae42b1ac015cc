import copy

import numpy as np
import pytest
import torch

from mrh_monai.network import folded_weights
from mrh_monai.network.folded_network import FoldedMRHNet, centre_predictor, fold
from mrh_monai.network.mrh_net import MRHNet

CENTRE = (slice(None), 0, 1, 1)


def make(initialisation="he", blocks=2, channels=5, features=8, dims=2, seed=0):
    torch.manual_seed(seed)
    network = MRHNet(channels, features, blocks, spatial_dims=dims, initialisation=initialisation)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return network


def patches(count, channels=5, dims=2, dtype=torch.float32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, *(3,) * dims, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("initialisation", ["glorot", "orthogonal", "he"])
@pytest.mark.parametrize("blocks", [5, 30])
def test_float32_is_as_near_to_float64_as_convolutions_are(initialisation, blocks):
    network, x = make(initialisation, blocks, 67, 64), patches(64, 67)
    with torch.inference_mode():
        exact = copy.deepcopy(network).double()(x.double())
        bound = 1e-5 * exact.abs().max()
        assert (FoldedMRHNet(network)(x) - exact).abs().max() < bound
        for reordered in (x, x.contiguous(memory_format=torch.channels_last)):
            assert (centre_predictor(network, (3, 3))(reordered) - exact[CENTRE]).abs().max() < bound


def test_bf16_is_as_near_as_bf16_convolutions_are():
    network, x = make("he", 5, 67, 64), patches(256, 67)
    with torch.inference_mode():
        exact = network(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            convolved, folded = network(x).float(), FoldedMRHNet(network)(x).float()
        centres = centre_predictor(network, (3, 3), torch.bfloat16)(x)
    errors = [float((found - exact).abs().max() / exact.abs().max()) for found in (convolved, folded)]
    errors.append(float((centres - exact[CENTRE]).abs().max() / exact.abs().max()))
    print(f"largest bf16 error, of the largest output: convolutions {errors[0]:.2g}, folded {errors[1]:.2g}, centres {errors[2]:.2g}")
    assert 0 < max(errors[1:]) < 1.5 * errors[0]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("low", [False, True])
def test_gradients_are_the_networks_own(dims, low):
    """Products and, under autocast, matrices: outputs and the gradients of every parameter and of the input."""
    network, x = make(dims=dims).double(), patches(9, dims=dims, dtype=torch.float64)
    folded = FoldedMRHNet(network)
    found = []
    for module in (network, folded):
        network.zero_grad()
        given = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low and module is folded):
            output = module(given)
        output.double().pow(2).sum().backward()
        found.append([output, given.grad, *(parameter.grad.clone() for parameter in network.parameters())])
    tolerance = {"rtol": 0.2, "atol": 0.1} if low else {"rtol": 1e-9, "atol": 1e-9}
    for plain, other in zip(*found, strict=True):
        scale = plain.detach().abs().max()
        torch.testing.assert_close(other.double() / scale, plain / scale, **tolerance)


def test_gradcheck_of_one_layer():
    from mrh_monai.network.folded_network import _Products

    generator = torch.Generator().manual_seed(0)
    h, weights, bias = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((2, 9, 3, 2), (16, 4, 2), (4,)))
    for rectify in (False, True):
        inputs = [value.clone().requires_grad_() for value in (h, weights, bias)]
        assert torch.autograd.gradcheck(lambda h, w, b, rectify=rectify: _Products.apply(h, w, b, 2, rectify), inputs)


def test_it_is_the_network_but_for_its_arithmetic():
    network = make()
    folded = fold(network, 3)
    assert isinstance(folded, FoldedMRHNet)
    assert list(folded.state_dict()) == list(network.state_dict())
    assert all(a is b for a, b in zip(folded.parameters(), network.parameters(), strict=True))
    assert fold(network, 5) is network
    wider = torch.randn(2, 5, 5, 5)
    assert torch.equal(folded(wider), network(wider))
    folded.to(torch.float64)
    assert network.conv5.weight.dtype == torch.float64


def test_frozen_layers_get_no_gradient():
    network = make()
    for parameter in network.conv2.parameters():
        parameter.requires_grad = False
    FoldedMRHNet(network)(patches(3)).sum().backward()
    assert network.conv2.weight.grad is None
    assert network.conv1.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("shape", "options"), [((5, 5), {}), ((3, 3, 3), {"dims": 3})])
def test_centres_of_other_patches(shape, options):
    network = make(**options)
    x = torch.randn(4, 5, *shape)
    with torch.inference_mode():
        expected = network(x)[(slice(None), 0, *(size // 2 for size in shape))]
        torch.testing.assert_close(centre_predictor(network, shape)(x), expected, rtol=0, atol=1e-5)


def test_centres_of_any_network():
    layer = torch.nn.Conv2d(5, 1, 3, padding=1)
    x = patches(4)
    with torch.inference_mode():
        assert torch.equal(centre_predictor(layer, (3, 3))(x), layer(x)[CENTRE])


@pytest.mark.parametrize("threads", [1, 3, 5])
def test_groups_more_or_less_change_nothing(threads, monkeypatch):
    network, x = make(), patches(50)
    with torch.inference_mode():
        exact = network(x)
        monkeypatch.setattr("mrh_monai.network.folded_network.GROUP", 8)
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        centres = centre_predictor(network, (3, 3))
        np.testing.assert_allclose(centres(x), exact[CENTRE], atol=1e-5)
        np.testing.assert_allclose(FoldedMRHNet(network)(x), exact, atol=1e-5)
        assert centres(x[:0]).shape == (0,)
        assert FoldedMRHNet(network)(x[:0]).shape == (0, 1, 3, 3)


@pytest.mark.parametrize("dims", [2, 3])
def test_no_patches_give_no_predictions_in_bf16_either(dims):
    network, none = make(dims=dims), patches(0, dims=dims)
    assert centre_predictor(network, (3,) * dims, torch.bfloat16)(none).shape == (0,)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = FoldedMRHNet(network)(none)
    assert output.shape == (0, 1, *(3,) * dims)
    output.sum().backward()


class Twice(MRHNet):
    def forward(self, x):
        return 2 * super().forward(x)


def test_what_computes_in_another_way_is_left_as_it_is():
    network, x = Twice(5, 8, 1, initialisation="he").eval(), patches(4)
    hooked = make()
    hooked.conv5.register_forward_hook(lambda module, given, made: made + 1)
    compiled = make()  # as MONAI's trt_compile leaves a network
    plain = compiled.forward
    compiled.forward = lambda x: 3 * plain(x)
    with torch.inference_mode():
        for other in (network, hooked, compiled):
            assert fold(other, 3) is other
            assert torch.equal(centre_predictor(other, (3, 3))(x), other(x)[CENTRE])


def test_training_after_inference():
    """What is kept between calls is never of inference mode, which autograd refuses."""
    folded_weights.forms_along.cache_clear()
    folded_weights._taps_between.cache_clear()
    network = make()
    with torch.inference_mode():
        FoldedMRHNet(network)(patches(2))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            FoldedMRHNet(network)(patches(2))
    FoldedMRHNet(network)(patches(2)).sum().backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        FoldedMRHNet(network)(patches(2)).sum().backward()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("precision", "bound"), [("float32", 1e-5), ("tf32", 5e-3), ("bf16", 5e-2)])
def test_cuda_equals_the_cpu(precision, bound):
    from mrh_monai.devices import in_precision

    network, x = make("he", 5, 67, 64), patches(500, 67)
    with torch.inference_mode():
        exact = copy.deepcopy(network).double()(x.double())
        low = torch.bfloat16 if precision == "bf16" else torch.float32
        with in_precision("cuda", precision):
            found = FoldedMRHNet(network.cuda())(x.cuda()).float().cpu()
            centres = centre_predictor(network, (3, 3), low)(x.cuda()).float().cpu()
    assert (found - exact).abs().max() < bound * exact.abs().max()
    assert (centres - exact[CENTRE]).abs().max() < bound * exact.abs().max()


@pytest.mark.parametrize("products", [True, False])
@pytest.mark.parametrize(("shape", "blocks"), [((3, 3), 2), ((3, 3), 0), ((3, 3, 3), 1), ((5, 5), 2), ((1, 1), 1)])
def test_centres_behind_the_first_convolution(products, shape, blocks, monkeypatch):
    """By products as on the CPU, by matrices as on other devices, and by convolutions where patches do not fold."""
    monkeypatch.setattr("mrh_monai.network.folded_network._prefers_products", lambda device: products)
    monkeypatch.setattr("mrh_monai.network.folded_network.GROUP", 16)
    network = make(blocks=blocks, dims=len(shape))
    sums = torch.randn(50, 8, *shape, generator=torch.Generator().manual_seed(2))
    given = sums.clone()
    centre = (slice(None), 0, *(size // 2 for size in shape))
    with torch.inference_mode():
        expected = network.behind_first(sums)[centre]
        predict = centre_predictor(network, shape, behind_first=True)
        assert type(predict).__name__ == ("function" if shape[0] != 3 else "_ProductCentres" if products else "_MatrixCentres")
        for reordered in (sums, sums.contiguous(memory_format=torch.channels_last if len(shape) == 2 else torch.channels_last_3d)):
            torch.testing.assert_close(predict(reordered), expected, rtol=0, atol=1e-5)
            assert torch.equal(reordered, given)  # what goes in is used again
        torch.testing.assert_close(predict(sums[:5]), expected[:5], rtol=0, atol=1e-5)
        assert predict(sums[:0]).shape == (0,)


@pytest.mark.parametrize("products", [True, False])
def test_behind_the_first_convolution_is_the_whole_network_behind_its_sums(products, monkeypatch):
    monkeypatch.setattr("mrh_monai.network.folded_network._prefers_products", lambda device: products)
    network, x = make(), patches(40)
    with torch.inference_mode():
        found = centre_predictor(network, (3, 3), behind_first=True)(network.conv1(x))
        torch.testing.assert_close(found, network(x)[CENTRE], rtol=0, atol=1e-5)
        low = centre_predictor(network, (3, 3), torch.bfloat16, behind_first=True)(network.conv1(x))
    assert 0 < (low - found).abs().max() < 0.05 * found.abs().max()
