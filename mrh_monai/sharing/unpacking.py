"""Examine the bundle zip of a stranger before any part of it runs, and unpack it only if it passes all checks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mrh_monai.errors import BundleError, MRHError, OutputError
from mrh_monai.io import ASK_SENDER_AGAIN, BundleZip, sha256, writable_folder
from mrh_monai.network import Sidecar
from mrh_monai.sharing.config_code import Code, code_of
from mrh_monai.sharing.packing import HEAD, INFERENCE, MANIFEST, METADATA, WEIGHTS, check_weights
from mrh_monai.sharing.signing import check_signature
from mrh_monai.sharing.template_history import Difference, compare_with_releases

NEEDED = (METADATA, *WEIGHTS)


@dataclass(frozen=True)
class Examined:
    """A zip that passed all checks that are possible without running any part of it.

    Attributes:
        path: The zip.
        name: Name of the bundle.
        files: Paths inside the bundle, in order.
        code: Everything that its configs would run.
        difference: How its configs differ from the nearest release of this project.
        sidecar: Sidecar of its weights.
        signer: Name of the signer; None if the signature was not checked.
    """

    path: Path
    name: str
    files: list[str]
    code: list[Code]
    difference: Difference
    sidecar: Sidecar
    signer: str | None

    @property
    def foreign(self) -> list[Code]:
        """The code in its configs that this project did not write."""
        return self.difference.foreign

    def check_trust(self, trust: bool) -> None:
        """Refuse code that this project did not write, unless the sender is trusted.

        Args:
            trust: Whether the sender is trusted.

        Raises:
            BundleError: There is such code.
        """
        if self.foreign and not trust:
            first = f"{self.foreign[0]}"[:160]
            places = f"{len(self.foreign)} place{'s' if len(self.foreign) > 1 else ''}"
            found = f"other code in {places} ({first}{', ...' if len(self.foreign) > 1 else ''})"
            remedy = "read what `mrh verify` lists, and give --trust only if you would run this code"
            raise BundleError(self.path, "only code that this project wrote", found, remedy)


def verify(path: Path | str, signers: Path | str | None = None, signature: Path | str | None = None) -> Examined:
    """Examine a bundle zip, and leave no file behind.

    Args:
        path: The zip.
        signers: File of trusted signers, see `check_signature`; None not to check the signature.
        signature: The signature; None for ``PATH.sig``.

    Returns:
        What was found. `Examined.check_trust` refuses code that this project did not write.

    Raises:
        BundleError: The zip is damaged or unsafe, differs from its manifest, lacks what a bundle needs, or has no valid signature.
        CheckpointError: Its weights are not plain tensors, or do not fit its sidecar and protocol.
    """
    with tempfile.TemporaryDirectory() as folder, _examined(Path(path), Path(folder), signers, signature) as (examined, _):
        return examined


def unpack(
    path: Path | str, folder: Path | str, trust: bool = False, signers: Path | str | None = None, signature: Path | str | None = None
) -> Path:
    """Examine a bundle zip, and unpack it if it passes all checks; otherwise leave no file behind.

    Args:
        path: The zip.
        folder: Folder into which the bundle's own folder goes.
        trust: Whether configs may run code that this project did not write.
        signers: File of trusted signers, see `check_signature`; None not to check the signature.
        signature: The signature; None for ``PATH.sig``.

    Returns:
        The folder of the bundle.

    Raises:
        BundleError: The zip does not pass the checks, see `verify`; or it has foreign code and is not trusted.
        CheckpointError: Its weights are not plain tensors, or do not fit its sidecar and protocol.
        OutputError: The folder of the bundle exists and is not empty, or cannot be written.
    """
    folder = Path(folder)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    writable_folder(folder)
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".unpacking.", dir=folder) as place,
            _examined(Path(path), Path(place), signers, signature) as (examined, unpacked),
        ):
            examined.check_trust(trust)
            target = folder / examined.name
            if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
                found = "a file or a folder that is not empty"
                raise OutputError(target, "a new folder", found, "name another folder with -o, or move this folder away")
            os.replace(unpacked, target)
    except BaseException:
        for empty in made:
            empty.rmdir()
        raise
    return target


@contextmanager
def _examined(path: Path, place: Path, signers: Path | str | None, signature: Path | str | None) -> Iterator[tuple[Examined, Path]]:
    """Unpack a zip below ``place``, and examine it there."""
    if signature is not None and signers is None:
        remedy = "give --signers FILE too, with a line `name@example.org ssh-ed25519 AAAA...` for each signer"
        raise BundleError(signature, "a list of trusted signers to check it", "no list", remedy)
    signer = None if signers is None else check_signature(path, signers, signature)
    with BundleZip(path) as archive:
        if not archive.name:
            found = "files outside of one folder"
            raise BundleError(path, "a zip with one folder at its top, the bundle", found, "pack the bundle with `mrh pack`")
        lacking = [name for name in NEEDED if name not in archive.files]
        lacking += [] if set(INFERENCE) & set(archive.files) else [INFERENCE[0]]
        if lacking:
            raise BundleError(path, f"a bundle with {lacking[0]}", "no such file", "pack a trained bundle with `mrh pack`")
        root = place / archive.name
        archive.unpack(root)
        files = archive.files
        try:
            _check_manifest(root, files)
            texts = {name: (root / name).read_bytes() for name in files if name not in (*WEIGHTS, HEAD)}
            code, difference = code_of(texts), compare_with_releases(texts)
            sidecar = check_weights(root)
            if sidecar.intervals is None and HEAD in files:
                raise BundleError(HEAD, f"no such file, as {WEIGHTS[1]} says", "this file", ASK_SENDER_AGAIN)
        except MRHError as error:  # the sentence names the zip, because the place where it was examined is gone afterwards
            where = f"{path}, {error.where.removeprefix(f'{root}{os.sep}')}"
            raise type(error)(where, error.expected, error.found, error.remedy) from error
    yield Examined(path, root.name, files, code, difference, sidecar, signer), root


def _check_manifest(root: Path, files: list[str]) -> None:
    if MANIFEST not in files:
        raise BundleError(MANIFEST, "the list of the bundle's files", "no such file", "pack the bundle with `mrh pack`")
    try:
        lines = (root / MANIFEST).read_text(encoding="utf-8-sig").splitlines()
        listed = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except ValueError as error:
        raise BundleError(MANIFEST, "lines with a SHA-256 and a path", "other lines", ASK_SENDER_AGAIN) from error
    for name in sorted({*listed, *files} - {MANIFEST}):
        if name not in listed or name not in files:
            expected, found = ("no such file", "this file") if name not in listed else ("this file", "no such file")
            raise BundleError(name, f"{expected}, as {MANIFEST} says", found, ASK_SENDER_AGAIN)
        digest = sha256(root / name)
        if digest != listed[name]:
            raise BundleError(name, f"SHA-256 {listed[name][:12]} as {MANIFEST} says", digest[:12], ASK_SENDER_AGAIN)
