"""MATLAB network files of any graph, written by mat-io from a list of layers and connections."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

PACKAGE = "nnet.cnn.layer."


def struct(**fields: Any) -> np.ndarray:
    """A 1x1 MATLAB struct."""
    value = np.empty((1, 1), dtype=[(name, object) for name in fields])
    for name, field in fields.items():
        value[name][0, 0] = field
    return value


def row(*numbers: float) -> np.ndarray:
    return np.array([numbers], np.float64)


def convolution(name: str, channels: int, filters: int, rng: np.random.Generator) -> dict[str, Any]:
    weights = rng.normal(0, 0.2, (3, 3, channels, filters)).astype(np.float32)
    return {
        "kind": "Convolution2DLayer", "Name": name, "FilterSize": row(3, 3), "NumChannels": row(channels), "NumFilters": row(filters),
        "Stride": row(1, 1), "DilationFactor": row(1, 1), "PaddingMode": "same", "PaddingSize": row(1, 1, 1, 1),
        "Weights": weights, "Bias": rng.normal(0, 0.1, (1, 1, filters)).astype(np.float32),
    }  # fmt: skip


def mrh_net(blocks: int, channels: int, features: int, head: tuple[str, str] = ("Conv4", "Conv5"), seed: int = 0):
    """Layers and connections as the released code builds them."""
    rng = np.random.default_rng(seed)
    layers: list[dict[str, Any]] = [
        {"kind": "ImageInputLayer", "Name": "InputLayer", "InputSize": row(3, 3, channels), "Normalization": "none"}
    ]
    connections: list[tuple[str, str]] = []

    def then(layer: dict[str, Any], port: str = "") -> str:
        connections.append((layers[-1]["Name"], layer["Name"] + port))
        layers.append(layer)
        return layer["Name"]

    def relu(name: str) -> str:
        return then({"kind": "ReLULayer", "Name": name})

    then(convolution("Conv1", channels, features, rng))
    relu("ReLU1")
    then(convolution("Conv2", features, features, rng))
    skip = relu("ReLU2")
    for k in range(blocks):
        first, second, add = ("Conv3", "Conv3_1", "add11") if not k else (f"Conv_loop1{k}", f"Conv_loop2{k}", f"add_loop{k}")
        then(convolution(first, features, features, rng))
        relu(f"ReLU_in{k}")
        then(convolution(second, features, features, rng))
        then({"kind": "AdditionLayer", "Name": add, "NumInputs": row(2)}, "/in1")
        connections.append((skip, f"{add}/in2"))
        skip = relu(f"ReLU_out{k}")
    if not blocks:
        relu("ReLU3")
    then(convolution(head[0], features, features, rng))
    relu("ReLU4")
    then(convolution(head[1], features, 1, rng))
    then({"kind": "RegressionOutputLayer", "Name": "FinalRegressionLayer"})
    return layers, connections


def write_network(
    path: Path, layers, connections, kind: str = "DAGNetwork", version: str = "v7", info: bool = True, learnables: bool = False
) -> Path:
    """Write the variables ``net`` and ``info`` as MATLAB does."""
    import pandas
    from matio import save_to_mat
    from matio.subsystem import MatSubsystem
    from matio.utils.matclass import MatlabOpaque, MatlabOpaqueArray

    objects = np.empty((len(layers), 1), object)
    learned: list[tuple[str, str, Any]] = []
    for index, layer in enumerate(layers):
        if learnables:
            learned += [(layer["Name"], key, layer[key]) for key in ("Weights", "Bias") if key in layer]
            layer = {key: value for key, value in layer.items() if key not in ("Weights", "Bias")}
        fields = {key: value for key, value in layer.items() if key != "kind"}
        for key in ("Weights", "Bias"):
            if key in fields and kind != "dlnetwork":
                fields[key] = struct(Version=row(2), Value=fields[key], LearnRateFactor=row(1))
        objects[index, 0] = MatlabOpaque({"any": struct(Version=row(1), **fields)}, PACKAGE + layer["kind"])
    stored = {"Version": row(1), "Layers": MatlabOpaqueArray(objects, PACKAGE + "Layer")}
    if kind != "SeriesNetwork":
        table = {"Source": [a for a, _ in connections], "Destination": [b for _, b in connections]}
        stored["Connections"] = pandas.DataFrame(table)
    if learnables:
        values = [MatlabOpaque({"Data": value}, "dlarray") for _, _, value in learned]
        stored["Learnables"] = pandas.DataFrame(
            {"Layer": [a for a, _, _ in learned], "Parameter": [b for _, b, _ in learned], "Value": values}
        )
    content = {"net": MatlabOpaque({"any": struct(**stored)}, kind)}
    if info:
        curve = np.linspace(1.5, 0.3, 1000)[None]
        content["info"] = struct(TrainingLoss=curve**2 / 2, TrainingRMSE=curve, BaseLearnRate=np.full_like(curve, 0.1))
    classes = sorted({PACKAGE + layer["kind"] for layer in layers} | {kind})
    plain = MatSubsystem.serialize_nested_props

    def nested(subsystem: Any, value: Any) -> Any:
        # mat-io writes an array of objects inside a struct as a cell array of them; MATLAB, as one array.
        return subsystem.set_object_metadata(value) if isinstance(value, MatlabOpaqueArray) else plain(subsystem, value)

    path.parent.mkdir(parents=True, exist_ok=True)
    with mock.patch.object(MatSubsystem, "serialize_nested_props", nested):
        save_to_mat(path, content, version=version, saveobj_classes=classes)
    return path


def forward(layers, connections, patches: np.ndarray) -> np.ndarray:
    """What the graph computes, layer by layer in float64, by plain sums over the 3x3 neighbourhood: the oracle.

    Args:
        layers: As `mrh_net`.
        connections: As `mrh_net`.
        patches: (N, 3, 3, C), first patch axis MATLAB's first.

    Returns:
        (N, 3, 3, 1).
    """
    sources: dict[str, list[str]] = {}
    for source, destination in connections:
        sources.setdefault(destination.split("/")[0], []).append(source)
    values: dict[str, np.ndarray] = {}
    waiting = list(layers)
    while waiting:
        layer = next(one for one in waiting if all(source in values for source in sources.get(one["Name"], [])))
        waiting.remove(layer)
        inputs = [values[source] for source in sources.get(layer["Name"], [])]
        if layer["kind"] == "ImageInputLayer":
            values[layer["Name"]] = patches.astype(np.float64)
        elif layer["kind"] == "Convolution2DLayer":
            values[layer["Name"]] = correlate(inputs[0], layer["Weights"].astype(np.float64), layer["Bias"].astype(np.float64).ravel())
        elif layer["kind"] == "ReLULayer":
            values[layer["Name"]] = np.maximum(inputs[0], 0)
        elif layer["kind"] == "AdditionLayer":
            values[layer["Name"]] = inputs[0] + inputs[1]
        else:
            return inputs[0]
    raise AssertionError("no output layer")


def correlate(patches: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(N, 3, 3, C) with weights (3, 3, C, F) to (N, 3, 3, F): out[i, j] = sum over a, b of in[i + a - 1, j + b - 1] w[a, b], 0 outside."""
    weights = weights.reshape(3, 3, patches.shape[-1], -1)
    result = np.zeros((*patches.shape[:3], weights.shape[-1])) + bias
    for i, j, a, b in np.ndindex(3, 3, 3, 3):
        if 0 <= i + a - 1 < 3 and 0 <= j + b - 1 < 3:
            result[:, i, j] += patches[:, i + a - 1, j + b - 1] @ weights[a, b]
    return result


def stored_graph(path: Path):
    """Layers and connections of a published file by mat-io's public reader alone; kinds from the names that the release gives layers."""
    import warnings

    from matio import load_from_mat

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stored = load_from_mat(path, variable_names=["net"])["net"].properties["any"][0, 0]
    layers = []
    for item in stored["Layers"].ravel():
        fields = item.properties["any"][0, 0]
        layer = {"Name": str(fields["Name"].item())}
        prefixes = {"Input": "ImageInputLayer", "Conv": "Convolution2DLayer", "ReLU": "ReLULayer", "add": "AdditionLayer"}
        layer["kind"] = next((kind for prefix, kind in prefixes.items() if layer["Name"].startswith(prefix)), "RegressionOutputLayer")
        if layer["kind"] == "Convolution2DLayer":
            layer["Weights"], layer["Bias"] = (fields[key]["Value"].item() for key in ("Weights", "Bias"))
        layers.append(layer)
    table = stored["Connections"]
    return layers, [(a.item(), b.item()) for a, b in zip(table["Source"], table["Destination"], strict=True)]
