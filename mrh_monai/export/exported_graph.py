"""What an exported file holds: the module, the names of its inputs and outputs, and inputs on which it is compared with PyTorch."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

from mrh_monai import __version__
from mrh_monai.axis_order import CORONAL_AXIS, AxisOrder, coronal_order, inverse_order
from mrh_monai.data import PaddedImage
from mrh_monai.export.slab_graph import BATCH, SlabGraph
from mrh_monai.inference import predict_volume
from mrh_monai.network import MRHNet, Sidecar
from mrh_monai.scaling import Coefficients

GraphKind = Literal["patch", "slab"]
GRAPH_KINDS: tuple[GraphKind, ...] = get_args(GraphKind)


@dataclass(frozen=True)
class ExportedGraph:
    """The content of an exported file.

    Attributes:
        module: Module that takes the inputs in their order, and that TorchScript can hold.
        inputs: Axes and dtype of each input by name.
        outputs: Axes and dtype of the only output.
        example: Inputs of some size.
        trial: Inputs of other sizes, on which the file is compared with PyTorch.
        expected: Output of PyTorch for the trial inputs.
        unit: Value of the output where a scaled prediction is 1.
        coronal_axis: Axis of a slab (X, Y, Z) along which its coronal slices lie; None for patches.
    """

    module: nn.Module
    inputs: dict[str, dict[str, str]]
    outputs: dict[str, dict[str, str]]
    example: tuple[torch.Tensor, ...]
    trial: tuple[torch.Tensor, ...]
    expected: torch.Tensor
    unit: float
    coronal_axis: int | None = None

    def description(self, sidecar: Sidecar, what: GraphKind) -> dict[str, Any]:
        """Return what the file says about itself, as plain values: inputs and outputs, channels, scaling, stain, and the weights.

        Args:
            sidecar: Sidecar of the weights.
            what: Kind of the graph.
        """
        known = sidecar.to_dict()
        names = (
            "stain", "units", "channels", "residual_blocks", "features", "patch_axes", "patch_radius", "scaling", "sha256", "parent",
        )  # fmt: skip
        about: dict[str, Any] = {"what": what, "mrh_monai": __version__, "inputs": self.inputs, "outputs": self.outputs}
        if self.coronal_axis is not None:
            about["coronal_axis"] = self.coronal_axis
        return about | {name: known[name] for name in names}


def build_graph(network: MRHNet, sidecar: Sidecar, what: GraphKind, coronal_axis: int = CORONAL_AXIS) -> ExportedGraph:
    """Return the graph of a network, with inputs on which it can be checked.

    Args:
        network: Network on the CPU; it is copied.
        sidecar: Sidecar of its weights.
        what: ``patch``: scaled patches to scaled patches, the network itself; ``slab``: raw slices and a mask to the stain.
        coronal_axis: Axis of the slab (X, Y, Z), 0, 1 or 2, along which its coronal slices lie.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    random = torch.Generator().manual_seed(0)
    if what == "patch":
        return _patch_graph(network, sidecar, random)
    return _slab_graph(network, sidecar, random, coronal_order(coronal_axis))


def _patch_graph(network: MRHNet, sidecar: Sidecar, random: torch.Generator) -> ExportedGraph:
    shape = sidecar.patch.shape
    axes = " ".join(map(str, shape))
    example, trial = (torch.randn(count, len(sidecar.channels), *shape, generator=random) for count in (2, 7))
    inputs = {"image": {"axes": f"B {len(sidecar.channels)} {axes}", "dtype": "float32"}}
    outputs = {"pred": {"axes": f"B 1 {axes}", "dtype": "float32"}}
    with torch.inference_mode():
        expected = network(trial)
    return ExportedGraph(network, inputs, outputs, (example,), (trial,), expected, 1.0)


def _slab_graph(network: MRHNet, sidecar: Sidecar, random: torch.Generator, axes: AxisOrder) -> ExportedGraph:
    channels, patch, scaling = len(sidecar.channels), sidecar.patch, sidecar.scaling

    def slab(*shape: int) -> tuple[torch.Tensor, ...]:
        image = torch.rand(channels, *shape, generator=random) * 1000
        mask = torch.rand(shape, generator=random) < 0.9
        gain = torch.rand(channels, generator=random) / 500
        return image, mask, gain, -torch.rand(channels, generator=random)

    trial = image, mask, gain, offset = slab(12, 10, 11)
    assert mask.sum() > BATCH  # so that the loop runs more than once
    padded = F.pad(image.permute(1, 2, 3, 0), (0, 0, *(patch.radius,) * 6))
    coefficients = Coefficients(gain.numpy(), offset.numpy())
    expected = predict_volume(network, PaddedImage(padded, patch.radius), mask, coefficients, patch)
    back = inverse_order(axes)
    named = " ".join("XYZ"[axis] for axis in back)
    inputs = {
        "image": {"axes": f"{channels} {named}", "dtype": "float32"},
        "mask": {"axes": named, "dtype": "bool"},
        "gain": {"axes": f"{channels}", "dtype": "float32"},
        "offset": {"axes": f"{channels}", "dtype": "float32"},
    }
    outputs = {"stain": {"axes": named, "dtype": "float32"}}
    module = SlabGraph(network, patch, (scaling.target_min, scaling.target_max), axes)
    stain = torch.where(mask, scaling.unscaled(expected), 0.0)

    def turned(image: torch.Tensor, mask: torch.Tensor, gain: torch.Tensor, offset: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return image.permute(0, *(1 + axis for axis in back)).contiguous(), mask.permute(back).contiguous(), gain, offset

    example, trial, stain = turned(*slab(5, 3, 4)), turned(*trial), stain.permute(back)
    return ExportedGraph(module, inputs, outputs, example, trial, stain, scaling.target_range, axes[CORONAL_AXIS])
