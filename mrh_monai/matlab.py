"""MRH-Nets trained in MATLAB into state dicts and bundles, and back."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch
import yaml

from mrh_monai.checkpoint import Sidecar, load_network, load_strictly, save_checkpoint
from mrh_monai.errors import CheckpointError, OptionError, OutputError
from mrh_monai.files import replacing, sha256, write_text
from mrh_monai.matlab_graph import INPUT, REMEDY, check_graph, expect
from mrh_monai.matlab_objects import Layer, read_matlab_network
from mrh_monai.network import MRHNet
from mrh_monai.protocol import Protocol
from mrh_monai.published import CITATION
from mrh_monai.scaling import Scaling

PATCH = (3, 3)
CURVE_POINTS = 200
LAST_ITERATIONS = 300


@dataclass(frozen=True)
class ReleasedNetwork:
    """An MRH-Net from a MAT file.

    Attributes:
        state: State dict of `MRHNet`, float32.
        channels: C.
        features: F.
        residual_blocks: B.
        layer_names: MATLAB's names of the convolutions, in the order of the state dict.
        matlab_class: ``DAGNetwork``, ``SeriesNetwork`` or ``dlnetwork``.
        info: Training record of the file: ``TrainingRMSE`` (iterations,) and the like.
    """

    state: dict[str, torch.Tensor]
    channels: int
    features: int
    residual_blocks: int
    layer_names: tuple[str, ...]
    matlab_class: str
    info: dict[str, np.ndarray] = field(default_factory=dict)


def read_network(path: Path | str) -> ReleasedNetwork:
    """Read and check a trained MRH-Net; depth, channels and features are the file's own.

    Args:
        path: MAT file with the variable ``net`` (and ``info``), such as `net_5layerV3Res_HRJG_allMRIs_Fluo.mat` of the release.

    Raises:
        CheckpointError: The file is damaged or holds another network; the first difference is named.
        OptionError: `mat-io` is not installed.
    """
    stored = read_matlab_network(path)
    convolutions = check_graph(stored, path)
    blocks = (len(convolutions) - 4) // 2
    keys = ["conv1", "conv2", *(f"blocks.{k}.conv{n}" for k in range(blocks) for n in (1, 2)), "conv4", "conv5"]
    channels = _whole(convolutions[0].properties.get("NumChannels"), f"{path}, layer {convolutions[0].name}", "NumChannels")
    features = _whole(convolutions[0].properties.get("NumFilters"), f"{path}, layer {convolutions[0].name}", "NumFilters")
    widths = [channels, *[features] * (len(keys) - 1), 1]
    state = {}
    for key, layer, from_, to in zip(keys, convolutions, widths, widths[1:], strict=False):
        state[f"{key}.weight"], state[f"{key}.bias"] = _parameters(layer, from_, to, f"{path}, layer {layer.name}")
    entry = next(layer for layer in stored.layers if layer.kind == INPUT)
    expect(entry, "InputSize", (*PATCH, channels), f"{path}, layer {entry.name}")
    names = tuple(layer.name for layer in convolutions)
    return ReleasedNetwork(state, channels, features, blocks, names, stored.kind, stored.info)


def _whole(value: Any, where: str, key: str) -> int:
    number = np.asarray(value if value is not None and not isinstance(value, str) else np.nan, np.float64).ravel()
    if number.size != 1 or not 1 <= number[0] <= 1_000_000 or number[0] != int(number[0]):
        raise CheckpointError(where, f"{key} as a whole number", f"{value}", REMEDY)
    return int(number[0])


def _parameters(layer: Layer, from_: int, to: int, where: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (to, from, 3, 3) and bias (to,). MATLAB correlates as torch does, and stores (3, 3, from, to) without trailing ones."""
    expect(layer, "NumChannels", (from_,), where)
    expect(layer, "NumFilters", (to,), where)
    arrays = []
    for key, shape in (("Weights", (*PATCH, from_, to)), ("Bias", (1, 1, to))):
        value = layer.properties.get(key)
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or not value.size:
            raise CheckpointError(where, f"trained {key} {shape}", "none", "train the network before saving it")
        padded = value.shape + (1,) * (len(shape) - value.ndim)
        if padded != shape:
            raise CheckpointError(where, f"{key} of shape {shape}", f"{value.shape}", REMEDY)
        bad = int(np.count_nonzero(~np.isfinite(value.astype(np.float32))))
        if bad:
            raise CheckpointError(where, f"numbers in {key}", f"{bad} NaN or Inf of {value.size}", "import one whose training went well")
        arrays.append(value.reshape(shape).astype(np.float32))
    weights, bias = arrays
    return torch.from_numpy(np.ascontiguousarray(weights.transpose(3, 2, 0, 1))), torch.from_numpy(bias.ravel().copy())


def training_curve(info: dict[str, np.ndarray]) -> dict[str, Any]:
    """What a file records of its training, short enough for a sidecar.

    Args:
        info: ``TrainingRMSE`` (iterations,), of a 3x3 patch: root of the summed squared error of 9 voxels, targets scaled to [0, 1];
            ``TrainingLoss`` and ``BaseLearnRate`` likewise, where there are any.

    Returns:
        Empty without ``TrainingRMSE``. Otherwise ``final_rmse`` (of the last iteration), ``final_rmse_mean`` (of the last 300) and
        ``curve``: means over blocks of ``iterations_per_point`` iterations.
    """
    rmse = info.get("TrainingRMSE")
    if rmse is None or not np.isfinite(rmse[-1:]).all():
        return {}
    step = max(1, -(-len(rmse) // CURVE_POINTS))
    names = {"TrainingRMSE": "rmse", "TrainingLoss": "loss", "BaseLearnRate": "learning_rate", "ValidationRMSE": "validation_rmse"}
    curve: dict[str, Any] = {"iterations": len(rmse), "iterations_per_point": step}
    for key, name in names.items():
        values = info.get(key)
        if values is not None and len(values) == len(rmse):
            blocks = [values[start : start + step] for start in range(0, len(values), step)]
            means = [float(np.mean(block[np.isfinite(block)])) if np.isfinite(block).any() else None for block in blocks]
            curve[name] = [None if mean is None else float(f"{mean:.4g}") for mean in means]
    return {
        "final_rmse": float(rmse[-1]),
        "final_rmse_mean": float(np.mean(rmse[-LAST_ITERATIONS:])),
        "rmse_is": "root of the summed squared error of a 3x3 patch's 9 voxels, targets scaled to [0, 1]; a third of it a voxel",
        "curve": curve,
    }


def import_network(path: Path | str, bundle: Path | str, target_max: float | None = None) -> Sidecar:
    """Put a MATLAB network into a bundle: `models/model.pt` and `models/model.json`, with published scaling.

    Args:
        path: MAT file.
        bundle: Bundle folder, whose protocol names the channels.
        target_max: Largest target of its training, in the stain's units, by which predictions are multiplied. Files do not record it;
            None leaves predictions scaled, 1 being that target.

    Returns:
        The sidecar as written.

    Raises:
        CheckpointError: As `read_network`, or the network's channels are not as many as the bundle's. The bundle stays as it was.
        OptionError: It is no bundle folder.
    """
    path, bundle = Path(path), Path(bundle)
    if target_max is not None and not (np.isfinite(target_max) and target_max > 0):
        raise OptionError("--target-max", "a positive number", f"{target_max}", "give the stain's largest value in training, such as 255")
    protocol = Protocol.from_metadata(bundle / "configs" / "metadata.json")
    stain, units = _stain(bundle)
    read = read_network(path)
    if read.channels != len(protocol):
        raise CheckpointError(
            path, f"{len(protocol)} channels as {bundle} has", f"{read.channels}", "name a bundle of the protocol that it was trained on"
        )
    lineage = {"file": path.name, "sha256": sha256(path), "matlab_class": read.matlab_class, "convolutions": list(read.layer_names)}
    sidecar = Sidecar(
        stain=stain,
        units=units if target_max else f"largest {stain} of its training = 1",
        channels=protocol.names,
        residual_blocks=read.residual_blocks,
        features=read.features,
        patch_axes=[0, 2],
        patch_radius=1,
        scaling=Scaling("published", (), (), target_max or 1.0),
        source={"imported": lineage, **training_curve(read.info), "citation": CITATION},
    )
    load_strictly(MRHNet(read.channels, read.features, read.residual_blocks), read.state, path)
    return save_checkpoint(bundle / "models" / "model.pt", read.state, sidecar)


def _stain(bundle: Path) -> tuple[str, str]:
    """The stain that a bundle is for, and its units, from the config that trains it."""
    for config in sorted((bundle / "configs").glob("train.*")):
        content = yaml.safe_load(config.read_text())  # JSON is YAML too
        if isinstance(content, dict) and isinstance(content.get("stain"), str):
            return content["stain"], str(content.get("units", "units of its histology"))
    raise OptionError(bundle, "a bundle whose configs/train.yaml names its stain", "none", "name a bundle of this project, such as mrh_af")


def export_network(bundle: Path | str, output: Path | str) -> Path:
    """Write a bundle's network for MATLAB: a MAT file of plain arrays, and beside it a function that rebuilds the network from them.

    The MAT file (version 5) holds the struct ``layers`` with a field a convolution, named as in the release (``layers.Conv1.Weights``
    (3, 3, C, F) and ``layers.Conv1.Bias`` (1, 1, F), single), the cell ``channels``, and the struct ``scaling`` (the sidecar's).

    Args:
        bundle: Bundle folder with trained weights.
        output: MAT file; its name without the ending must be a MATLAB identifier, as the function is called so.

    Returns:
        The `.m` file.

    Raises:
        CheckpointError: The bundle has no trained weights.
        OutputError: The name cannot be a function's, or the files cannot be written.
    """
    output = Path(output)
    if output.suffix != ".mat" or not re.fullmatch(r"[A-Za-z]\w{0,62}", output.stem, flags=re.ASCII):
        expected = "a name of letters, digits and _ that begins with a letter and ends in .mat"
        raise OutputError(output, expected, output.name, "name it like net_af.mat, as the function beside it bears the name")
    network, sidecar = load_network(Path(bundle) / "models" / "model.pt")
    if len(sidecar.patch_axes) != 2 or sidecar.patch_radius != 1:
        raise CheckpointError(bundle, "a network of 3x3 patches", f"patches along {sidecar.patch_axes}", "export one of 3x3 patches")
    names = released_names(sidecar.residual_blocks)
    arrays = [value.numpy().astype(np.float32) for value in network.state_dict().values()]
    layers = {
        name: {"Weights": weights.transpose(2, 3, 1, 0), "Bias": bias.reshape(1, 1, -1)}
        for name, weights, bias in zip(names, arrays[::2], arrays[1::2], strict=True)
    }
    scaling = {**sidecar.scaling.to_dict(), "units": sidecar.units}
    content = {"layers": layers, "channels": np.array(sidecar.channels, object), "scaling": scaling}
    with replacing(output) as temporary:
        scipy.io.savemat(temporary, content, do_compression=True)
    function = output.with_suffix(".m")
    write_text(function, _rebuilding_function(output.stem, sidecar))
    return function


def released_names(residual_blocks: int) -> list[str]:
    """The names that the released code gives the convolutions, in the order of computing."""
    if not residual_blocks:
        return ["Conv1", "Conv2", "Conv4", "Conv5"]
    loop = [f"Conv_loop{half}{k}" for k in range(1, residual_blocks) for half in (1, 2)]
    return ["Conv1", "Conv2", "Conv3", "Conv3_1", *loop, "Conv4", "Conv5"]


def _rebuilding_function(name: str, sidecar: Sidecar) -> str:
    """MATLAB code (Deep Learning Toolbox, R2019b or newer) that assembles the layer graph."""
    how = {
        "published": "% Input: X / max(X(:)), as the released code does. Output: YPred * scaling.target_max.",
        "robust": "% Input: X / level, level = mean over channels of |median over the brain|; then\n"
        "%   (X(:, :, c, :) - scaling.channel_mean(c)) / scaling.channel_std(c). Output: YPred * scaling.target_max.",
    }[sidecar.scaling.mode]
    lines = [
        f"function [net, channels, scaling] = {name}()",
        f"% {name.upper()}  MRH-Net for {sidecar.stain}, {sidecar.residual_blocks} residual blocks, {len(sidecar.channels)} channels.",
        "% YPred = predict(net, X) for X of 3 x 3 x channels x patches; keep the centre, YPred(2, 2, 1, :).",
        how,
        f"s = load(fullfile(fileparts(mfilename('fullpath')), '{name}.mat'));",
        "channels = s.channels; scaling = s.scaling;",
        "c = @(n) convolution2dLayer(3, size(s.layers.(n).Bias, 3), 'NumChannels', size(s.layers.(n).Weights, 3), ...",
        "    'Padding', 'same', 'Weights', s.layers.(n).Weights, 'Bias', s.layers.(n).Bias, 'Name', n);",
        f"g = layerGraph([imageInputLayer([3 3 {len(sidecar.channels)}], 'Normalization', 'none', 'Name', 'InputLayer')",
        "    c('Conv1'); reluLayer('Name', 'ReLU1'); c('Conv2'); reluLayer('Name', 'ReLU2')]);",
        "last = 'ReLU2';",
    ]
    blocks = released_names(sidecar.residual_blocks)[2:-2]
    if blocks:
        pairs = "; ".join(f"'{first}', '{second}'" for first, second in zip(blocks[::2], blocks[1::2], strict=True))
        lines += [
            f"blocks = {{{pairs}}};",
            "for k = 1:size(blocks, 1)",
            "    id = num2str(k);",
            "    g = addLayers(g, [c(blocks{k, 1}); reluLayer('Name', ['ReLU_in' id]); c(blocks{k, 2})",
            "        additionLayer(2, 'Name', ['add' id]); reluLayer('Name', ['ReLU_out' id])]);",
            "    g = connectLayers(g, last, blocks{k, 1});",
            "    g = connectLayers(g, last, ['add' id '/in2']);",
            "    last = ['ReLU_out' id];",
            "end",
        ]
    else:
        lines += ["g = addLayers(g, reluLayer('Name', 'ReLU3')); g = connectLayers(g, last, 'ReLU3'); last = 'ReLU3';"]
    lines += [
        "g = addLayers(g, [c('Conv4'); reluLayer('Name', 'ReLU4'); c('Conv5'); regressionLayer('Name', 'FinalRegressionLayer')]);",
        "g = connectLayers(g, last, 'Conv4');",
        "net = assembleNetwork(g);",
        "end",
    ]
    return "\n".join(lines) + "\n"
