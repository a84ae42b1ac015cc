"""MAT files: which version, and whether all is there that their headers claim."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from mrh_monai.errors import MatFileError

HEADER_BYTES, LARGEST_ELEMENT = 128, 1 << 30
MATRIX, COMPRESSED = 14, 15
HDF5 = b"\x89HDF"
COPY_AGAIN = "copy the file again from its source"


def check_envelope(path: Path, remedy: str, largest: int = LARGEST_ELEMENT) -> bool:
    """Compare a file with what its headers say, before any library parses it.

    Args:
        path: MAT file.
        remedy: What to do about a file that is none.
        largest: Bytes that a variable may take when inflated.

    Returns:
        Whether it is HDF5, of which nothing more is checked. Of a file of version 5 each element is whole, by its length and the checksum
        of its compression.

    Raises:
        MatFileError: It is no MAT file, or not whole.
    """
    if not path.is_file():
        raise MatFileError(path, "a MATLAB file", "a folder" if path.is_dir() else "no such file", "check the path")
    size = path.stat().st_size
    with open(path, "rb") as file:
        header = file.read(HEADER_BYTES)
        version = header[124:128]
        if version == b"\x00\x02IM" or header.startswith(HDF5):
            return True
        order = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}.get(version)
        if order is None:
            what = "an empty file" if not header else f"a file that begins with {header[:8]!r}"
            raise MatFileError(path, "a MATLAB file of version 5 or 7.3", what, remedy)
        starts, place = [], HEADER_BYTES
        while place < size:
            starts.append(place)
            tag = file.read(8)
            kind, length = struct.unpack(f"{order}II", tag) if len(tag) == 8 else (0, 0)
            where = f"{path}, byte {place}"
            if kind not in (MATRIX, COMPRESSED):
                raise MatFileError(where, "a variable", "something else", COPY_AGAIN)
            place += 8 + length
            if place > size:
                raise MatFileError(where, f"{length:,} bytes", f"the file's end after {size - place + length:,}", COPY_AGAIN)
            if kind == COMPRESSED:
                _check_compressed(file.read(length), order, where, largest)
            file.seek(place)
    if not starts:
        raise MatFileError(path, "variables", "none", remedy)
    subsystem = struct.unpack(f"{order}Q", header[116:124])[0]
    if subsystem not in (0, 0x2020202020202020, *starts):
        raise MatFileError(path, "the objects' data where the header says", f"nothing at byte {subsystem:,}", COPY_AGAIN)
    return False


def _check_compressed(data: bytes, order: str, where: str, largest: int) -> None:
    """Inflate once, keeping nothing but the first bytes: length and checksum must be right."""
    stream, total, first = zlib.decompressobj(), 0, b""
    try:
        while not stream.eof:
            block = stream.decompress(data, 1 << 20)
            data, total = stream.unconsumed_tail, total + len(block)
            first = first or block[:8]
            if not block and not data:
                break
            if total > largest:
                raise MatFileError(where, f"at most {largest >> 30} GiB in a variable", "more", "check where the file is from")
    except zlib.error as error:
        raise MatFileError(where, "compressed data that are whole", str(error), COPY_AGAIN) from error
    kind, length = struct.unpack(f"{order}II", first) if len(first) == 8 else (0, 0)
    if not stream.eof or stream.unused_data or kind != MATRIX or total != length + 8:
        raise MatFileError(where, "compressed data that are whole", f"{total:,} bytes of {length + 8:,}", COPY_AGAIN)
