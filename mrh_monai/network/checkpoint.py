"""Trained weights, written together with their sidecar and checked when they are loaded.

`model.pt` is a plain state dict, so that the tools of MONAI read it. `sidecar.py` has what stands beside it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mrh_monai.errors import CheckpointError, cause_in_words
from mrh_monai.io import replacing, sha256
from mrh_monai.network.calibration import Calibration
from mrh_monai.network.interval_head import IntervalHead, IntervalNetwork
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.network.sidecar import AGAIN, Sidecar, head_path, read_sidecar, sidecar_path

PLAIN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
COPY_BOTH = "copy both files together from one training"
COPY_ALL = "copy weights, sidecar and interval head together from one training"


def weights_bytes(state: Mapping[str, torch.Tensor]) -> bytes:
    """Return the file content of a plain state dict, on the CPU. The same weights give the same bytes."""
    buffer = io.BytesIO()
    torch.save({key: value.detach().to("cpu", copy=True).contiguous() for key, value in state.items()}, buffer)
    return buffer.getvalue()


def save_checkpoint(path: Path | str, state: Mapping[str, torch.Tensor], sidecar: Sidecar, head: IntervalHead | None = None) -> Sidecar:
    """Write weights and sidecar, each whole; neither replaces an older file before both are on disk.

    A program that reads between the two replacements gets an error that they do not match.

    Args:
        path: The weights, `model.pt`; the sidecar goes beside them.
        state: A plain state dict.
        sidecar: Description of the network; its SHA-256 is filled in here.
        head: Interval head, which goes beside them too, and whose calibration the sidecar has; None for a network without one.

    Returns:
        The sidecar as written.

    Raises:
        OutputError: A file cannot be written.
    """
    data = weights_bytes(state)
    intervals, of_head = None, None
    if head is not None:
        of_head = weights_bytes(head.state_dict())
        intervals = replace(sidecar.intervals or Calibration(), sha256=hashlib.sha256(of_head).hexdigest())
    sidecar = replace(sidecar, sha256=hashlib.sha256(data).hexdigest(), intervals=intervals)
    with ExitStack() as files:
        weights_file, sidecar_file = (files.enter_context(replacing(each)) for each in (path, sidecar_path(path)))
        if of_head is not None:
            files.enter_context(replacing(head_path(path))).write_bytes(of_head)
        weights_file.write_bytes(data)
        sidecar_file.write_text(_as_text(sidecar))
    if head is None:
        head_path(path).unlink(missing_ok=True)
    return sidecar


def _as_text(sidecar: Sidecar) -> str:
    return json.dumps(sidecar.to_dict(), indent=2, allow_nan=False) + "\n"


def is_checkpoint(path: Path | str) -> bool:
    """Return whether there are weights at a path, with the sidecar that describes them beside them."""
    try:
        return read_sidecar(path).sha256 == sha256(path)
    except (CheckpointError, OSError):
        return False


def load_checkpoint(path: Path | str) -> tuple[dict[str, torch.Tensor], Sidecar]:
    """Load weights, on the CPU, and their sidecar, which must belong together.

    Args:
        path: The weights, `model.pt`.

    Raises:
        CheckpointError: One of the two does not exist or is damaged, or they do not belong together.
    """
    path = Path(path)
    sidecar = read_sidecar(path)
    found = sha256(path)
    if found != sidecar.sha256:
        expected = f"the weights that {sidecar_path(path).name} describes (SHA-256 {sidecar.sha256[:12]})"
        raise CheckpointError(path, expected, f"other weights ({found[:12]})", COPY_BOTH)
    state = _plain_state(path)
    _check_size(state, sidecar, path)
    return state, sidecar


def load_network(path: Path | str, channels: Sequence[str] | None = None, **stated: Any) -> tuple[MRHNet, Sidecar]:
    """Load a network with its trained weights, in evaluation mode.

    Args:
        path: The weights, `model.pt`.
        channels: Names of the user's channels, compared with the network's; None not to compare them.
        stated: Fields of `Sidecar` that the user stated, such as ``residual_blocks=5``; None where nothing was stated.

    Raises:
        CheckpointError: The weights cannot be loaded, see `load_checkpoint`, or contradict the channels or what was stated.
    """
    network = read_sidecar(path).network()
    return network.eval(), load_into(network, path, channels, **stated)


def load_into(network: torch.nn.Module, path: Path | str, channels: Sequence[str] | None = None, **stated: Any) -> Sidecar:
    """Load trained weights into a network that is already built, see `load_network`.

    Args:
        network: Network of the shape that the sidecar says.
        path: The weights, `model.pt`.
        channels: Names of the user's channels; None not to compare them.
        stated: Fields of `Sidecar` that the user stated.

    Returns:
        The sidecar of the weights.
    """
    state, sidecar = load_checkpoint(path)
    sidecar.check_agreement(path, channels, **stated)
    load_strictly(network, state, path)
    return sidecar


def with_intervals(network: MRHNet, path: Path | str, sidecar: Sidecar, wanted: bool = True) -> MRHNet | IntervalNetwork:
    """Return a trained network together with its interval head, if it has one that was measured on subjects.

    Args:
        network: The network with its trained weights.
        path: The weights, `model.pt`, beside which the head lies.
        sidecar: Their sidecar.
        wanted: Whether intervals are wanted; otherwise the network is returned as it is.

    Raises:
        CheckpointError: The head cannot be loaded, see `load_interval_head`.
    """
    if not wanted or not sidecar.gives_intervals:
        return network
    head = load_interval_head(path, sidecar).to(next(network.parameters()).device)
    return IntervalNetwork(network, head).eval()


def load_interval_head(path: Path | str, sidecar: Sidecar) -> IntervalHead:
    """Load the interval head that lies beside some weights, on the CPU and in evaluation mode.

    Args:
        path: The weights, `model.pt`.
        sidecar: Their sidecar, which says that there is a head.

    Raises:
        CheckpointError: The head does not exist, is damaged, or belongs to another network.
    """
    where, described = head_path(path), "" if sidecar.intervals is None else sidecar.intervals.sha256
    if not where.is_file():
        expected = f"the interval head of {Path(path).name}, which {sidecar_path(path).name} describes"
        raise CheckpointError(where, expected, "no such file", f"{COPY_ALL}, or predict without intervals")
    found = sha256(where)
    if found != described:
        expected = f"the interval head that {sidecar_path(path).name} describes (SHA-256 {described[:12]})"
        raise CheckpointError(where, expected, f"another one ({found[:12]})", COPY_ALL)
    state, shape = _plain_state(where), (sidecar.patch.width ** len(sidecar.patch_axes), sidecar.features)
    with torch.device("meta"):  # a sidecar may describe a head of any size
        described_state = IntervalHead(*shape).state_dict()
    shapes, found_shapes = ({key: tuple(tensor.shape) for key, tensor in each.items()} for each in (described_state, state))
    if shapes != found_shapes:
        raise CheckpointError(where, f"an interval head of {sidecar.features} features, {shapes}", f"{found_shapes}", COPY_ALL)
    if not (state["deviation"] > 0).all() or not state["median_error"] > 0:
        raise CheckpointError(where, "an interval head whose deviations and median error are above 0", "others", AGAIN)
    head = IntervalHead(*shape)
    head.load_state_dict(state)
    return head.eval()


def save_intervals(path: Path | str, sidecar: Sidecar, calibration: Calibration, head: IntervalHead) -> Calibration:
    """Write the interval head of weights that stay as they are, and its calibration into their sidecar.

    Args:
        path: The weights, `model.pt`.
        sidecar: Their sidecar.
        calibration: What was measured of the head; its SHA-256 is filled in here.
        head: The head.

    Returns:
        The calibration as written.

    Raises:
        OutputError: A file cannot be written.
    """
    data = weights_bytes(head.state_dict())
    written = replace(calibration, sha256=hashlib.sha256(data).hexdigest())
    # The head is in its place before the sidecar says so: the last one that is opened is replaced first.
    with replacing(sidecar_path(path)) as sidecar_file, replacing(head_path(path)) as head_file:
        head_file.write_bytes(data)
        sidecar_file.write_text(_as_text(replace(sidecar, intervals=written)))
    return written


def load_strictly(network: torch.nn.Module, state: Mapping[str, torch.Tensor], where: object) -> None:
    """Load weights whose keys and shapes must all fit.

    Args:
        network: Network to load them into.
        state: State dict.
        where: File that the error names.

    Raises:
        CheckpointError: A key or a shape differs; the sentence names the first difference.
    """
    own = network.state_dict()
    remedy = "build the network that the weights were trained with"
    differing = [key for key in {**own, **state} if key not in own or key not in state]
    if differing:
        key = differing[0]
        expected, found = ("this tensor", "no such tensor") if key in own else ("no such tensor", "this tensor")
        mine, theirs = (len({k.split(".")[1] for k in keys if k.startswith("blocks.")}) for keys in (own, state))
        where = f"{where}, tensor {key}"
        raise CheckpointError(where, f"{expected} ({mine} residual blocks)", f"{found} ({theirs} residual blocks)", remedy)
    for key, tensor in own.items():
        if tensor.shape != state[key].shape:
            raise CheckpointError(f"{where}, tensor {key}", f"shape {tuple(tensor.shape)}", f"{tuple(state[key].shape)}", remedy)
    network.load_state_dict(state)


def _plain_state(path: Path) -> dict[str, torch.Tensor]:
    try:
        _check_records(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch passes on any exception of the unpickler
        raise CheckpointError(path, "a PyTorch state dict", cause_in_words(error), AGAIN) from error
    _check_state(state, path)
    return dict(state)


def _check_records(path: Path) -> None:
    """Refuse a state dict whose zip file holds compressed records: torch writes no such records, but would decompress them to any size."""
    with zipfile.ZipFile(path) as records:
        if any(record.compress_type != zipfile.ZIP_STORED for record in records.infolist()):
            raise ValueError("compressed records")


def _check_state(state: Any, path: Path) -> None:
    expected = "a plain state dict of finite numbers"
    if not isinstance(state, dict):
        raise CheckpointError(path, expected, f"a {type(state).__name__}", AGAIN)
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(f"{path}, {key}", expected, f"a {type(value).__name__}", AGAIN)
        plain = value.dtype in PLAIN and value.layout == torch.strided and value.device.type == "cpu"
        # A view can show one stored number as any amount of numbers.
        if not plain or not value.is_contiguous():
            raise CheckpointError(f"{path}, tensor {key}", expected, f"{value.dtype}, {value.layout} on {value.device}", AGAIN)
        if not value.isfinite().all():
            raise CheckpointError(f"{path}, tensor {key}", expected, "NaN or Inf", AGAIN)


def _check_size(state: Mapping[str, torch.Tensor], sidecar: Sidecar, path: Path) -> None:
    """Refuse a sidecar that describes a larger network than the weights can fill, before the network is built."""
    largest = max((size for tensor in state.values() for size in tensor.shape), default=0)
    if sidecar.residual_blocks > len(state) or sidecar.features > largest:
        shape = f"{sidecar.residual_blocks} residual blocks and {sidecar.features} features"
        expected = f"weights of {shape}, as {sidecar_path(path).name} says"
        raise CheckpointError(path, expected, f"{len(state)} tensors, the longest axis {largest}", COPY_BOTH)
