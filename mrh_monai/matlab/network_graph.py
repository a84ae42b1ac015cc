"""The graph of a MATLAB network, compared with MRH-Net's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrh_monai.errors import CheckpointError
from mrh_monai.matlab.network_objects import Layer, MatlabNetwork, Unread

INPUT, CONVOLUTION, RELU, ADDITION = "ImageInputLayer", "Convolution2DLayer", "ReLULayer", "AdditionLayer"
OUTPUTS = ("RegressionOutputLayer", "RegressionLayer")  # a lab's own loss is a class of its own whose name ends so
REMEDY = "give a network built as MRH-Net is: import does not change what a network computes"


def check_graph(network: MatlabNetwork, where: object) -> list[Layer]:
    """Follow a network from its input to its output, comparing every layer and connection with MRH-Net's.

    The number of additions says how many residual blocks there should be; the walk says whether they are there. Names are free, except
    that they must differ, so that networks made by transfer learning (``new_Conv4``) pass.

    Returns:
        The convolutions in the order of computing.

    Raises:
        CheckpointError: The first difference.
    """
    layers = {layer.name: layer for layer in network.layers}
    if len(layers) < len(network.layers):
        names = [layer.name for layer in network.layers]
        raise CheckpointError(where, "layers under different names", f"{next(n for n in names if names.count(n) > 1)} twice", REMEDY)
    for layer in network.layers:
        if layer.kind not in (INPUT, CONVOLUTION, RELU, ADDITION) and not layer.kind.endswith(OUTPUTS):
            raise CheckpointError(f"{where}, layer {layer.name}", "a layer that MRH-Net has", f"a {layer.kind}", REMEDY)
    inputs = [layer for layer in network.layers if layer.kind == INPUT]
    if len(inputs) != 1:
        raise CheckpointError(where, "one image input", f"{len(inputs)}", REMEDY)
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
    if not additions:  # the ReLU behind the last of no blocks
        walk.to(RELU)
    convolutions += [walk.to(CONVOLUTION), walk.to(RELU, CONVOLUTION)]
    walk.finish(needs_output=network.kind != "dlnetwork")
    for layer in convolutions:
        _check_convolution(layer, f"{where}, layer {layer.name}")
    return convolutions


class _Walk:
    """One step after the other along the connections; what does not go on as MRH-Net does raises."""

    def __init__(self, layers: dict[str, Layer], connections: Sequence[tuple[str, str]], start: Layer, where: object):
        self.layers, self.here, self.where = layers, start, where
        self.visited = {start.name}
        self.skip: tuple[str, str] | None = None
        self.after: dict[str, list[str]] = {name: [] for name in layers}
        seen: set[tuple[str, str]] = set()
        for source, destination in connections:
            for end in (source.split("/")[0], destination.split("/")[0]):
                if end not in layers:
                    raise CheckpointError(f"{where}, connection {source} to {destination}", "layers of the network", f"no {end}", REMEDY)
            if (source, destination) in seen:
                raise CheckpointError(f"{where}, connection {source} to {destination}", "it once", "it twice", REMEDY)
            seen.add((source, destination))
            self.after[source.split("/")[0]].append(destination)

    def to(self, *kinds: str) -> Layer:
        """Go on to layers of these kinds; returns the last."""
        for kind in kinds:
            (target,) = self._expect_next(kind)
            self._enter(target, kind)
        return self.here

    def open_skip(self) -> None:
        """The layer here must feed a convolution, to which `to` goes next, and an addition."""
        targets = self._expect_next(CONVOLUTION, ADDITION)
        addition = next(target for target in targets if self._kind(target) == ADDITION)
        self.skip = (self.here.name, addition)
        self.after[self.here.name].remove(addition)

    def close_skip(self) -> None:
        """The layer here must feed the other input of the addition that the skip goes to."""
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
        expect(self.here, "NumInputs", (2,), f"{self.where}, layer {name}")
        self.skip = None

    def finish(self, needs_output: bool) -> None:
        """The output comes next, and nothing is left over."""
        if needs_output or self.after[self.here.name]:
            (target,) = self._expect_next(*OUTPUTS[:1])
            self._enter(target, OUTPUTS[0])
            if self.after[self.here.name]:
                raise CheckpointError(f"{self.where}, layer {self.here.name}", "the network's end", "a layer behind it", REMEDY)
        left = next((name for name in self.layers if name not in self.visited), None)
        if left is not None:
            raise CheckpointError(f"{self.where}, layer {left}", "a layer on the way from input to output", "one aside of it", REMEDY)

    def _kind(self, target: str) -> str:
        kind = self.layers[target.split("/")[0]].kind
        return OUTPUTS[0] if kind.endswith(OUTPUTS) else kind

    def _expect_next(self, *kinds: str) -> list[str]:
        targets = self.after[self.here.name]
        if sorted(map(self._kind, targets)) != sorted(kinds):
            found = " and ".join(f"{target} ({self._kind(target)})" for target in targets[:4]) or "nothing"
            found += f" and {len(targets) - 4} more" if len(targets) > 4 else ""
            raise CheckpointError(f"{self.where}, layer {self.here.name}", f"it to feed one {' and one '.join(kinds)}", found, REMEDY)
        return list(targets)

    def _enter(self, target: str, kind: str) -> None:
        name, _, port = target.partition("/")
        if name in self.visited or (port not in ("", "in") and kind != ADDITION):
            raise CheckpointError(f"{self.where}, connection {self.here.name} to {target}", "a way forward", "one back", REMEDY)
        self.visited.add(name)
        self.here = self.layers[name]


def _check_convolution(layer: Layer, where: str) -> None:
    for key, expected in (("FilterSize", (3, 3)), ("Stride", (1, 1)), ("DilationFactor", (1, 1))):
        expect(layer, key, expected, where)
    if layer.properties.get("PaddingMode") != "same":
        expect(layer, "PaddingSize", (1, 1, 1, 1), where)
    if "PaddingValue" in layer.properties:
        expect(layer, "PaddingValue", (0,), where)


def expect(layer: Layer, key: str, expected: tuple[int, ...], where: str) -> None:
    """Compare a property that is a list of numbers.

    Raises:
        CheckpointError: It differs or is missing.
    """
    found = numbers(layer, key)
    if found != tuple(map(float, expected)):
        value = layer.properties.get(key)
        shown = "none" if value is None else str(value)[:100]
        if found is not None:
            shown = f"[{' '.join(f'{number:g}' for number in found[:12])}]"
        raise CheckpointError(where, f"{key} [{' '.join(map(str, expected))}]", shown, REMEDY)


def numbers(layer: Layer, key: str) -> tuple[float, ...] | None:
    """A property that is a list of numbers; None where it is none."""
    value = layer.properties.get(key)
    return tuple(value.astype(np.float64).ravel().tolist()) if isinstance(value, np.ndarray) else None
