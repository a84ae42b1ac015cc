"""Files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from mrh_monai.errors import OutputError

PARTIAL = ".partial."
COPY_AGAIN = "copy the file again from its source"


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside ``path``; put the file written there in its place once the block has ended well.

    The old file stays until the new one is on disk, so that a reader, or a process killed at any moment, finds
    one of the two and never a part.

    Args:
        path: The file to write or replace; its folder is made if need be. The temporary name keeps its ending, by which writers
            choose a format.

    Raises:
        OutputError: The folder cannot be made or written.
    """
    path = Path(path)
    folder = writable_folder(path.parent)
    if path.is_dir():
        raise OutputError(path, "a file to write", "a folder", "name a file")
    handle, name = tempfile.mkstemp(prefix=PARTIAL, suffix=f".{path.name}", dir=folder)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(path, "to be written", str(error.strerror or error), "free the disk or name another place") from error
    finally:
        temporary.unlink(missing_ok=True)


def reserve(file: IO[bytes], size: int) -> None:
    """Take room on disk for a temporary file, before it is mapped: writing to mapped memory behind a full disk would end the process.

    Raises:
        OutputError: There is not as much.
    """
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
    except OSError as error:
        expected = f"room for {size / 2**30:.1f} GiB"
        raise OutputError(tempfile.gettempdir(), expected, str(error.strerror), "name a larger folder in TMPDIR") from error


def scratch_array(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array in an unnamed temporary file, which goes with it.

    Raises:
        OutputError: There is no room for it.
    """
    with tempfile.TemporaryFile() as file:
        reserve(file, math.prod(shape) * dtype.itemsize)
        return np.asarray(np.memmap(file, dtype, "r+", shape=shape))


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write or replace a whole file."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path | str, text: str) -> None:
    """Write or replace a whole UTF-8 text file."""
    write_bytes(path, text.encode())


def clear_partial(folder: Path | str) -> None:
    """Remove what a process that was killed while writing into a folder has left there."""
    for leftover in Path(folder).glob(f"{PARTIAL}*"):
        leftover.unlink(missing_ok=True)


def writable_folder(folder: Path | str) -> Path:
    """The folder, made if need be and tried by writing a file into it.

    Raises:
        OutputError: It cannot be made or written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        found = f"{type(error).__name__} ({error.strerror})"
        raise OutputError(folder, "a folder that can be written", found, "name another output folder or change its rights") from error


def sha256(path: Path | str) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
