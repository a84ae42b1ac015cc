"""MAT files: which version a file has, and whether it holds everything that its headers claim."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from mrh_monai.errors import MatFileError, MRHError
from mrh_monai.io.files import COPY_AGAIN
from mrh_monai.optional_imports import import_optional

HEADER_BYTES, LARGEST_VARIABLE = 128, 1 << 30
MATRIX, COMPRESSED = 14, 15  # data types of the format, miMATRIX and miCOMPRESSED
HDF5 = b"\x89HDF"
SAVE_VALUES = "save the variables themselves in MATLAB with -v7.3"
LARGEST_CHUNK = 256 << 20
# Deflate makes at most 1032 bytes of one byte. A larger ratio means that the data are not in the file.
LARGEST_RATIO = 1100


def check_mat_file(path: Path, remedy: str, largest: int = LARGEST_VARIABLE) -> bool:
    """Compare a MAT file with its headers, before any library parses it, and return whether it is HDF5.

    Args:
        path: MAT file.
        remedy: Remedy that the error names for a file that is not a MAT file.
        largest: Largest size of one decompressed variable, bytes.

    Returns:
        True for a file of version 7.3 (HDF5), which `open_hdf5` checks. False for a file of version 5, whose variables were found whole by
        their lengths and by the checksums of their compression.

    Raises:
        MatFileError: The file is not a MAT file, or is damaged.
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
            what = "an empty file" if not header else "a file of another kind"
            raise MatFileError(path, "a MATLAB file of version 5 or 7.3", what, remedy)
        starts, place = [], HEADER_BYTES
        while place < size:
            starts.append(place)
            tag = file.read(8)
            kind, length = struct.unpack(f"{order}II", tag) if len(tag) == 8 else (0, 0)
            where = f"{path}, byte {place}"
            if kind not in (MATRIX, COMPRESSED):
                raise MatFileError(where, "a variable", "other data", COPY_AGAIN)
            place += 8 + length
            if place > size:
                raise MatFileError(where, f"{length:,} bytes", f"the end of the file after {size - place + length:,}", COPY_AGAIN)
            if kind == COMPRESSED:
                _check_compressed(file.read(length), order, where, largest)
            file.seek(place)
    if not starts:
        raise MatFileError(path, "variables", "no variable", remedy)
    subsystem = struct.unpack(f"{order}Q", header[116:124])[0]
    if subsystem not in (0, 0x2020202020202020, *starts):
        raise MatFileError(path, "the objects' data where the header says", f"no data at byte {subsystem:,}", COPY_AGAIN)
    return False


def _check_compressed(data: bytes, order: str, where: str, largest: int) -> None:
    """Decompress a variable, keep only its first bytes, and compare its length and checksum."""
    stream, total, first = zlib.decompressobj(), 0, b""
    try:
        while not stream.eof:
            block = stream.decompress(data, 1 << 20)
            data, total = stream.unconsumed_tail, total + len(block)
            first = first or block[:8]
            if not block and not data:
                break
            if total > largest:
                raise MatFileError(where, f"a variable of at most {largest >> 30} GiB", "a larger one", "check where the file comes from")
    except zlib.error as error:
        raise MatFileError(where, "complete compressed data", str(error), COPY_AGAIN) from error
    kind, length = struct.unpack(f"{order}II", first) if len(first) == 8 else (0, 0)
    if not stream.eof or stream.unused_data or kind != MATRIX or total != length + 8:
        raise MatFileError(where, "complete compressed data", f"{total:,} bytes of {length + 8:,}", COPY_AGAIN)


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open a MAT file of version 7.3 for reading, after a check of all its groups and datasets.

    Args:
        path: MAT file.

    Yields:
        The file as an `h5py.File`.

    Raises:
        MatFileError: The file is not HDF5, is damaged, refers to other files, or claims data that it does not hold.
        OptionError: `h5py` is not installed.
    """
    h5py = import_optional("h5py", "matlab")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise MatFileError(path, "a MATLAB file of version 7.3 (HDF5)", " ".join(str(error).split())[:200], COPY_AGAIN) from error
    with file:
        try:
            _check_group(file, path, h5py)
        except MRHError:
            raise
        except Exception as error:  # h5py raises exceptions of any kind on a damaged file.
            raise MatFileError(path, "a readable MATLAB file of version 7.3", f"a {type(error).__name__}", COPY_AGAIN) from error
        yield file


def _check_group(root: Any, path: Path, h5py: ModuleType) -> None:
    """Check every dataset below a group once; a group may contain itself."""
    seen, waiting = set(), [root]
    while waiting:
        group = waiting.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise MatFileError(path, f"{name!r} in the file itself", "a link to another place", SAVE_VALUES)
            item = group[name]
            if isinstance(item, h5py.Dataset):
                _check_dataset(item, name, path)
            elif isinstance(item, h5py.Group):
                address = h5py.h5o.get_info(item.id).addr
                if address not in seen:
                    seen.add(address)
                    waiting.append(item)


def _check_dataset(item: Any, name: str, path: Path) -> None:
    """Refuse values outside the file, by which a stranger's file could read other files, and sizes that are only claimed."""
    if item.external or item.is_virtual:
        raise MatFileError(path, f"{name!r} in the file itself", "values stored in another file", SAVE_VALUES)
    if item.shape is None:
        return
    stored = item.id.get_storage_size()
    if item.nbytes > LARGEST_RATIO * stored + 4096:
        raise MatFileError(path, f"{item.nbytes:,} bytes of {name!r}", f"{stored:,} bytes stored", COPY_AGAIN)
    chunk = item.dtype.itemsize
    for length in item.chunks or ():
        chunk *= length
    if item.chunks and chunk > LARGEST_CHUNK:
        raise MatFileError(path, f"chunks of at most {LARGEST_CHUNK >> 20} MiB in {name!r}", f"{chunk >> 20:,} MiB", SAVE_VALUES)
