import pytest
import torch
import torch.nn.functional as F

from mrh_monai.errors import OptionError
from mrh_monai.network.mrh_net import MRHNet, ResidualBlock, initialise


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (lambda: MRHNet(residual_blocks=5), 482_369),
        (lambda: MRHNet(residual_blocks=10), 851_649),
        (MRHNet.paper, 2_328_769),
        (lambda: MRHNet(3, 8, 1, spatial_dims=3), 3 * 8 * 27 + 8 + 4 * (8 * 8 * 27 + 8) + 8 * 27 + 1),
    ],
)
def test_parameter_count_is_frozen(network, count):
    assert sum(p.numel() for p in network().parameters()) == count


def test_state_dict_keys_are_frozen():
    layers = ["conv1", "conv2", "blocks.0.conv1", "blocks.0.conv2", "blocks.1.conv1", "blocks.1.conv2", "conv4", "conv5"]
    assert list(MRHNet(residual_blocks=2).state_dict()) == [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]


def test_forward_follows_the_published_layer_list():
    """Conv ReLU Conv [ReLU, x + Conv(ReLU(Conv(x)))] x B ReLU Conv ReLU Conv, written out by hand."""
    network = MRHNet(4, 6, 2, initialisation="he").double()
    w = network.state_dict()
    x = torch.randn(5, 4, 3, 3, dtype=torch.float64)

    def conv(name, value):
        return F.conv2d(F.pad(value, (1, 1, 1, 1)), w[f"{name}.weight"], w[f"{name}.bias"])

    y = conv("conv2", conv("conv1", x).clamp(min=0))
    for block in ("blocks.0", "blocks.1"):
        y = y.clamp(min=0)
        y = y + conv(f"{block}.conv2", conv(f"{block}.conv1", y).clamp(min=0))
    y = conv("conv5", conv("conv4", y.clamp(min=0)).clamp(min=0))
    # The published graph has a ReLU between Conv2 and the first block, which the block's own repeats.
    torch.testing.assert_close(network(x), y)


@pytest.mark.parametrize("dims", [2, 3])
def test_any_channels_features_and_depth(dims):
    network = MRHNet(in_channels=7, features=5, residual_blocks=0, spatial_dims=dims)
    assert network(torch.zeros(2, 7, *(3,) * dims)).shape == (2, 1, *(3,) * dims)
    assert network(torch.zeros(2, 7, *(5,) * dims)).shape == (2, 1, *(5,) * dims)


def test_presets_differ_as_the_paper_and_the_code_do():
    assert len(MRHNet.paper().blocks) == 30
    assert len(MRHNet.released(network_depth=4).blocks) == 5
    weight = MRHNet.paper(in_channels=3).conv2.weight.detach().flatten(1)
    torch.testing.assert_close(weight @ weight.T, torch.eye(64), atol=1e-4, rtol=0)
    bound = (6 / (9 * 128)) ** 0.5
    glorot = MRHNet.released().conv2.weight
    assert glorot.abs().max() <= bound
    assert glorot.abs().max() > 0.99 * bound


def test_identity_start_passes_the_signal_through_any_depth():
    torch.manual_seed(0)
    network = MRHNet(4, 16, 30)
    x = torch.randn(8, 16, 3, 3)
    torch.testing.assert_close(network.blocks[7](x), x.relu())
    assert all(not parameter.any() for name, parameter in network.named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"residual_blocks": -1}, "residual_blocks: expected a whole number of at least 0, found -1"),
        ({"in_channels": 0}, "in_channels"),
        ({"features": 1.5}, "features"),
        ({"spatial_dims": 1}, "spatial_dims: expected 2 or 3"),
        ({"initialisation": "zeros"}, "initialisation: expected identity, he, glorot, orthogonal, found 'zeros'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        MRHNet(**options)


def test_initialise_is_by_seed():
    blocks = []
    for _ in range(2):
        torch.manual_seed(1)
        block = ResidualBlock(4)
        initialise(block, "he")
        blocks.append(block.conv1.weight)
    torch.testing.assert_close(*blocks, rtol=0, atol=0)
