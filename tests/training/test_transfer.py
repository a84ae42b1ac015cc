"""Starting from another network: exactly which tensors are copied, replaced and frozen."""

from dataclasses import replace

import pytest
import torch

from helpers.parents import NAMES
from mrh_monai.errors import CheckpointError, OptionError
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.training.optimisation import OptimizerOptions, make_optimizer
from mrh_monai.training.transfer import convolutions, start_from_parent


def fresh(channels=4, blocks=2, features=5, **options):
    torch.manual_seed(2)
    return MRHNet(channels, features, blocks, initialisation="he", **options)


@pytest.mark.parametrize(("frozen", "replaced"), [(0, 0), (2, 0), (-3, 0), (0, 2), (2, 1), (8, 0)])
def test_what_is_copied_replaced_and_frozen_is_exactly_so(parent, frozen, replaced):
    network = fresh()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    same, lineage = start_from_parent(network, parent, NAMES, frozen=frozen, replaced=replaced)
    assert same is network
    order = convolutions(network)
    assert order == ["conv1", "conv2", "blocks.0.conv1", "blocks.0.conv2", "blocks.1.conv1", "blocks.1.conv2", "conv4", "conv5"]
    renewed, still = order[len(order) - replaced :], order[:frozen]
    for key, value in network.state_dict().items():
        layer = key.rpartition(".")[0]
        assert torch.equal(value, (before if layer in renewed else parent.state)[key])
        assert (key in lineage["copied"], key in lineage["replaced"]) == (layer not in renewed, layer in renewed)
        assert (key in lineage["frozen"]) == (layer in still)
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained == {key for key in before if key.rpartition(".")[0] not in still}
    assert lineage["sha256"] == parent.sidecar.sha256
    assert not torch.equal(before["conv4.weight"], parent.state["conv4.weight"])


def test_frozen_tensors_stay_bit_for_bit_and_the_head_learns_faster(parent):
    start = start_from_parent(fresh(), parent, NAMES, frozen=2, replaced=2)
    network, lineage = start
    optimizer = make_optimizer(network, OptimizerOptions("sgd", 0.01, 0.1, head_factor=10.0), head=start.replaced)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        expected = None if name in lineage["frozen"] else 0.1 if name in lineage["replaced"] else 0.01
        assert rates.get(id(parameter)) == (expected if expected is None else pytest.approx(expected))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for _ in range(3):
        network(torch.randn(8, 4, 3, 3)).square().mean().backward()
        optimizer.step()
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]) == (key in lineage["frozen"])


def test_the_same_channels_in_another_order_are_copied_by_name(parent):
    names = ["c", "a", "d", "b"]
    network, _ = start_from_parent(fresh(), parent, names)
    x = torch.randn(6, 4, 3, 3)
    reference = fresh()
    reference.load_state_dict(parent.state)
    torch.testing.assert_close(network(x[:, [NAMES.index(name) for name in names]]), reference(x))


def test_other_channels_need_the_users_word(parent):
    names = ["b", "t1", "d"]
    with pytest.raises(
        CheckpointError,
        match="the same channels, found 1 that only this bundle has: t1; 2 that only the parent has: a, c; give --new_channels True",
    ):
        start_from_parent(fresh(3), parent, names)
    network = fresh(3)
    before = network.conv1.weight.clone()
    _, lineage = start_from_parent(network, parent, names, new_channels=True)
    theirs = parent.state["conv1.weight"]
    assert torch.equal(network.conv1.weight[:, [0, 2]], theirs[:, [1, 3]])
    assert torch.equal(network.conv1.weight[:, 1], before[:, 1])
    assert (lineage["new_channels"], lineage["dropped_channels"]) == (["t1"], ["a", "c"])
    assert lineage["partly_copied"] == ["conv1.weight"]
    assert "conv1.weight" not in lineage["copied"] + lineage["replaced"]


@pytest.mark.parametrize(
    ("names", "frozen", "state", "still"),
    [
        (["b", "t1", "d"], 2, "partly_copied", set()),
        (["x", "y", "z"], 2, "replaced", set()),
        (["a", "c"], 2, "copied", set()),
        (["x", "y", "z"], -3, "replaced", {"conv2", "blocks.0.conv1", "blocks.0.conv2", "blocks.1.conv1"}),
    ],
)
def test_with_other_channels_the_first_convolution_is_trained(parent, names, frozen, state, still):
    network, lineage = start_from_parent(fresh(len(names)), parent, names, frozen=frozen, new_channels=True)
    assert "conv1.weight" in lineage[state]
    assert sum("conv1.weight" in lineage[key] for key in ("copied", "partly_copied", "replaced")) == 1
    assert network.conv1.weight.requires_grad
    assert {key.rpartition(".")[0] for key in lineage["frozen"]} == still


def test_what_is_new_is_not_frozen(parent):
    with pytest.raises(OptionError, match="expected convolutions that are replaced and then trained, found frozen = 8 and replaced = 2"):
        start_from_parent(fresh(), parent, NAMES, frozen=8, replaced=2)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"blocks": 5}, "expected 5 residual blocks as this network has, found 2; give --residual_blocks 2, or leave it out"),
        ({"features": 6}, "expected 6 features as this network has, found 5"),
        ({"spatial_dims": 3}, "expected 3 patch axes as this network has, found 2"),
    ],
)
def test_a_parent_of_another_shape_is_refused(parent, network, message):
    with pytest.raises(CheckpointError, match=message):
        start_from_parent(fresh(**network), parent, NAMES)
    with pytest.raises(OptionError, match="at most 8 convolutions"):
        start_from_parent(fresh(), parent, NAMES, frozen=9)


def test_a_parent_of_another_architecture_is_refused(parent):
    state = {**parent.state, "conv9.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="tensor conv9.weight: expected no such tensor as an MRH-Net has, found shape"):
        start_from_parent(fresh(), replace(parent, state=state), NAMES)
    state = {key: value for key, value in parent.state.items() if key != "conv4.bias"}
    with pytest.raises(CheckpointError, match="tensor conv4.bias: expected shape .* as an MRH-Net has, found no such tensor"):
        start_from_parent(fresh(), replace(parent, state=state), NAMES)


def test_without_a_parent_all_parameters_are_trained():
    network = fresh()
    start = start_from_parent(network, None, NAMES, frozen=2)
    assert (start.network, start.lineage, start.replaced) == (network, None, [])
    assert all(parameter.requires_grad for parameter in network.parameters())
