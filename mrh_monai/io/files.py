"""Files that are written whole or not at all, folders that can be written, space on disk, and checksums."""

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
    """Give a temporary path beside ``path``, and rename the file written there to ``path`` once the block has ended well.

    The old file stays until the new one is on disk. A reader therefore finds one of the two and never a part, even if the process is
    killed.

    Args:
        path: The file to write or replace. Its folder is made if it is missing. The temporary name keeps the ending, by which writers
            choose a format.

    Yields:
        The temporary path.

    Raises:
        OutputError: The folder cannot be made, or the file cannot be written.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(f"{folder}/scores.json") as temporary:
        ...         _ = temporary.write_text("{}")
        ...     print([path.name for path in Path(folder).iterdir()])
        ['scores.json']
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
        remedy = "free space on the disk, or write to another place"
        raise OutputError(path, "to write the file", str(error.strerror or error), remedy) from error
    finally:
        temporary.unlink(missing_ok=True)


def reserve_space(file: IO[bytes], size: int) -> None:
    """Reserve space on disk for a temporary file before it is mapped into memory.

    Without the space, writing to the mapped memory would end the process when the disk is full.

    Args:
        file: Open temporary file.
        size: Size of the file, bytes.

    Raises:
        OutputError: The disk has too little space.
    """
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
    except OSError as error:
        expected = f"space for {size / 2**30:.1f} GiB"
        raise OutputError(tempfile.gettempdir(), expected, str(error.strerror), "set TMPDIR to a folder with more space") from error


def scratch_array(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array of zeros in an unnamed temporary file, which disappears together with the array.

    Raises:
        OutputError: The disk has too little space.

    Example:
        >>> scratch_array((2, 3), np.dtype("float32")).sum()
        np.float32(0.0)
    """
    with tempfile.TemporaryFile() as file:
        reserve_space(file, math.prod(shape) * dtype.itemsize)
        return np.asarray(np.memmap(file, dtype, "r+", shape=shape))


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write or replace a file, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path | str, text: str) -> None:
    """Write or replace a UTF-8 text file, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    write_bytes(path, text.encode())


def clear_partial(folder: Path | str) -> None:
    """Remove the temporary files of a process that was killed while it wrote into a folder."""
    for leftover in Path(folder).glob(f"{PARTIAL}*"):
        leftover.unlink(missing_ok=True)


def writable_folder(folder: Path | str) -> Path:
    """Return a folder, which is made if it is missing, after a test that a file can be written into it.

    Raises:
        OutputError: The folder cannot be made or written.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     writable_folder(f"{folder}/results/af").is_dir()
        True
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
    """Return the SHA-256 of a file, as 64 hexadecimal digits.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_text(f"{folder}/empty.txt", "")
        ...     sha256(f"{folder}/empty.txt")[:8]
        'e3b0c442'
    """
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _umask() -> int:
    """Return the process's mask of file rights. The only system call that returns the mask also sets it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
