"""Export the network of a bundle as one TorchScript or ONNX file, which is compared with PyTorch before it is put in place."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from mrh_monai import __version__
from mrh_monai.axis_order import CORONAL_AXIS
from mrh_monai.errors import MRHWarning, OptionError, OutputError, one_of
from mrh_monai.export.exported_graph import GRAPH_KINDS, ExportedGraph, GraphKind, build_graph
from mrh_monai.io import replacing
from mrh_monai.network import bundle_files, load_network
from mrh_monai.optional_imports import import_optional
from mrh_monai.output_files import check_outputs, writing
from mrh_monai.protocol import MRProtocol
from mrh_monai.subjects import bundle_coronal_axis, checked_coronal_axis

ENDINGS = (".ts", ".onnx")
TOLERANCE = 1e-5
# The version of ONNX's operators, of 2022; all operators of the graphs are older.
OPSET = 17
# MONAI keeps its own description of a TorchScript file under this name (`monai.data.load_net_with_metadata`).
METADATA = "metadata.json"


def export_network(
    bundle: Path | str, output: Path | str, what: GraphKind = "patch", overwrite: bool = False, coronal_axis: int | None = None
) -> float:
    """Write the network of a bundle into a file, read the file again, and compare it with PyTorch.

    Args:
        bundle: Bundle folder with trained weights in ``models/``.
        output: File to write; its ending, ``.ts`` for TorchScript or ``.onnx`` for ONNX, decides the format.
        what: ``patch``: scaled patches to scaled patches, the network itself; ``slab``: raw coronal slices and a mask to the stain.
        overwrite: Whether a file of another origin may be replaced.
        coronal_axis: Axis of the slab (X, Y, Z), 0, 1 or 2, along which its coronal slices lie; None for the option of the bundle, and for
            axis 1 if that is not set.

    Returns:
        The largest difference between the outputs of the file and of PyTorch for random inputs, in units of scaled predictions.

    Raises:
        OptionError: The ending or ``what`` is unknown, or a library is not installed.
        CheckpointError: There are no trained weights.
        OutputError: The file differs from PyTorch by more than 1e-5 of the range of the predictions, cannot be written, or would replace
            a file of another origin.
    """
    bundle, output = Path(bundle), Path(output)
    one_of("what", what, GRAPH_KINDS)
    if output.suffix not in ENDINGS:
        found = output.suffix or "no ending"
        raise OptionError(output, f"a name that ends in {' or '.join(ENDINGS)}", found, "give the file one of these endings")
    if output.suffix == ".onnx":
        import_optional("onnx", "export")
        import_optional("onnxruntime", "export")
    inputs = bundle_files(bundle)
    check_outputs("export", [output], inputs, overwrite)
    protocol = MRProtocol.from_bundle(bundle)
    network, sidecar = load_network(bundle / "models" / "model.pt", protocol.names)
    axis = bundle_coronal_axis(bundle) if coronal_axis is None else checked_coronal_axis(coronal_axis)
    graph = build_graph(network, sidecar, what, CORONAL_AXIS if axis is None else axis)
    with writing("export", [output], inputs, overwrite), replacing(output) as temporary:
        write_graph(graph, graph.description(sidecar, what), temporary)
        return compare_with_pytorch(graph, temporary, output)


def write_graph(graph: ExportedGraph, about: dict[str, Any], path: Path) -> None:
    """Write a graph.

    Args:
        graph: The graph.
        about: Its description, which is kept in the file.
        path: File to write; its ending decides the format.
    """
    (_write_torchscript if path.suffix == ".ts" else _write_onnx)(graph, about, path)


def compare_with_pytorch(graph: ExportedGraph, path: Path, name: Path) -> float:
    """Read a file again, and compare it with PyTorch.

    Args:
        graph: What the file should hold.
        path: Where the file lies.
        name: Name that the file will have, for the error.

    Returns:
        The largest difference, in units of scaled predictions.

    Raises:
        OutputError: The difference is above 1e-5 of the range of the predictions.
    """
    found = load_exported(path)(*graph.trial)
    difference = float((found - graph.expected).abs().max()) / graph.unit
    largest = max(1.0, float(graph.expected.abs().max()) / graph.unit)
    if not difference <= TOLERANCE * largest:
        expected = f"outputs within {TOLERANCE * largest:.1g} of PyTorch's"
        remedy = "install the versions of the libraries in constraints.txt, and export again"
        raise OutputError(name, expected, f"a difference of {difference:.2g}", remedy)
    return difference


def load_exported(path: Path | str) -> Callable[..., torch.Tensor]:
    """Return an exported file as a function of tensors on the CPU, in the order of its inputs.

    Args:
        path: File that ends in ``.ts`` or ``.onnx``.

    Raises:
        OptionError: onnxruntime is not installed.
    """
    if Path(path).suffix == ".ts":
        load = cast("Callable[..., Callable[..., torch.Tensor]]", torch.jit.load)
        return torch.inference_mode()(load(str(path), map_location="cpu"))
    runtime = import_optional("onnxruntime", "export")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [taken.name for taken in session.get_inputs()]

    def run(*inputs: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})[0])

    return run


def _scripted(module: nn.Module) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        # PyTorch calls TorchScript deprecated, but C++ programs and MONAI Deploy load nothing else.
        warnings.simplefilter("ignore", DeprecationWarning)
        return cast("torch.jit.ScriptModule", torch.jit.script(module))


def _write_torchscript(graph: ExportedGraph, about: dict[str, Any], path: Path) -> None:
    save = cast("Callable[..., None]", torch.jit.save)
    save(_scripted(graph.module), str(path), _extra_files={METADATA: json.dumps(about, allow_nan=False)})


def _write_onnx(graph: ExportedGraph, about: dict[str, Any], path: Path) -> None:
    onnx = import_optional("onnx", "export")
    shapes = {name: _free_axes(one["axes"].split()) for name, one in (graph.inputs | graph.outputs).items()}
    with warnings.catch_warnings(), torch.no_grad():
        # The older exporter takes scripts, and with them their loops. It is deprecated, and warns of its own code.
        for category in (DeprecationWarning, FutureWarning, UserWarning):
            warnings.simplefilter("ignore", category)
        warnings.simplefilter("default", MRHWarning)
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
