"""What an exported file holds: the module, the names of its inputs and outputs, and inputs on which it is compared with PyTorch."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

from mrh_monai import __version__
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
    """

    module: nn.Module
    inputs: dict[str, dict[str, str]]
    outputs: dict[str, dict[str, str]]
    example: tuple[torch.Tensor, ...]
    trial: tuple[torch.Tensor, ...]
    expected: torch.Tensor
    unit: float

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
        about = {"what": what, "mrh_monai": __version__, "inputs": self.inputs, "outputs": self.outputs}
        return about | {name: known[name] for name in names}


def build_graph(network: MRHNet, sidecar: Sidecar, what: GraphKind) -> ExportedGraph:
    """Return the graph of a network, with inputs on which it can be checked.

    Args:
        network: Network on the CPU; it is copied.
        sidecar: Sidecar of its weights.
        what: ``patch``: scaled patches to scaled patches, the network itself; ``slab``: raw slices and a mask to the stain.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    random = torch.Generator().manual_seed(0)
    return _patch_graph(network, sidecar, random) if what == "patch" else _slab_graph(network, sidecar, random)


def _patch_graph(network: MRHNet, sidecar: Sidecar, random: torch.Generator) -> ExportedGraph:
    shape = sidecar.patch.shape
    axes = " ".join(map(str, shape))
    example, trial = (torch.randn(count, len(sidecar.channels), *shape, generator=random) for count in (2, 7))
    inputs = {"image": {"axes": f"B {len(sidecar.channels)} {axes}", "dtype": "float32"}}
    outputs = {"pred": {"axes": f"B 1 {axes}", "dtype": "float32"}}
    with torch.inference_mode():
        expected = network(trial)
    return ExportedGraph(network, inputs, outputs, (example,), (trial,), expected, 1.0)


def _slab_graph(network: MRHNet, sidecar: Sidecar, random: torch.Generator) -> ExportedGraph:
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
    inputs = {
        "image": {"axes": f"{channels} X Y Z", "dtype": "float32"},
        "mask": {"axes": "X Y Z", "dtype": "bool"},
        "gain": {"axes": f"{channels}", "dtype": "float32"},
        "offset": {"axes": f"{channels}", "dtype": "float32"},
    }
    outputs = {"stain": {"axes": "X Y Z", "dtype": "float32"}}
    module = SlabGraph(network, patch, (scaling.target_min, scaling.target_max))
    stain = torch.where(mask, scaling.unscaled(expected), 0.0)
    return ExportedGraph(module, inputs, outputs, slab(5, 3, 4), trial, stain, scaling.target_range)
