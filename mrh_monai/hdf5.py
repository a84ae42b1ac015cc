"""HDF5 files (MATLAB 7.3), opened so that they lead nowhere else and claim no more than they hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mrh_monai.errors import MatFileError, MRHError
from mrh_monai.extras import need
from mrh_monai.mat_files import COPY_AGAIN

SAVE = "save the variables themselves in MATLAB with -v7.3"
LARGEST_CHUNK = 256 << 20
# What deflate can at most make of a byte is 1032; anything beyond was never stored.
LARGEST_RATIO = 1100


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """An `h5py.File` to read, all of whose groups and datasets were looked at.

    Raises:
        MatFileError: It is none, is damaged, refers to other files, or claims data that it does not hold.
    """
    h5py = need("h5py", "matlab")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise MatFileError(path, "a MATLAB file of version 7.3 (HDF5)", " ".join(str(error).split())[:200], COPY_AGAIN) from error
    with file:
        try:
            _check_group(file, path, h5py)
        except MRHError:
            raise
        except Exception as error:  # h5py raises all kinds on a damaged file
            raise MatFileError(path, "a readable MATLAB file of version 7.3", f"a {type(error).__name__}", COPY_AGAIN) from error
        yield file


def _check_group(root: Any, path: Path, h5py: Any) -> None:
    seen, waiting = set(), [root]
    while waiting:
        group = waiting.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise MatFileError(path, f"{name!r} in the file itself", "a link to elsewhere", SAVE)
            item = group[name]
            if isinstance(item, h5py.Dataset):
                _check_dataset(item, name, path)
            elif isinstance(item, h5py.Group):
                address = h5py.h5o.get_info(item.id).addr
                if address not in seen:
                    seen.add(address)
                    waiting.append(item)


def _check_dataset(item: Any, name: str, path: Path) -> None:
    """Refuse storage outside the file, by which a stranger's file could read others, and sizes that are only claimed."""
    if item.external or item.is_virtual:
        raise MatFileError(path, f"{name!r} in the file itself", "values stored in another file", SAVE)
    if item.shape is None:
        return
    stored = item.id.get_storage_size()
    if item.nbytes > LARGEST_RATIO * stored + 4096:
        raise MatFileError(path, f"{item.nbytes:,} bytes of {name!r}", f"{stored:,} bytes stored", COPY_AGAIN)
    chunk = item.dtype.itemsize
    for length in item.chunks or ():
        chunk *= length
    if item.chunks and chunk > LARGEST_CHUNK:
        raise MatFileError(path, f"chunks of at most {LARGEST_CHUNK >> 20} MiB in {name!r}", f"{chunk >> 20:,} MiB", SAVE)
