"""Import of networks that were trained in MATLAB: into state dicts, and into bundles."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from mrh_monai.errors import CheckpointError, OptionError, cause_in_words
from mrh_monai.io import sha256
from mrh_monai.matlab.catalogue import CITATION
from mrh_monai.matlab.network_graph import INPUT, REMEDY, expect_numbers, numbers_of, ordered_convolutions
from mrh_monai.matlab.network_objects import Layer, read_matlab_network
from mrh_monai.network import MRHNet, Sidecar, head_path, is_checkpoint, load_strictly, read_sidecar, save_checkpoint, sidecar_path
from mrh_monai.output_files import check_outputs
from mrh_monai.protocol import MRProtocol
from mrh_monai.scaling import PublishedScaling

PATCH = (3, 3)
CURVE_POINTS = 200
LAST_ITERATIONS = 300
LARGEST_NUMBER = 1e30  # Larger values are not plausible for an RMSE, a loss or a learning rate.


@dataclass(frozen=True)
class ImportedNetwork:
    """An MRH-Net as read from a MAT file.

    Attributes:
        state: State dict for `MRHNet`, float32.
        channels: Number of input channels C.
        features: Number of features F.
        residual_blocks: Number of residual blocks B.
        layer_names: Names of the convolutions in MATLAB, in the order of the state dict.
        matlab_class: MATLAB class of the network: ``DAGNetwork``, ``SeriesNetwork`` or ``dlnetwork``.
        info: Training record of the file, such as ``TrainingRMSE`` (iterations,); empty if the file has none.
    """

    state: dict[str, torch.Tensor]
    channels: int
    features: int
    residual_blocks: int
    layer_names: tuple[str, ...]
    matlab_class: str
    info: dict[str, np.ndarray] = field(default_factory=dict)


def read_mrh_network(path: Path | str) -> ImportedNetwork:
    """Read a trained MRH-Net from a MAT file, and check that it is one. Its depth and its numbers of channels and features are free.

    Args:
        path: MAT file with the variable ``net`` and possibly ``info``, such as `net_5layerV3Res_HRJG_allMRIs_Fluo.mat` of the release.

    Raises:
        CheckpointError: The file is damaged or holds another network; the first difference from MRH-Net is named.
        OptionError: `mat-io` is not installed.
    """
    stored = read_matlab_network(path)
    convolutions = ordered_convolutions(stored, path)
    blocks = (len(convolutions) - 4) // 2
    keys = ["conv1", "conv2", *(f"blocks.{k}.conv{n}" for k in range(blocks) for n in (1, 2)), "conv4", "conv5"]
    channels, features = (
        _whole_number(convolutions[0], key, f"{path}, layer {convolutions[0].name}") for key in ("NumChannels", "NumFilters")
    )
    widths = [channels, *[features] * (len(keys) - 1), 1]
    state = {}
    for key, layer, from_, to in zip(keys, convolutions, widths, widths[1:], strict=False):
        state[f"{key}.weight"], state[f"{key}.bias"] = _parameters(layer, from_, to, f"{path}, layer {layer.name}")
    entry = next(layer for layer in stored.layers if layer.kind == INPUT)
    expect_numbers(entry, "InputSize", (*PATCH, channels), f"{path}, layer {entry.name}")
    names = tuple(layer.name for layer in convolutions)
    return ImportedNetwork(state, channels, features, blocks, names, stored.kind, stored.info)


def _whole_number(layer: Layer, key: str, where: str) -> int:
    found = numbers_of(layer, key) or (float("nan"),)
    if len(found) != 1 or not 1 <= found[0] <= 1_000_000 or found[0] != int(found[0]):
        raise CheckpointError(where, f"{key} as a whole number", str(layer.properties.get(key))[:100], REMEDY)
    return int(found[0])


def _parameters(layer: Layer, from_: int, to: int, where: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weights (to, from, 3, 3) and the bias (to,) of a convolution, after a check that their shapes fit the layer.

    MATLAB correlates as torch does. It stores weights as (3, 3, from, to), without trailing axes of length 1.
    """
    expect_numbers(layer, "NumChannels", (from_,), where)
    expect_numbers(layer, "NumFilters", (to,), where)
    arrays = []
    for key, shape in (("Weights", (*PATCH, from_, to)), ("Bias", (1, 1, to))):
        value = layer.properties.get(key)
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or not value.size:
            raise CheckpointError(where, f"trained {key} {shape}", "no numbers", "train the network before saving it")
        padded = value.shape + (1,) * (len(shape) - value.ndim)
        if padded != shape:
            raise CheckpointError(where, f"{key} of shape {shape}", f"{value.shape}", REMEDY)
        with np.errstate(over="ignore"):  # Such numbers become Inf, and are counted in the next line.
            bad = int(np.count_nonzero(~np.isfinite(value.astype(np.float32))))
        if bad:
            raise CheckpointError(
                where, f"numbers in {key}", f"{bad} NaN or Inf of {value.size}", "import a network whose training did not diverge"
            )
        arrays.append(value.reshape(shape).astype(np.float32))
    weights, bias = arrays
    return torch.from_numpy(np.ascontiguousarray(weights.transpose(3, 2, 0, 1))), torch.from_numpy(bias.ravel().copy())


def training_summary(info: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return a summary of a training record that is short enough for a sidecar.

    Args:
        info: Training record of a MAT file: ``TrainingRMSE`` (iterations,), and possibly ``TrainingLoss``, ``BaseLearnRate`` and
            ``ValidationRMSE`` of the same length. The RMSE is that of a 3x3 patch: the root of the summed squared error of 9 voxels, with
            targets scaled to [0, 1].

    Returns:
        An empty dict without ``TrainingRMSE``. Otherwise ``final_rmse`` of the last iteration, ``final_rmse_mean`` of the last 300
        iterations, ``rmse_is`` with the definition of the RMSE, and ``curve`` with means over blocks of ``iterations_per_point``
        iterations.
    """
    rmse = info.get("TrainingRMSE")
    if rmse is None or not abs(rmse[-1]) < LARGEST_NUMBER:
        return {}
    last = rmse[-LAST_ITERATIONS:]
    step = max(1, -(-len(rmse) // CURVE_POINTS))
    names = {"TrainingRMSE": "rmse", "TrainingLoss": "loss", "BaseLearnRate": "learning_rate", "ValidationRMSE": "validation_rmse"}
    curve: dict[str, Any] = {"iterations": len(rmse), "iterations_per_point": step}
    for key, name in names.items():
        values = info.get(key)
        if values is not None and len(values) == len(rmse):
            blocks = [values[start : start + step] for start in range(0, len(values), step)]
            finite = [block[np.abs(block) < LARGEST_NUMBER] for block in blocks]
            curve[name] = [float(f"{block.mean():.4g}") if block.size else None for block in finite]
    return {
        "final_rmse": float(rmse[-1]),
        "final_rmse_mean": float(np.mean(last[np.abs(last) < LARGEST_NUMBER])),
        "rmse_is": "root of the summed squared error of a 3x3 patch's 9 voxels, targets scaled to [0, 1]; a third of it a voxel",
        "curve": curve,
    }


def import_from_matlab(path: Path | str, bundle: Path | str, target_max: float | None = None, overwrite: bool = False) -> Sidecar:
    """Write a network from MATLAB into a bundle, as `models/model.pt` and `models/model.json`, with published scaling.

    Args:
        path: MAT file with the network.
        bundle: Bundle folder, whose protocol names the channels.
        target_max: Largest target of the network's training, in the stain's units, by which predictions are multiplied. MAT files do not
            record it. Without it (None), predictions stay scaled, so that 1 is the largest target.
        overwrite: Whether weights that were not imported, such as trained ones, may be replaced.

    Returns:
        The sidecar that was written.

    Raises:
        CheckpointError: The file does not hold an MRH-Net (see `read_mrh_network`), or the numbers of channels of network and bundle
            differ. The bundle then stays as it was.
        OptionError: The folder is not a bundle, or ``target_max`` is not a positive number.
        OutputError: The bundle has weights that were not imported.
    """
    path, bundle = Path(path), Path(bundle)
    if target_max is not None and not (np.isfinite(target_max) and target_max > 0):
        raise OptionError("target_max", "a positive number", f"{target_max}", "give the stain's largest value in training, such as 255")
    weights = bundle / "models" / "model.pt"
    outputs = [weights, sidecar_path(weights), head_path(weights)]  # an interval head belongs to other weights, and would go
    check_outputs("weights", outputs, [path], overwrite, lambda each: _is_imported(weights) and each != head_path(weights))
    protocol = MRProtocol.from_metadata(bundle / "configs" / "metadata.json")
    stain, units = _stain(bundle)
    read = read_mrh_network(path)
    if read.channels != len(protocol):
        raise CheckpointError(
            path,
            f"{len(protocol)} channels as {bundle} has",
            f"{read.channels}",
            "name a bundle with the protocol of the network's training",
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
        scaling=PublishedScaling(target_max or 1.0),
        source={"imported": lineage, **training_summary(read.info), "citation": CITATION},
    )
    load_strictly(MRHNet(read.channels, read.features, read.residual_blocks), read.state, path)
    return save_checkpoint(weights, read.state, sidecar)


def _is_imported(weights: Path) -> bool:
    """Return whether weights are described by a sidecar that says that they were imported."""
    return is_checkpoint(weights) and "imported" in read_sidecar(weights).source


def _stain(bundle: Path) -> tuple[str, str]:
    """Return the stain of a bundle and its units, from the config that trains the bundle."""
    for config in sorted((bundle / "configs").glob("train.*")):
        try:
            content = yaml.safe_load(config.read_text(encoding="utf-8-sig"))  # JSON is a part of YAML.
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise OptionError(config, "a config in YAML or JSON", cause_in_words(error), "restore the bundle's config") from error
        if isinstance(content, dict) and isinstance(content.get("stain"), str):
            return content["stain"], str(content.get("units", "units of its histology"))
    expected = "a bundle whose configs/train.yaml names its stain"
    raise OptionError(bundle, expected, "no such config", "name a bundle of this project, such as mrh_af")
