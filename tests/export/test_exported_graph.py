import json

import pytest
import torch

from helpers.random_weights import TARGET_MAX, random_network, sidecar_of
from mrh_monai.export.exported_graph import GRAPH_KINDS, build_graph

pytestmark = pytest.mark.sharing


@pytest.mark.parametrize("what", GRAPH_KINDS)
def test_the_module_gives_what_is_expected_of_it(what):
    network = random_network(3, 4, 2)
    graph = build_graph(network, sidecar_of(network, "abc"), what)
    torch.testing.assert_close(graph.module(*graph.trial), graph.expected, rtol=1e-5, atol=1e-5 * graph.unit)
    assert graph.unit == (1.0 if what == "patch" else TARGET_MAX)
    for tensors in (graph.example, graph.trial):
        assert [str(tensor.dtype).removeprefix("torch.") for tensor in tensors] == [one["dtype"] for one in graph.inputs.values()]


def test_the_description_is_plain_and_names_weights_and_axes():
    network = random_network(3, 4)
    sidecar = sidecar_of(network, "abc", sha256="5" * 64)
    about = build_graph(network, sidecar, "slab").description(sidecar, "slab")
    assert json.loads(json.dumps(about))["sha256"] == "5" * 64
    assert (about["what"], about["inputs"]["image"]["axes"], about["channels"]) == ("slab", "3 X Y Z", ["a", "b", "c"])
    assert "source" not in about


def test_a_networks_own_weights_stay_trainable():
    network = random_network(2, 4)
    build_graph(network, sidecar_of(network, "ab"), "slab")
    assert all(parameter.requires_grad for parameter in network.parameters())
