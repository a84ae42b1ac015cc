"""Comparison of the graph of a MATLAB network with the graph of MRH-Net."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrh_monai.errors import CheckpointError
from mrh_monai.matlab.network_objects import Layer, MatlabNetwork, Unread

INPUT, CONVOLUTION, RELU, ADDITION = "ImageInputLayer", "Convolution2DLayer", "ReLULayer", "AdditionLayer"
OUTPUTS = ("RegressionOutputLayer", "RegressionLayer")  # A loss layer that a lab has written itself is a class whose name ends like this.
REMEDY = "import a network with the layers of MRH-Net; the import cannot change what a network computes"


def ordered_convolutions(network: MatlabNetwork, where: object) -> list[Layer]:
    """Return the convolutions of an MRH-Net in the order of computing.

    The network is followed from its input to its output, and every layer and connection is compared with those of MRH-Net. The number of
    additions is the number of residual blocks to expect. Layers may have any names that differ from each other, so that networks made by
    transfer learning (with a ``new_Conv4``) are accepted.

    Args:
        network: The network as stored.
        where: File that errors name.

    Raises:
        CheckpointError: The network differs from MRH-Net; the first difference is named.
    """
    layers = {layer.name: layer for layer in network.layers}
    if len(layers) < len(network.layers):
        names = [layer.name for layer in network.layers]
        raise CheckpointError(where, "a unique name for each layer", f"{next(n for n in names if names.count(n) > 1)} twice", REMEDY)
    for layer in network.layers:
        if layer.kind not in (INPUT, CONVOLUTION, RELU, ADDITION) and not layer.kind.endswith(OUTPUTS):
            raise CheckpointError(f"{where}, layer {layer.name}", "a layer that MRH-Net has", f"a {layer.kind}", REMEDY)
    inputs = [layer for layer in network.layers if layer.kind == INPUT]
    if len(inputs) != 1:
        raise CheckpointError(where, "one image input layer", f"{len(inputs)}", REMEDY)
    normalization = inputs[0].properties.get("Normalization", "none")
    if isinstance(normalization, Unread) or np.size(normalization) > 1 or str(normalization) not in ("none", "", "[]"):
        raise CheckpointError(f"{where}, layer {inputs[0].name}", "no normalisation of the input", f"{normalization}", REMEDY)
    walk = _Walk(layers, network.connections, inputs[0], where)
    convolutions = [walk.to(CONVOLUTION), walk.to(RELU, CONVOLUTION)]
    walk.to(RELU)
    additions = sum(layer.kind == ADDITION for layer in network.layers)
    for _ in range(additions):
        walk.open_skip()
        convolutions += [walk.to(CONVOLUTION), walk.to(RELU, CONVOLUTION)]
        walk.close_skip()
        walk.to(RELU)
    if not additions:  # Without blocks, MRH-Net has two ReLUs one after the other.
        walk.to(RELU)
    convolutions += [walk.to(CONVOLUTION), walk.to(RELU, CONVOLUTION)]
    walk.finish(needs_output=network.kind != "dlnetwork")
    for layer in convolutions:
        _check_convolution(layer, f"{where}, layer {layer.name}")
    return convolutions


class _Walk:
    """Walk along the connections of a network, one layer after the other. A step that differs from MRH-Net raises an error."""

    def __init__(self, layers: dict[str, Layer], connections: Sequence[tuple[str, str]], start: Layer, where: object):
        self.layers, self.here, self.where = layers, start, where
        self.visited = {start.name}
        self.skip: tuple[str, str] | None = None
        self.after: dict[str, list[str]] = {name: [] for name in layers}
        seen: set[tuple[str, str]] = set()
        for source, destination in connections:
            for end in (source.split("/")[0], destination.split("/")[0]):
                if end not in layers:
                    raise CheckpointError(
                        f"{where}, connection {source} to {destination}", "layers of the network", f"no layer {end}", REMEDY
                    )
            if (source, destination) in seen:
                raise CheckpointError(
                    f"{where}, connection {source} to {destination}", "one connection", "the same connection twice", REMEDY
                )
            seen.add((source, destination))
            self.after[source.split("/")[0]].append(destination)

    def to(self, *kinds: str) -> Layer:
        """Go to the next layers, which must be of these kinds, and return the last of them."""
        for kind in kinds:
            (target,) = self._expect_next(kind)
            self._enter(target, kind)
        return self.here

    def open_skip(self) -> None:
        """Begin a residual block: the present layer must feed a convolution, to which `to` goes next, and an addition."""
        targets = self._expect_next(CONVOLUTION, ADDITION)
        addition = next(target for target in targets if self._kind(target) == ADDITION)
        self.skip = (self.here.name, addition)
        self.after[self.here.name].remove(addition)

    def close_skip(self) -> None:
        """End a residual block: the present layer must feed the other input of the addition that the skip goes to."""
        assert self.skip is not None
        source, addition = self.skip
        (target,) = self._expect_next(ADDITION)
        name, other = addition.split("/")[0], target.split("/")[0]
        if other != name or sorted((addition, target)) != [f"{name}/in1", f"{name}/in2"]:
            raise CheckpointError(
                f"{self.where}, layer {other}",
                f"the outputs of {source} and {self.here.name} added",
                f"{source} goes to {addition}",
                REMEDY,
            )
        self._enter(target, ADDITION)
        expect_numbers(self.here, "NumInputs", (2,), f"{self.where}, layer {name}")
        self.skip = None

    def finish(self, needs_output: bool) -> None:
        """End the walk: the output layer must come next, if the network needs one, and no layer may be left over."""
        if needs_output or self.after[self.here.name]:
            (target,) = self._expect_next(*OUTPUTS[:1])
            self._enter(target, OUTPUTS[0])
            if self.after[self.here.name]:
                raise CheckpointError(f"{self.where}, layer {self.here.name}", "the end of the network", "a layer after it", REMEDY)
        left = next((name for name in self.layers if name not in self.visited), None)
        if left is not None:
            raise CheckpointError(f"{self.where}, layer {left}", "a layer between input and output", "a layer outside this chain", REMEDY)

    def _kind(self, target: str) -> str:
        kind = self.layers[target.split("/")[0]].kind
        return OUTPUTS[0] if kind.endswith(OUTPUTS) else kind

    def _expect_next(self, *kinds: str) -> list[str]:
        targets = self.after[self.here.name]
        if sorted(map(self._kind, targets)) != sorted(kinds):
            found = " and ".join(f"{target} ({self._kind(target)})" for target in targets[:4]) or "nothing"
            found += f" and {len(targets) - 4} more" if len(targets) > 4 else ""
            raise CheckpointError(f"{self.where}, layer {self.here.name}", f"a connection to one {' and one '.join(kinds)}", found, REMEDY)
        return list(targets)

    def _enter(self, target: str, kind: str) -> None:
        name, _, port = target.partition("/")
        if name in self.visited or (port not in ("", "in") and kind != ADDITION):
            raise CheckpointError(
                f"{self.where}, connection {self.here.name} to {target}",
                "a connection to a later layer",
                "a connection to an earlier layer or to another input",
                REMEDY,
            )
        self.visited.add(name)
        self.here = self.layers[name]


def _check_convolution(layer: Layer, where: str) -> None:
    for key, expected in (("FilterSize", (3, 3)), ("Stride", (1, 1)), ("DilationFactor", (1, 1))):
        expect_numbers(layer, key, expected, where)
    if layer.properties.get("PaddingMode") != "same":
        expect_numbers(layer, "PaddingSize", (1, 1, 1, 1), where)
    if "PaddingValue" in layer.properties:
        expect_numbers(layer, "PaddingValue", (0,), where)


def expect_numbers(layer: Layer, key: str, expected: tuple[int, ...], where: str) -> None:
    """Compare a property of a layer that is a list of numbers.

    Args:
        layer: The layer.
        key: Name of the property.
        expected: Expected numbers.
        where: Layer that the error names.

    Raises:
        CheckpointError: The property differs or is missing.
    """
    found = numbers_of(layer, key)
    if found != tuple(map(float, expected)):
        value = layer.properties.get(key)
        shown = f"no {key}" if value is None else str(value)[:100]
        if found is not None:
            shown = f"[{' '.join(f'{number:g}' for number in found[:12])}]"
        raise CheckpointError(where, f"{key} [{' '.join(map(str, expected))}]", shown, REMEDY)


def numbers_of(layer: Layer, key: str) -> tuple[float, ...] | None:
    """Return a property of a layer as numbers, or None where it is missing or does not consist of numbers."""
    value = layer.properties.get(key)
    return tuple(value.astype(np.float64).ravel().tolist()) if isinstance(value, np.ndarray) else None
