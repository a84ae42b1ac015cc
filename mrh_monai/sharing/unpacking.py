"""A stranger's bundle zip, examined before any of it is run, and unpacked only if it is sound."""

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
from mrh_monai.sharing.config_code import Code, code_of, foreign
from mrh_monai.sharing.packing import INFERENCE, MANIFEST, METADATA, WEIGHTS, check_weights
from mrh_monai.sharing.signing import check_signature

NEEDED = (METADATA, *WEIGHTS)


@dataclass(frozen=True)
class Examined:
    """A zip that is whole, as far as can be told without running any of it.

    Attributes:
        path: The zip.
        name: The bundle's.
        files: Paths inside the bundle, in order.
        code: All that its configs would run.
        foreign: What of it this project did not write.
        sidecar: Of its weights.
        signer: Who signed it; None if that was not asked.
    """

    path: Path
    name: str
    files: list[str]
    code: list[Code]
    foreign: list[Code]
    sidecar: Sidecar
    signer: str | None

    def check_trust(self, trust: bool) -> None:
        """Refuse code that this project did not write, unless its sender is trusted.

        Raises:
            BundleError: There is some.
        """
        if self.foreign and not trust:
            first = f"{self.foreign[0]}"[:160]
            found = f"{len(self.foreign)} that it did not ({first}{', ...' if len(self.foreign) > 1 else ''})"
            remedy = "read what `mrh verify` lists, and give --trust only if you would run it"
            raise BundleError(self.path, "code that this project wrote", found, remedy)


def verify(path: Path | str, signers: Path | str | None = None, signature: Path | str | None = None) -> Examined:
    """Examine a bundle zip, and leave nothing behind.

    Args:
        path: The zip.
        signers: Trusted signers, as `mrh_monai.sharing.signing.check_signature`; None not to ask.
        signature: ``PATH.sig`` if None.

    Raises:
        BundleError: It is damaged or unsafe, differs from its manifest, lacks what a bundle needs, or is not signed as it should be.
        CheckpointError: Its weights are no plain tensors, or do not fit sidecar and protocol.
    """
    with tempfile.TemporaryDirectory() as folder, _examined(Path(path), Path(folder), signers, signature) as (examined, _):
        return examined


def unpack(
    path: Path | str, folder: Path | str, trust: bool = False, signers: Path | str | None = None, signature: Path | str | None = None
) -> Path:
    """Examine a bundle zip, and unpack it if it is sound.

    Args:
        path: The zip.
        folder: Where the bundle's own folder goes.
        trust: Whether configs may run code that this project did not write.
        signers: As `verify`.
        signature: As `verify`.

    Returns:
        The bundle's folder, which was not there before or empty.

    Raises:
        BundleError: As `verify`; it has foreign code and is not trusted. Nothing is left behind.
        CheckpointError: As `verify`.
        OutputError: There is something already, or the folder cannot be written.
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
                raise OutputError(target, "a new folder", "something there", "name another one with -o, or move that away")
            os.replace(unpacked, target)
    except BaseException:
        for empty in made:
            empty.rmdir()
        raise
    return target


@contextmanager
def _examined(path: Path, place: Path, signers: Path | str | None, signature: Path | str | None) -> Iterator[tuple[Examined, Path]]:
    """The zip unpacked below ``place`` and looked at there."""
    if signature is not None and signers is None:
        remedy = "give --signers FILE too, a line `name@example.org ssh-ed25519 AAAA...` each"
        raise BundleError(signature, "trusted signers to hold it against", "none", remedy)
    signer = None if signers is None else check_signature(path, signers, signature)
    with BundleZip(path) as archive:
        if not archive.name:
            raise BundleError(path, "one folder at the top, the bundle", "files beside each other", "pack it with `mrh pack`")
        lacking = [name for name in NEEDED if name not in archive.files]
        lacking += [] if set(INFERENCE) & set(archive.files) else [INFERENCE[0]]
        if lacking:
            raise BundleError(path, f"a bundle with {lacking[0]}", "none", "pack a trained bundle with `mrh pack`")
        root = place / archive.name
        archive.unpack(root)
        files = archive.files
        try:
            _check_manifest(root, files)
            texts = {name: (root / name).read_bytes() for name in files if name not in WEIGHTS}
            code, strange = code_of(texts), foreign(texts)
            sidecar = check_weights(root)
        except MRHError as error:  # of the zip, since the place that it was looked at is gone afterwards
            where = f"{path}, {error.where.removeprefix(f'{root}{os.sep}')}"
            raise type(error)(where, error.expected, error.found, error.remedy) from error
    yield Examined(path, root.name, files, code, strange, sidecar, signer), root


def _check_manifest(root: Path, files: list[str]) -> None:
    if MANIFEST not in files:
        raise BundleError(MANIFEST, "the list of what the bundle holds", "none", "pack the bundle with `mrh pack`")
    try:
        lines = (root / MANIFEST).read_text().splitlines()
        listed = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except ValueError as error:
        raise BundleError(MANIFEST, "lines of a SHA-256 and a path", "something else", ASK_SENDER_AGAIN) from error
    for name in sorted({*listed, *files} - {MANIFEST}):
        if name not in listed or name not in files:
            expected, found = ("no such file", "one") if name not in listed else ("it", "none")
            raise BundleError(name, f"{expected}, as {MANIFEST} says", found, ASK_SENDER_AGAIN)
        digest = sha256(root / name)
        if digest != listed[name]:
            raise BundleError(name, f"SHA-256 {listed[name][:12]} as {MANIFEST} says", digest[:12], ASK_SENDER_AGAIN)
