"""Weights and their sidecar, written together and checked on load.

`model.pt` is a plain state dict, so that MONAI's tools read it; `model.json` beside it says which network it is, how intensities are
scaled, and where it came from.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from mrh_monai.data import check_axes
from mrh_monai.errors import CheckpointError, OptionError
from mrh_monai.io import replacing, sha256
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.scaling import Scaling

# It becomes a part of file names.
STAIN = re.compile(r"[A-Za-z0-9][\w-]{0,31}", re.A)
LARGEST_SIDECAR = 64 << 20
PLAIN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
TRAIN_FIRST = "train the bundle first, import weights into it, or name trained ones (--ckpt_path of the bundle's configs)"


@dataclass(frozen=True)
class Sidecar:
    """What inference needs to know of a network, and its lineage.

    Attributes:
        stain: Short name, as in result files: ``af``, ``nf``, ``mbp``.
        units: Units of the stain's intensities.
        channels: Names of the input channels in order.
        residual_blocks: B.
        features: F.
        patch_axes: Array axes that a patch spans.
        patch_radius: Half the patch's edge, rounded down.
        scaling: Constants of the training set.
        sha256: Of `model.pt`.
        parent: The network that this one started from; None for none.
        source: How the weights were made: recipe, seed, scores and the like.
    """

    stain: str
    units: str
    channels: list[str]
    residual_blocks: int
    features: int
    patch_axes: list[int]
    patch_radius: int
    scaling: Scaling
    sha256: str = ""
    parent: dict[str, Any] | None = None
    source: dict[str, Any] = field(default_factory=dict)

    def network(self) -> MRHNet:
        """An `MRHNet` of this shape, its weights not yet loaded."""
        return MRHNet(len(self.channels), self.features, self.residual_blocks, spatial_dims=len(self.patch_axes))


def sidecar_path(weights: Path | str) -> Path:
    """`model.json` beside `model.pt`."""
    return Path(weights).with_suffix(".json")


def weights_bytes(state: Mapping[str, torch.Tensor]) -> bytes:
    """The file content of a plain state dict, on the CPU; the same weights give the same bytes."""
    buffer = io.BytesIO()
    torch.save({key: value.detach().to("cpu", copy=True).contiguous() for key, value in state.items()}, buffer)
    return buffer.getvalue()


def save_checkpoint(path: Path | str, state: Mapping[str, torch.Tensor], sidecar: Sidecar) -> Sidecar:
    """Write weights and sidecar, each whole; neither is put in place before both are on disk.

    A reader that comes between the two is told that they do not match.

    Args:
        path: `model.pt`; the sidecar goes beside it.
        state: A plain state dict.
        sidecar: Its description; the SHA-256 is filled in.

    Returns:
        The sidecar as written.
    """
    data = weights_bytes(state)
    sidecar = replace(sidecar, sha256=hashlib.sha256(data).hexdigest())
    text = json.dumps(asdict(sidecar), indent=2, allow_nan=False) + "\n"
    with replacing(path) as weights_file, replacing(sidecar_path(path)) as sidecar_file:
        weights_file.write_bytes(data)
        sidecar_file.write_text(text)
    return sidecar


def read_sidecar(path: Path | str) -> Sidecar:
    """The sidecar of some weights, not yet compared with them.

    Raises:
        CheckpointError: The weights or the sidecar are missing, or the sidecar is broken.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(path, "trained weights", "a folder" if path.is_dir() else "no such file", TRAIN_FIRST)
    beside = sidecar_path(path)
    if not beside.is_file():
        remedy = "copy both files together; weights alone do not say how to scale intensities"
        raise CheckpointError(beside, f"the sidecar of {path.name}", "no such file", remedy)
    try:
        if beside.stat().st_size > LARGEST_SIDECAR:
            raise ValueError(f"{beside.stat().st_size >> 20} MiB")
        values = json.loads(beside.read_text())
        sidecar = Sidecar(**{**values, "scaling": Scaling.from_dict(values["scaling"])})
        _check_types(sidecar)
    except (UnicodeDecodeError, ValueError, KeyError, TypeError, RecursionError, OptionError) as error:
        raise CheckpointError(beside, "a sidecar of this project", f"{error!r}", "train or import the network again") from error
    except CheckpointError as error:
        raise CheckpointError(beside, error.expected, error.found, error.remedy) from error
    return sidecar


def _check_types(sidecar: Sidecar) -> None:
    """What a dataclass does not look at: a stranger's sidecar may say anything.

    Raises:
        TypeError: A field is of another type.
        ValueError: The stain cannot name files; there are not as many constants as channels.
        OptionError: The axes are impossible.
    """
    for name, kind in (("stain", str), ("units", str), ("sha256", str), ("channels", list), ("patch_axes", list), ("source", dict)):
        if not isinstance(getattr(sidecar, name), kind):
            raise TypeError(f"{name} is {getattr(sidecar, name)!r}")
    if not STAIN.fullmatch(sidecar.stain):
        raise ValueError(f"the stain {sidecar.stain!r}")
    for name, least in (("residual_blocks", 0), ("features", 1), ("patch_radius", 1)):
        value = getattr(sidecar, name)
        if type(value) is not int or value < least:
            raise TypeError(f"{name} is {value!r}")
    if not sidecar.channels or not all(isinstance(channel, str) for channel in sidecar.channels):
        raise TypeError("channels are not names")
    if sidecar.parent is not None and not isinstance(sidecar.parent, dict):
        raise TypeError(f"parent is {sidecar.parent!r}")
    check_axes(sidecar.patch_axes)
    constants = len(sidecar.scaling.channel_mean)
    if sidecar.scaling.mode != "published" and constants != len(sidecar.channels):
        raise ValueError(f"{constants} scaling constants for {len(sidecar.channels)} channels")


def load_checkpoint(path: Path | str) -> tuple[dict[str, torch.Tensor], Sidecar]:
    """Weights (on the CPU) and sidecar, which must belong together.

    Raises:
        CheckpointError: Either is missing or broken, or they do not belong together.
    """
    path = Path(path)
    sidecar = read_sidecar(path)
    found = sha256(path)
    if found != sidecar.sha256:
        raise CheckpointError(
            path, f"the weights that {sidecar_path(path).name} describes (SHA-256 {sidecar.sha256[:12]})", f"others ({found[:12]})",
            "copy both files together from one training",
        )  # fmt: skip
    try:
        _check_records(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the unpickler does
        raise CheckpointError(path, "a PyTorch state dict", f"{type(error).__name__}", "train or import the network again") from error
    _check_state(state, path)
    _check_size(state, sidecar, path)
    return state, sidecar


def _check_records(path: Path) -> None:
    """Of the zip that a state dict is: torch stores its records, but would also inflate them, to any size."""
    with zipfile.ZipFile(path) as records:
        if any(record.compress_type != zipfile.ZIP_STORED for record in records.infolist()):
            raise ValueError("compressed records")


def _check_state(state: Any, path: Path) -> None:
    expected, remedy = "a plain state dict of finite numbers", "train or import the network again"
    if not isinstance(state, dict):
        raise CheckpointError(path, expected, f"a {type(state).__name__}", remedy)
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(f"{path}, {key}", expected, f"a {type(value).__name__}", remedy)
        plain = value.dtype in PLAIN and value.layout == torch.strided and value.device.type == "cpu"
        # A view can show one number as any amount of them.
        if not plain or not value.is_contiguous():
            raise CheckpointError(f"{path}, tensor {key}", expected, f"{value.dtype}, {value.layout} on {value.device}", remedy)
        if not value.isfinite().all():
            raise CheckpointError(f"{path}, tensor {key}", expected, "NaN or Inf", remedy)


def _check_size(state: Mapping[str, torch.Tensor], sidecar: Sidecar, path: Path) -> None:
    """Before a network is built as the sidecar says: that it is no larger than the weights."""
    largest = max((size for tensor in state.values() for size in tensor.shape), default=0)
    if sidecar.residual_blocks > len(state) or sidecar.features > largest:
        expected = (
            f"weights of {sidecar.residual_blocks} residual blocks and {sidecar.features} features, as {sidecar_path(path).name} says"
        )
        raise CheckpointError(
            path, expected, f"{len(state)} tensors, none longer than {largest}", "copy both files together from one training"
        )


def load_network(path: Path | str, channels: Sequence[str] | None = None, **asked: Any) -> tuple[MRHNet, Sidecar]:
    """A network with its trained weights, in evaluation mode.

    Args:
        path: `model.pt`.
        channels: The channel names that the user has, compared with the network's; None to take the network's.
        asked: Fields of `Sidecar` that the user stated, such as ``residual_blocks=5``; None where not stated.

    Raises:
        CheckpointError: As `load_checkpoint`, and where the network contradicts the channels or what was asked for.
    """
    network = read_sidecar(path).network()
    return network.eval(), load_into(network, path, channels, **asked)


def stated(path: Path | str, name: str, default: Any, asked: Any = None) -> Any:
    """A field of some weights' sidecar; without weights what was asked for, or else the default. Configs build before they load."""
    if Path(path).is_file():
        return getattr(read_sidecar(path), name)
    return default if asked is None else asked


def load_into(network: torch.nn.Module, path: Path | str, channels: Sequence[str] | None = None, **asked: Any) -> Sidecar:
    """Load trained weights into a network that is already built.

    Args:
        network: Of the shape that the sidecar says.
        path: `model.pt`.
        channels: As `load_network`.
        asked: As `load_network`.

    Raises:
        CheckpointError: As `load_network`.
    """
    state, sidecar = load_checkpoint(path)
    check_agreement(path, sidecar, channels, **asked)
    load_strictly(network, state, path)
    return sidecar


def check_agreement(path: Path | str, sidecar: Sidecar, channels: Sequence[str] | None = None, **asked: Any) -> None:
    """Compare a network with what the user has or asks for.

    Raises:
        CheckpointError: They differ; both sides are named.
    """
    for name, value in asked.items():
        found = getattr(sidecar, name)
        if value is not None and value != found:
            raise CheckpointError(path, f"{name} = {value} as asked for", f"{name} = {found}", f"drop --{name}, or name other weights")
    if channels is None:
        return
    if len(channels) != len(sidecar.channels):
        raise CheckpointError(
            path, f"{len(channels)} channels", f"{len(sidecar.channels)}", "name weights trained on this bundle's protocol"
        )
    for index, (mine, theirs) in enumerate(zip(channels, sidecar.channels, strict=True)):
        if mine != theirs:
            raise CheckpointError(path, f"{mine} as channel {index}", theirs, "name weights trained on this bundle's protocol")


def load_strictly(network: torch.nn.Module, state: Mapping[str, torch.Tensor], where: object) -> None:
    """Load weights of which every key and shape must fit.

    Raises:
        CheckpointError: One does not; the first difference is named.
    """
    own = network.state_dict()
    remedy = "build the network that the weights were trained with"
    differing = [key for key in {**own, **state} if key not in own or key not in state]
    if differing:
        key = differing[0]
        expected, found = ("it", "none") if key in own else ("no such tensor", "it")
        blocks = [len({k.split(".")[1] for k in keys if k.startswith("blocks.")}) for keys in (own, state)]
        raise CheckpointError(
            f"{where}, tensor {key}", f"{expected} ({blocks[0]} residual blocks)", f"{found} ({blocks[1]} residual blocks)", remedy
        )
    for key, tensor in own.items():
        if tensor.shape != state[key].shape:
            raise CheckpointError(f"{where}, tensor {key}", f"shape {tuple(tensor.shape)}", f"{tuple(state[key].shape)}", remedy)
    network.load_state_dict(state)
