"""Graphs that are not MRH-Net's: each is refused with its first difference named."""

import numpy as np
import pytest

from helpers.matlab_files import convolution, mrh_net, row, write_network
from mrh_monai.errors import CheckpointError
from mrh_monai.matlab.network_import import read_mrh_network


def rewired(connections, old, new):
    assert old in connections
    return [new if pair == old else pair for pair in connections if new is not None or pair != old]


def crossed(connections, one, other):
    swap = {one: (one[0], other[1]), other: (other[0], one[1])}
    return [swap.get(pair, pair) for pair in connections]


def changed(layers, name, **properties):
    assert any(layer["Name"] == name for layer in layers)
    return [{**layer, **properties} if layer["Name"] == name else layer for layer in layers]


def between(layers, connections, before, after, new):
    place = next(i for i, layer in enumerate(layers) if layer["Name"] == after)
    pairs = rewired(connections, (before, after), (before, new["Name"]))
    return [*layers[:place], new, *layers[place:]], [*pairs, (new["Name"], after)]


NAN = np.full((3, 3, 3, 3), np.nan, np.float32)
OTHERS = {
    "a missing skip": (
        lambda layers, pairs: (layers, rewired(pairs, ("ReLU2", "add11/in2"), None)),
        r"layer ReLU2: expected a connection to one Convolution2DLayer and one AdditionLayer, found Conv3 \(Convolution2DLayer\)",
    ),
    "a skip from before the ReLU": (
        lambda layers, pairs: (layers, rewired(pairs, ("ReLU2", "add11/in2"), ("Conv2", "add11/in2"))),
        r"layer Conv2: expected a connection to one ReLULayer, found ReLU2 \(ReLULayer\) and add11/in2 \(AdditionLayer\)",
    ),
    "skips that are crossed": (
        lambda layers, pairs: (layers, crossed(pairs, ("ReLU2", "add11/in2"), ("ReLU_out0", "add_loop1/in2"))),
        "layer add11: expected the outputs of ReLU2 and Conv3_1 added, found ReLU2 goes to add_loop1/in2",
    ),
    "a layer added to itself": (
        lambda layers, pairs: (layers, rewired(pairs, ("Conv3_1", "add11/in1"), ("Conv3_1", "add11/in2"))),
        "layer add11: expected the outputs of ReLU2 and Conv3_1 added",
    ),
    "a loop": (
        lambda layers, pairs: (layers, rewired(pairs, ("ReLU4", "Conv5"), ("ReLU4", "Conv1"))),
        "connection ReLU4 to Conv1: expected a connection to a later layer, found a connection to an earlier layer",
    ),
    "a layer aside": (
        lambda layers, pairs: ([*layers, {"kind": "ReLULayer", "Name": "lost"}], pairs),
        "layer lost: expected a layer between input and output",
    ),
    "a missing ReLU": (
        lambda layers, pairs: (
            [layer for layer in layers if layer["Name"] != "ReLU4"],
            [*(pair for pair in pairs if "ReLU4" not in pair), ("Conv4", "Conv5")],
        ),
        "layer Conv4: expected a connection to one ReLULayer, found Conv5",
    ),
    "another activation": (
        lambda layers, pairs: (changed(layers, "ReLU1", kind="TanhLayer"), pairs),
        "layer ReLU1: expected a layer that MRH-Net has, found a TanhLayer",
    ),
    "a normalisation layer": (
        lambda layers, pairs: between(layers, pairs, "Conv1", "ReLU1", {"kind": "BatchNormalizationLayer", "Name": "norm"}),
        "layer norm: expected a layer that MRH-Net has, found a BatchNormalizationLayer",
    ),
    "one convolution more": (
        lambda layers, pairs: between(layers, pairs, "Conv1", "ReLU1", convolution("extra", 3, 3, np.random.default_rng(0))),
        r"layer Conv1: expected a connection to one ReLULayer, found extra \(Convolution2DLayer\)",
    ),
    "5x5 filters": (lambda layers, pairs: (changed(layers, "Conv3", FilterSize=row(5, 5)), pairs), r"FilterSize \[3 3\], found \[5 5\]"),
    "a stride": (
        lambda layers, pairs: (changed(layers, "Conv4", Stride=row(2, 2)), pairs),
        r"Conv4: expected Stride \[1 1\], found \[2 2\]",
    ),
    "a dilation": (
        lambda layers, pairs: (changed(layers, "Conv2", DilationFactor=row(1, 2)), pairs),
        r"Conv2: expected DilationFactor \[1 1\], found \[1 2\]",
    ),
    "no padding": (
        lambda layers, pairs: (changed(layers, "Conv2", PaddingMode="manual", PaddingSize=row(0, 0, 0, 0)), pairs),
        r"Conv2: expected PaddingSize \[1 1 1 1\], found \[0 0 0 0\]",
    ),
    "padding by ones": (
        lambda layers, pairs: (changed(layers, "Conv2", PaddingValue=row(1)), pairs),
        r"Conv2: expected PaddingValue \[0\], found \[1\]",
    ),
    "larger patches": (
        lambda layers, pairs: (changed(layers, "InputLayer", InputSize=row(5, 5, 4)), pairs),
        r"InputSize \[3 3 4\], found \[5 5 4\]",
    ),
    "a normalised input": (
        lambda layers, pairs: (changed(layers, "InputLayer", Normalization="zerocenter"), pairs),
        "layer InputLayer: expected no normalisation of the input, found zerocenter",
    ),
    "two outputs": (
        lambda layers, pairs: (changed(layers, "Conv5", NumFilters=row(2), Weights=np.zeros((3, 3, 3, 2), np.float32)), pairs),
        r"Conv5: expected NumFilters \[1\], found \[2\]",
    ),
    "weights of another shape": (
        lambda layers, pairs: (changed(layers, "Conv2", Weights=np.zeros((3, 3, 3, 4), np.float32)), pairs),
        r"Conv2: expected Weights of shape \(3, 3, 3, 3\), found \(3, 3, 3, 4\)",
    ),
    "NaN weights": (
        lambda layers, pairs: (changed(layers, "Conv2", Weights=NAN), pairs),
        "Conv2: expected numbers in Weights, found 81 NaN",
    ),
    "an untrained layer": (
        lambda layers, pairs: (changed(layers, "Conv2", Weights=np.zeros((0, 0), np.float32)), pairs),
        "Conv2: expected trained Weights",
    ),
    "one name twice": (
        lambda layers, pairs: (changed(layers, "Conv2", Name="Conv1"), pairs),
        "a unique name for each layer, found Conv1 twice",
    ),
    "a cell where numbers belong": (
        lambda layers, pairs: (changed(layers, "Conv2", Stride=np.array([[1], [1]], object)), pairs),
        r"Conv2: expected Stride \[1 1\], found a ndarray",
    ),
    "a text where numbers belong": (
        lambda layers, pairs: (changed(layers, "Conv1", NumChannels="four"), pairs),
        "Conv1: expected NumChannels as a whole number, found four",
    ),
    "an addition of three": (
        lambda layers, pairs: (changed(layers, "add11", NumInputs=row(3)), pairs),
        r"layer add11: expected NumInputs \[2\], found \[3\]",
    ),
    "a connection to nowhere": (
        lambda layers, pairs: (layers, [*pairs, ("Conv1", "gone")]),
        "connection Conv1 to gone: expected layers of the network, found no layer gone",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_graph_is_refused_with_the_first_difference_named(tmp_path, name):
    change, message = OTHERS[name]
    path = write_network(tmp_path / "net.mat", *change(*mrh_net(2, 4, 3)))
    with pytest.raises(CheckpointError, match=message):
        read_mrh_network(path)
