"""The parent of a bundle: the trained network of another bundle, from which its training starts."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from mrh_monai.errors import CheckpointError, MRHError, OptionError
from mrh_monai.io import BundleZip
from mrh_monai.network import Sidecar, load_checkpoint, read_sidecar, sidecar_path
from mrh_monai.scaling import Scaling

REMEDY = (
    "train the parent bundle first, import published weights into it (mrh import-matlab), name another parent with --pretrained, "
    "or train from scratch with --pretrained none"
)


@dataclass(frozen=True)
class Parent:
    """A trained network from which another one starts.

    Attributes:
        where: The bundle folder, bundle zip or `.pt` file, as the user named it.
        state: State dict of the network, on the CPU.
        sidecar: Sidecar of the weights.
    """

    where: Path
    state: dict[str, torch.Tensor]
    sidecar: Sidecar


def load_parent(pretrained: Path | str | None, bundle_root: Path | str) -> Parent | None:
    """Load the network from which a bundle starts.

    Args:
        pretrained: A bundle folder, a bundle zip, or a `.pt` file with its sidecar beside it; None to train from scratch.
        bundle_root: Folder of the bundle that is trained, which cannot be its own parent.

    Returns:
        The parent; None to train from scratch.

    Raises:
        CheckpointError: The weights do not exist, are damaged, are the bundle's own, or are of a version that the bundle does not accept.
    """
    if pretrained is None:
        return None
    where = Path(pretrained)
    own = Path(bundle_root).resolve()
    if where.resolve() == own or own in where.resolve().parents:
        raise CheckpointError(where, "another bundle as parent", "the bundle itself", REMEDY)
    parent = _read_parent(where, own)
    weights = own / "models" / "model.pt"
    if _is_described_by(weights, parent.sidecar):
        raise CheckpointError(where, "another bundle's weights as parent", f"a copy of {weights}, the bundle's own", REMEDY)
    return parent


def number_of_residual_blocks(asked: int | None, parent: Parent | None, default: int) -> int:
    """Return the number of residual blocks of a network: what the user asked for, otherwise that of the parent, otherwise the default.

    Args:
        asked: Number that the user asked for; None for no number.
        parent: Network from which training starts; None to train from scratch.
        default: Number of blocks of a network that is trained from scratch.

    Example:
        >>> number_of_residual_blocks(None, None, 30), number_of_residual_blocks(5, None, 30)
        (30, 5)
    """
    if asked is not None:
        return asked
    return default if parent is None else parent.sidecar.residual_blocks


def inherited_scaling(parent: Parent | None, channels: Sequence[str], asked: str | None = None) -> Scaling | None:
    """Return the scaling that comes with the weights of a parent, because its first convolution expects images that are scaled so.

    Args:
        parent: Network from which training starts; None to train from scratch.
        channels: Names of the channels of the new network.
        asked: Scaling mode that the user asked for; None for no mode.

    Returns:
        The parent's scaling. None without a parent, and where its channels differ: the level of a subject is then another number, for
        which the parent's constants do not hold.

    Raises:
        OptionError: The user asked for another scaling mode than the parent's.
    """
    if parent is None or list(channels) != parent.sidecar.channels:
        return None
    mode = parent.sidecar.scaling.mode
    if asked not in (None, mode):
        raise OptionError("scaling", f"{mode} as the parent {parent.where} has", f"{asked}", f"leave --scaling out, or {REMEDY}")
    return parent.sidecar.scaling


def _is_described_by(weights: Path, sidecar: Sidecar) -> bool:
    """Return whether the weights of a bundle are those of a sidecar, for the same stain. If they cannot be read, return False."""
    try:
        own = read_sidecar(weights)
    except CheckpointError:
        return False
    return (own.sha256, own.stain) == (sidecar.sha256, sidecar.stain)


def _read_parent(where: Path, own: Path) -> Parent:
    if zipfile.is_zipfile(where) and where.suffix != ".pt":
        return _read_zip(where, own)
    weights = where / "models" / "model.pt" if where.is_dir() else where
    if where.suffix == ".zip" and where.is_file():
        raise CheckpointError(where, "a bundle zip", "a damaged file", f"copy it again, or {REMEDY}")
    if not weights.is_file():
        found = "a bundle without weights" if where.is_dir() else "no such file"
        raise CheckpointError(weights, "the parent's trained weights", found, REMEDY)
    metadata = where / "configs" / "metadata.json"
    if metadata.is_file():
        _check_version(where, where.resolve().name, metadata.read_bytes(), own)
    return Parent(where, *load_checkpoint(weights))


def _read_zip(where: Path, own: Path) -> Parent:
    try:
        with BundleZip(where) as archive, tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "model.pt"
            for name, path in (("models/model.pt", weights), ("models/model.json", sidecar_path(weights))):
                if name not in archive.files:
                    raise CheckpointError(where, f"a zip with {name}", "a zip without it", f"pack it again with `mrh pack`, or {REMEDY}")
                path.write_bytes(archive.read(name))
            if "configs/metadata.json" in archive.files:
                _check_version(where, archive.name, archive.read("configs/metadata.json"), own)
            return Parent(where, *load_checkpoint(weights))
    except MRHError as error:
        raise CheckpointError(where, error.expected, error.found, error.remedy) from error


def _check_version(where: Path, name: str, metadata: bytes, own: Path) -> None:
    """Compare the version of a parent with the range of versions that the bundle declares for a parent of this name."""
    try:
        declaration = own / "configs" / "metadata.json"
        declared = json.loads(declaration.read_text(encoding="utf-8-sig")).get("pretrained")
        version = json.loads(metadata)["version"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # without metadata, no range is declared
    if not declared:
        return
    try:
        # The metadata of a packed bundle name the parent that was used. It need not be the declared one, and then has no range.
        span = declared["version"] if "used" not in declared else declared.get("version", "")
        fits = declared["name"] != name or SpecifierSet(span).contains(version, prereleases=True)
    except (InvalidSpecifier, KeyError, TypeError, AttributeError) as error:
        expected = "`pretrained` with a name and a range of versions such as >=0.2,<0.3"
        raise CheckpointError(declaration, expected, f"{declared!r}", "correct `pretrained` in this file") from error
    if not fits:
        expected = f"{name} of version {span} as {own.name} declares"
        raise CheckpointError(where, expected, f"version {version}", "use a release of the parent in this range, or train the parent again")
