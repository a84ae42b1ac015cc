"""Start a network from the weights of its parent: which tensors are copied, replaced and frozen, and the lineage that records it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from mrh_monai.errors import CheckpointError, OptionError
from mrh_monai.network import MRHNet
from mrh_monai.training.parent import Parent

logger = logging.getLogger(__name__)


class Start(NamedTuple):
    """A network that is ready to be trained.

    Attributes:
        network: The network; parameters that are not to be trained need no gradient.
        lineage: The parent by name, stain and SHA-256, and which tensors were copied, copied in part (only the channels that both networks
            have), replaced and frozen, for the sidecar; None without a parent.
    """

    network: MRHNet
    lineage: dict[str, Any] | None

    @property
    def replaced(self) -> list[str]:
        """Names of the parameters that did not start from the parent's; an empty list without a parent."""
        return [] if self.lineage is None else list(self.lineage["replaced"])


def convolutions(network: MRHNet) -> list[str]:
    """Return the names of the convolutions of a network, in the order in which they are computed.

    Example:
        >>> convolutions(MRHNet(67, residual_blocks=1))
        ['conv1', 'conv2', 'blocks.0.conv1', 'blocks.0.conv2', 'conv4', 'conv5']
    """
    return [name.removesuffix(".weight") for name in network.state_dict() if name.endswith(".weight")]


def start_from_parent(
    network: MRHNet,
    parent: Parent | None,
    channels: Sequence[str],
    *,
    frozen: int = 0,
    replaced: int = 0,
    new_channels: bool = False,
) -> Start:
    """Give a network the weights of its parent, and freeze the convolutions that are not to be trained.

    Args:
        network: Network with its initial weights; convolutions that are replaced keep these.
        parent: Network from which training starts; None leaves the network as it is.
        channels: Names of the network's channels. Where they differ from the parent's, the weights of the first convolution are copied by
            name.
        frozen: Number of convolutions that are not trained: the first ones; if negative, all except the last ones. Where the channels
            differ, the first convolution is trained in any case, and no other one is frozen because it is among the first.
        replaced: Number of convolutions, counted from the last, that do not start from the parent's weights.
        new_channels: Whether channels that the parent does not have may start from the network's random weights, and whether channels that
            only the parent has may be dropped.

    Returns:
        The network and its lineage.

    Raises:
        CheckpointError: The parent has another shape or other channels; the sentence names both sides.
        OptionError: More convolutions are to be frozen or replaced than the network has, or one of them is to be both frozen and replaced.
    """
    if parent is None:
        return Start(network, None)
    order = convolutions(network)
    asked = f"frozen = {frozen} and replaced = {replaced}"
    remedy = "correct the recipe, or the entry for it under `transfers`"
    if abs(frozen) > len(order) or not 0 <= replaced <= len(order):
        raise OptionError("frozen, replaced", f"at most {len(order)} convolutions", asked, remedy)
    _check_shape(network, parent)
    shared = _shared_channels(parent, channels, new_channels)
    theirs = parent.sidecar.channels
    new, dropped = [name for name in channels if name not in theirs], [name for name in theirs if name not in channels]
    still = set(order[:frozen])
    if new or dropped:
        still = still - {order[0]} if frozen < 0 else set()
    renewed = set(order[len(order) - replaced :])
    if still & renewed:
        raise OptionError("frozen, replaced", "convolutions that are replaced and then trained", asked, remedy)
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
        "training starts from %s (%s, SHA-256 %s): %d tensors copied, %d copied in part, %d replaced, %d frozen, %d new channels",
        parent.where, parent.sidecar.stain, parent.sidecar.sha256[:12],
        len(copied), len(partly), len(lineage["replaced"]), len(lineage["frozen"]), len(new),
    )  # fmt: skip
    return Start(network, lineage)


def _check_shape(network: MRHNet, parent: Parent) -> None:
    sidecar = parent.sidecar
    planes = network.conv1.weight.ndim - 2  # type: ignore[operator]
    depth = f"give --residual_blocks {sidecar.residual_blocks}, or leave it out"
    other = "start from a parent of this shape"
    for name, mine, theirs, remedy in (
        ("residual blocks", len(network.blocks), sidecar.residual_blocks, depth),
        ("features", network.conv1.out_channels, sidecar.features, other),
        ("patch axes", planes, len(sidecar.patch_axes), other),
    ):
        if mine != theirs:
            raise CheckpointError(f"{parent.where}, parent", f"{mine} {name} as this network has", f"{theirs}", remedy)
    reference = sidecar.network().state_dict()
    wrong = next((key for key in {**reference, **parent.state} if _shape(reference, key) != _shape(parent.state, key)), None)
    if wrong is not None:
        expected, found = (_shape_in_words(state, wrong) for state in (reference, parent.state))
        remedy = "start from a bundle of this project"
        raise CheckpointError(f"{parent.where}, tensor {wrong}", f"{expected} as an MRH-Net has", found, remedy)


def _shape(state: dict[str, torch.Tensor], key: str) -> tuple[int, ...] | None:
    return tuple(state[key].shape) if key in state else None


def _shape_in_words(state: dict[str, torch.Tensor], key: str) -> str:
    shape = _shape(state, key)
    return "no such tensor" if shape is None else f"shape {shape}"


def _shared_channels(parent: Parent, channels: Sequence[str], new_channels: bool) -> list[tuple[int, int]] | None:
    """Return pairs of places of the channels that both networks have; None where the channels are the same in the same order."""
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
        remedy = "give --new_channels True to copy the shared channels by name and to start the new ones from random weights"
        raise CheckpointError(f"{parent.where}, parent", "the same channels", found, remedy)
    return [(place, theirs.index(name)) for place, name in enumerate(channels) if name in theirs]
