"""Zips as a stranger could make them: a sound bundle with some files changed, and members written byte by byte."""

import hashlib
import json
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from helpers.paths import ROOT
from helpers.random_weights import with_random_weights
from mrh_monai.io.bundle_zip import write_bundle_zip
from mrh_monai.sharing.packing import MANIFEST, manifest, pack
from mrh_monai.sharing.template_history import foreign

NF = ROOT / "bundles" / "mrh_nf"
INFERENCE = "configs/inference.yaml"
SIDECAR = "models/model.json"


def packed_files(folder: Path) -> dict[str, bytes]:
    """What `pack` puts into the zip of a bundle with random weights, by path inside the bundle."""
    pack(with_random_weights(NF, folder, parent=True), folder / "sound.zip")
    with zipfile.ZipFile(folder / "sound.zip") as archive:
        return {info.filename.removeprefix("mrh_nf/"): archive.read(info) for info in archive.infolist()}


def repacked(path: Path, files: dict[str, bytes], changes: dict[str, bytes | str | None], name: str = "mrh_nf") -> Path:
    """A zip of the files with some changed (None: left out), whose manifest agrees."""
    changed = {**files, **{key: value.encode() if isinstance(value, str) else value for key, value in changes.items()}}
    changed = {key: value for key, value in changed.items() if value is not None and (key != MANIFEST or key in changes)}
    write_bundle_zip(path, name, {MANIFEST: manifest(changed), **changed})
    return path


def other_weights(files: dict[str, bytes], data: bytes) -> dict[str, bytes]:
    """Changes that put other weights in, with a sidecar that agrees."""
    sidecar = json.loads(files[SIDECAR]) | {"sha256": hashlib.sha256(data).hexdigest()}
    return {"models/model.pt": data, SIDECAR: json.dumps(sidecar).encode()}


@dataclass
class Member:
    """A member of a zip, its headers free to lie."""

    name: str
    data: bytes = b"x"
    method: int = zipfile.ZIP_STORED
    size: int | None = None  # declared
    crc: int | None = None
    flags: int = 0x800
    mode: int = 0
    local_name: str | None = None
    extra: bytes = b""


def raw_zip(path: Path, *members: Member) -> Path:
    """Write the members as they are."""
    body, directory = b"", b""
    for member in members:
        size = len(member.data) if member.size is None else member.size
        crc = zlib.crc32(member.data) if member.crc is None else member.crc
        sizes = (crc, len(member.data), min(size, 0xFFFFFFFF))
        name, local = member.name.encode(), (member.local_name or member.name).encode()
        directory += struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 20 + (3 << 8), 20, member.flags, member.method, 0, 33, *sizes,
            len(name), len(member.extra), 0, 0, 0, member.mode << 16, len(body),
        ) + name + member.extra  # fmt: skip
        body += struct.pack("<4s5H3L2H", b"PK\3\4", 20, member.flags, member.method, 0, 33, *sizes, len(local), 0) + local + member.data
    count = min(len(members), 0xFFFF)
    path.write_bytes(body + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0))
    return path


def deflated_zeros(mebibytes: int) -> bytes:
    """So many zero bytes, deflated without zlib's header, a thousand times smaller."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(1 << 20)
    return b"".join(squeezer.compress(block) for _ in range(mebibytes)) + squeezer.flush()


def strange(name, text):
    """Place, kind and text of what is foreign in one file of a bundle; that the whole file is goes without saying."""
    found = foreign({name: text if isinstance(text, bytes) else text.encode()})
    return [(code.place, code.kind, code.text) for code in found if code.text != "a config that no bundle of this project has"]
