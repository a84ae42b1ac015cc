"""A bundle's network as one TorchScript or ONNX file, checked against PyTorch before it is put in place."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from mrh_monai import __version__
from mrh_monai.data import PaddedImage
from mrh_monai.errors import OptionError, OutputError
from mrh_monai.export.slab_graph import BATCH, SlabGraph
from mrh_monai.inference import predict_volume
from mrh_monai.io import replacing
from mrh_monai.network import MRHNet, Sidecar, load_network
from mrh_monai.optional_imports import need
from mrh_monai.protocol import MRProtocol

KINDS = ("patch", "slab")
ENDINGS = (".ts", ".onnx")
TOLERANCE = 1e-5
# Of 2022; everything in the graphs is older.
OPSET = 17
# Under this name MONAI keeps what it knows of a TorchScript file (`monai.data.load_net_with_metadata`).
METADATA = "metadata.json"


@dataclass(frozen=True)
class Graph:
    """What a file is to hold.

    Attributes:
        module: Takes the inputs in their order; scriptable.
        inputs: Axes and dtype of each input by name.
        outputs: Likewise of the only output.
        example: Some inputs.
        trial: Others, of other sizes, for the check.
        expected: What PyTorch makes of the trial inputs.
        unit: What the output has where a scaled prediction is 1.
    """

    module: nn.Module
    inputs: dict[str, dict[str, str]]
    outputs: dict[str, dict[str, str]]
    example: tuple[torch.Tensor, ...]
    trial: tuple[torch.Tensor, ...]
    expected: torch.Tensor
    unit: float


def export(bundle: Path | str, output: Path | str, what: str = "patch") -> float:
    """Write a bundle's network into a file, and read it again.

    Args:
        bundle: Its folder, with trained weights in ``models/``.
        output: File to write; its ending, ``.ts`` or ``.onnx``, says of which kind.
        what: ``patch``, scaled patches to scaled patches: the network itself; or ``slab``, raw slices and a mask to the stain.

    Returns:
        The largest difference between what the file and what PyTorch gives for random inputs, of scaled predictions.

    Raises:
        OptionError: The ending or ``what`` is unknown, or a library is not installed.
        CheckpointError: There are no trained weights.
        OutputError: The file differs from PyTorch by more than 1e-5 of the prediction's range, or cannot be written.
    """
    bundle, output = Path(bundle), Path(output)
    if what not in KINDS:
        raise OptionError("--what", " or ".join(KINDS), repr(what), "choose one of the two")
    if output.suffix not in ENDINGS:
        raise OptionError(output, f"a name that ends in {' or '.join(ENDINGS)}", output.suffix or "no ending", "name the kind of file so")
    if output.suffix == ".onnx":
        need("onnx", "export")
        need("onnxruntime", "export")
    protocol = MRProtocol.from_metadata(bundle / "configs" / "metadata.json")
    network, sidecar = load_network(bundle / "models" / "model.pt", protocol.names)
    graph = build(network, sidecar, what)
    with replacing(output) as temporary:
        (_write_torchscript if output.suffix == ".ts" else _write_onnx)(graph, describe(graph, sidecar, what), temporary)
        return check(graph, temporary, output)


def build(network: MRHNet, sidecar: Sidecar, what: str) -> Graph:
    """The graph of a network and what it is checked with.

    Args:
        network: On the CPU.
        sidecar: Its description.
        what: ``patch`` or ``slab``.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    random = torch.Generator().manual_seed(0)
    return _patch_graph(network, sidecar, random) if what == "patch" else _slab_graph(network, sidecar, random)


def _patch_graph(network: MRHNet, sidecar: Sidecar, random: torch.Generator) -> Graph:
    width = 2 * sidecar.patch_radius + 1
    patch = [width] * len(sidecar.patch_axes)
    axes = " ".join(map(str, patch))
    example, trial = (torch.randn(count, len(sidecar.channels), *patch, generator=random) for count in (2, 7))
    inputs = {"image": {"axes": f"B {len(sidecar.channels)} {axes}", "dtype": "float32"}}
    with torch.inference_mode():
        expected = network(trial)
    return Graph(network, inputs, {"pred": {"axes": f"B 1 {axes}", "dtype": "float32"}}, (example,), (trial,), expected, 1.0)


def _slab_graph(network: MRHNet, sidecar: Sidecar, random: torch.Generator) -> Graph:
    channels, radius, target_max = len(sidecar.channels), sidecar.patch_radius, sidecar.scaling.target_max

    def inputs(*shape: int) -> tuple[torch.Tensor, ...]:
        image = torch.rand(channels, *shape, generator=random) * 1000
        mask = torch.rand(shape, generator=random) < 0.9
        gain = torch.rand(channels, generator=random) / 500
        return image, mask, gain, -torch.rand(channels, generator=random)

    trial = image, mask, gain, offset = inputs(12, 10, 11)
    assert mask.sum() > BATCH  # the loop goes round more than once
    padded = F.pad(image.permute(1, 2, 3, 0), (0, 0, *(radius,) * 6))
    expected = predict_volume(network, PaddedImage(padded, radius), mask, gain, offset, axes=sidecar.patch_axes, radius=radius)
    taken = {
        "image": {"axes": f"{channels} X Y Z", "dtype": "float32"},
        "mask": {"axes": "X Y Z", "dtype": "bool"},
        "gain": {"axes": f"{channels}", "dtype": "float32"},
        "offset": {"axes": f"{channels}", "dtype": "float32"},
    }
    module = SlabGraph(network, sidecar.patch_axes, radius, target_max)
    return Graph(module, taken, {"stain": {"axes": "X Y Z", "dtype": "float32"}}, inputs(5, 3, 4), trial, expected * target_max, target_max)


def describe(graph: Graph, sidecar: Sidecar, what: str) -> dict[str, Any]:
    """What travels inside the file: inputs and outputs, channels, scaling, stain, and which weights they are; plain values."""
    known = asdict(sidecar)
    names = (
        "stain", "units", "channels", "residual_blocks", "features", "patch_axes", "patch_radius", "scaling", "sha256", "parent",
    )  # fmt: skip
    about = {"what": what, "mrh_monai": __version__, "inputs": graph.inputs, "outputs": graph.outputs}
    return about | {name: known[name] for name in names}


def check(graph: Graph, path: Path, name: Path) -> float:
    """Read a file again and compare it with PyTorch.

    Args:
        graph: What it should hold.
        path: Where it lies.
        name: What it will be called.

    Returns:
        The largest difference, of scaled predictions.

    Raises:
        OutputError: It is above 1e-5 of the predictions' range.
    """
    found = load(path)(*graph.trial)
    difference = float((found - graph.expected).abs().max()) / graph.unit
    largest = max(1.0, float(graph.expected.abs().max()) / graph.unit)
    if not difference <= TOLERANCE * largest:
        expected = f"outputs within {TOLERANCE * largest:.1g} of PyTorch's"
        raise OutputError(name, expected, f"a difference of {difference:.2g}", "install the versions in constraints.txt and export again")
    return difference


def load(path: Path | str) -> Callable[..., torch.Tensor]:
    """An exported file as a function of tensors on the CPU, in the order of its inputs.

    Args:
        path: ``.ts`` or ``.onnx``.

    Raises:
        OptionError: onnxruntime is not installed.
    """
    if Path(path).suffix == ".ts":
        module = torch.jit.load(str(path), map_location="cpu")
        return torch.inference_mode()(module)
    runtime = need("onnxruntime", "export")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [taken.name for taken in session.get_inputs()]

    def run(*inputs: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})[0])

    return run


def _scripted(module: nn.Module) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls TorchScript deprecated; C++ programs and MONAI Deploy load nothing else
        return torch.jit.script(module)


def _write_torchscript(graph: Graph, about: dict[str, Any], path: Path) -> None:
    torch.jit.save(_scripted(graph.module), str(path), _extra_files={METADATA: json.dumps(about, allow_nan=False)})


def _write_onnx(graph: Graph, about: dict[str, Any], path: Path) -> None:
    onnx = need("onnx", "export")
    shapes = {name: _free_axes(one["axes"].split()) for name, one in (graph.inputs | graph.outputs).items()}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        # The older exporter takes scripts, and with them the loop.
        torch.onnx.export(
            _scripted(graph.module), graph.example, str(path), dynamo=False, opset_version=OPSET, input_names=list(graph.inputs),
            output_names=list(graph.outputs), dynamic_axes={name: axes for name, axes in shapes.items() if axes},
        )  # fmt: skip
    model = onnx.load(str(path))
    model.producer_name, model.producer_version = "mrh-monai", __version__
    onnx.helper.set_model_props(model, {METADATA: json.dumps(about, allow_nan=False)})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _free_axes(axes: Sequence[str]) -> dict[int, str]:
    return {index: axis for index, axis in enumerate(axes) if not axis.isdigit()}
