"""Starting from another bundle's network: what is copied, replaced and frozen, and the lineage that says so."""

from __future__ import annotations

import json
import logging
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from mrh_monai.errors import CheckpointError, MRHError, OptionError
from mrh_monai.io import BundleZip
from mrh_monai.network import MRHNet, Sidecar, load_checkpoint, read_sidecar, sidecar_path
from mrh_monai.scaling import Scaling

logger = logging.getLogger(__name__)

GET_ONE = (
    "train the parent bundle first, import published weights into it (mrh import-matlab), name another parent with --pretrained, "
    "or train from scratch with --pretrained none"
)


@dataclass(frozen=True)
class Parent:
    """A trained network to start from.

    Attributes:
        where: The bundle folder, zip or `.pt` as named.
        state: Its state dict, on the CPU.
        sidecar: Its description.
    """

    where: Path
    state: dict[str, torch.Tensor]
    sidecar: Sidecar


def load_parent(pretrained: Any, bundle_root: Path | str) -> Parent | None:
    """The network that a bundle starts from.

    Args:
        pretrained: A bundle folder, a bundle zip, or a `.pt` with its sidecar beside it; None for none.
        bundle_root: The bundle that starts, which cannot be its own parent.

    Raises:
        CheckpointError: There are no such weights, they are damaged, or are the bundle's own; the remedy says how to get some.
    """
    if pretrained is None:
        return None
    where = Path(str(pretrained))
    own = Path(bundle_root).resolve()
    if where.resolve() == own or own in where.resolve().parents:
        raise CheckpointError(where, "another bundle as parent", "the bundle itself", GET_ONE)
    parent = _read_parent(where, own)
    weights = own / "models" / "model.pt"
    if _is_described_by(weights, parent.sidecar):
        raise CheckpointError(where, "another bundle's weights as parent", f"a copy of {weights}, the bundle's own", GET_ONE)
    return parent


def _is_described_by(weights: Path, sidecar: Sidecar) -> bool:
    """Whether a bundle's weights are those of a sidecar, for the same stain. What cannot be read is about to be trained anew."""
    try:
        own = read_sidecar(weights)
    except CheckpointError:
        return False
    return (own.sha256, own.stain) == (sidecar.sha256, sidecar.stain)


def _read_parent(where: Path, own: Path) -> Parent:
    if zipfile.is_zipfile(where) and where.suffix != ".pt":
        return _from_zip(where, own)
    weights = where / "models" / "model.pt" if where.is_dir() else where
    if where.suffix == ".zip" and where.is_file():
        raise CheckpointError(where, "a bundle zip", "a damaged one", f"copy it again, or {GET_ONE}")
    if not weights.is_file():
        found = "a bundle without them" if where.is_dir() else "no such file"
        raise CheckpointError(weights, "the parent's trained weights", found, GET_ONE)
    metadata = where / "configs" / "metadata.json"
    if metadata.is_file():
        _check_version(where, where.resolve().name, metadata.read_bytes(), own)
    return Parent(where, *load_checkpoint(weights))


def _check_version(where: Path, name: str, metadata: bytes, own: Path) -> None:
    """Hold a parent bundle of the declared name against the declared range of versions."""
    try:
        declaration = own / "configs" / "metadata.json"
        declared = json.loads(declaration.read_text()).get("pretrained")
        version = json.loads(metadata)["version"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # without metadata nothing is declared
    if not declared:
        return
    try:
        # A packed bundle says what it was trained from, which need not be what it had declared, and then has no range.
        span = declared["version"] if "used" not in declared else declared.get("version", "")
        fits = declared["name"] != name or SpecifierSet(span).contains(version, prereleases=True)
    except (InvalidSpecifier, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            declaration, "`pretrained` with a name and a range of versions such as >=0.1,<0.2", f"{declared!r}", "mend the metadata"
        ) from error
    if not fits:
        expected = f"{name} of version {span} as {own.name} declares"
        raise CheckpointError(where, expected, f"version {version}", "use a fitting release of the parent bundle, or train it anew")


def _from_zip(where: Path, own: Path) -> Parent:
    try:
        with BundleZip(where) as archive, tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "model.pt"
            for name, path in (("models/model.pt", weights), ("models/model.json", sidecar_path(weights))):
                if name not in archive.files:
                    raise CheckpointError(where, f"{name} in it", "none", f"pack it again with `mrh pack`, or {GET_ONE}")
                path.write_bytes(archive.read(name))
            if "configs/metadata.json" in archive.files:
                _check_version(where, archive.name, archive.read("configs/metadata.json"), own)
            return Parent(where, *load_checkpoint(weights))
    except MRHError as error:
        raise CheckpointError(where, error.expected, error.found, error.remedy) from error


def depth(asked: int | None, parent: Parent | None, default: int) -> int:
    """How many residual blocks a network has: as asked for, as its parent has, or else the default."""
    return asked if asked is not None else parent.sidecar.residual_blocks if parent is not None else default


def inherited_scaling(parent: Parent | None, channels: Sequence[str], asked: str | None = None) -> Scaling | None:
    """The scaling that comes with a parent's weights, whose first convolutions expect it.

    Args:
        parent: None for none.
        channels: The network's. With other channels than the parent's a subject's level is another number, so that constants are not its.
        asked: The scaling that the user typed; None for none.

    Raises:
        OptionError: The user asked for another scaling than the parent's.
    """
    if parent is None or list(channels) != parent.sidecar.channels:
        return None
    mode = parent.sidecar.scaling.mode
    if asked not in (None, mode):
        raise OptionError("scaling", f"{mode} as the parent {parent.where} has", f"{asked}", f"drop --scaling, or {GET_ONE}")
    return parent.sidecar.scaling


def convolutions(network: MRHNet) -> list[str]:
    """Names of a network's convolutions in the order of computing."""
    return [name.removesuffix(".weight") for name in network.state_dict() if name.endswith(".weight")]


def start_from(
    network: MRHNet,
    parent: Parent | None,
    channels: Sequence[str],
    *,
    frozen: int = 0,
    replaced: int = 0,
    new_channels: bool = False,
) -> tuple[MRHNet, dict[str, Any] | None]:
    """Give a network its parent's weights, and freeze what is not to be trained.

    Args:
        network: Freshly initialised; what is replaced keeps these weights.
        parent: None leaves the network as it is.
        channels: The network's channels by name. Where the parent's are others, the first convolution's weights are copied by name.
        frozen: Convolutions not trained: the first so many, or if negative all but the last so many. Where channels differ the first
            convolution is trained in any case, and no other is frozen for being among the first.
        replaced: Convolutions, counted from the last, that do not start from the parent's.
        new_channels: Whether channels that the parent lacks may start from their own first weights, and others of it be dropped.

    Returns:
        The same network, and the lineage for the sidecar: the parent's weights by SHA-256, and which tensors were copied, copied in part
        (the channels that both have), replaced and frozen; None without a parent.

    Raises:
        CheckpointError: The parent is of another shape; both sides are named.
        OptionError: More convolutions are to be frozen or replaced than there are, or one is to be both.
    """
    if parent is None:
        return network, None
    order = convolutions(network)
    if abs(frozen) > len(order) or not 0 <= replaced <= len(order):
        raise OptionError("frozen, replaced", f"at most {len(order)} convolutions", f"{frozen}, {replaced}", "mend the recipe")
    _check_shape(network, parent)
    shared = _shared_channels(parent, channels, new_channels)
    theirs = parent.sidecar.channels
    new, dropped = [name for name in channels if name not in theirs], [name for name in theirs if name not in channels]
    still = set(order[:frozen])
    if new or dropped:
        still = still - {order[0]} if frozen < 0 else set()
    renewed = set(order[len(order) - replaced :])
    if still & renewed:
        raise OptionError("frozen, replaced", "new convolutions that are trained", f"{frozen}, {replaced}", "mend the recipe")
    own = network.state_dict()
    copied: list[str] = []
    partly: list[str] = []
    with torch.no_grad():
        for key, tensor in own.items():
            if key.rpartition(".")[0] in renewed:
                continue
            if key == "conv1.weight" and shared is not None:
                tensor[:, [mine for mine, _ in shared]] = parent.state[key][:, [old for _, old in shared]]
                if new and not shared:
                    continue
                (partly if new else copied).append(key)
            else:
                tensor.copy_(parent.state[key])
                copied.append(key)
    for key, parameter in network.named_parameters():
        parameter.requires_grad_(key.rpartition(".")[0] not in still)
    lineage = {
        "name": parent.where.name,
        "stain": parent.sidecar.stain,
        "sha256": parent.sidecar.sha256,
        "copied": copied,
        "partly_copied": partly,
        "replaced": [key for key in own if key not in copied and key not in partly],
        "frozen": [key for key in own if key.rpartition(".")[0] in still],
        "new_channels": new,
        "dropped_channels": dropped,
    }
    logger.info(
        "from %s (%s, SHA-256 %s): %d tensors copied, %d in part, %d replaced, %d frozen, %d new channels",
        parent.where, parent.sidecar.stain, parent.sidecar.sha256[:12],
        len(copied), len(partly), len(lineage["replaced"]), len(lineage["frozen"]), len(new),
    )  # fmt: skip
    return network, lineage


def _check_shape(network: MRHNet, parent: Parent) -> None:
    sidecar = parent.sidecar
    planes = network.conv1.weight.ndim - 2  # type: ignore[operator]
    for name, mine, theirs, remedy in (
        ("residual blocks", len(network.blocks), sidecar.residual_blocks, f"give --residual_blocks {sidecar.residual_blocks}, or drop it"),
        ("features", network.conv1.out_channels, sidecar.features, "start from a parent of this shape"),
        ("patch axes", planes, len(sidecar.patch_axes), "start from a parent of this shape"),
    ):
        if mine != theirs:
            raise CheckpointError(f"{parent.where}, parent", f"{mine} {name} as this network has", f"{theirs}", remedy)
    reference = sidecar.network().state_dict()
    wrong = next((key for key in {**reference, **parent.state} if _shape(reference, key) != _shape(parent.state, key)), None)
    if wrong is not None:
        expected, found = (f"{_shape(state, wrong) or 'none'}" for state in (reference, parent.state))
        raise CheckpointError(f"{parent.where}, tensor {wrong}", f"an MRH-Net's: {expected}", found, "start from a bundle of this project")


def _shape(state: dict[str, torch.Tensor], key: str) -> tuple[int, ...] | None:
    return tuple(state[key].shape) if key in state else None


def _shared_channels(parent: Parent, channels: Sequence[str], new_channels: bool) -> list[tuple[int, int]] | None:
    """Pairs of places of the channels that both have; None where they are the same in the same order."""
    theirs = parent.sidecar.channels
    if list(channels) == theirs:
        return None
    new = [name for name in channels if name not in theirs]
    gone = [name for name in theirs if name not in channels]
    if (new or gone) and not new_channels:
        found = "; ".join(
            f"{len(names)} that only {who} has: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
            for who, names in (("this bundle", new), ("the parent", gone))
            if names
        )
        remedy = "give --new_channels True to copy the shared ones and start the new ones afresh"
        raise CheckpointError(f"{parent.where}, parent", "the same channels", found, remedy)
    return [(place, theirs.index(name)) for place, name in enumerate(channels) if name in theirs]
