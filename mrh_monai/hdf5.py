"""HDF5 files (MATLAB 7.3), opened so that they lead nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mrh_monai.errors import SubjectError
from mrh_monai.extras import need


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """An `h5py.File` to read.

    Raises:
        SubjectError: It is none, is truncated, or refers to other files.
    """
    h5py = need("h5py", "matlab")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        text = " ".join(str(error).split())
        raise SubjectError(path, "a MATLAB file of version 7.3 (HDF5)", text[:200], "copy the file again from its source") from error
    with file:
        _check_local(file, path, h5py, set())
        yield file


def _check_local(group: Any, path: Path, h5py: Any, seen: set[int]) -> None:
    """Refuse links and storage outside the file, by which a stranger's file could read others."""
    for name in group:
        item = _local_item(group, name, path, h5py)
        address = h5py.h5o.get_info(item.id).addr
        if isinstance(item, h5py.Group) and address not in seen:
            seen.add(address)
            _check_local(item, path, h5py, seen)


def _local_item(group: Any, name: str, path: Path, h5py: Any) -> Any:
    link = group.get(name, getlink=True)
    remedy = "save the variables themselves with -v7.3"
    if not isinstance(link, h5py.HardLink):
        raise SubjectError(path, f"{name} in the file itself", "a link to elsewhere", remedy)
    item = group[name]
    if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
        raise SubjectError(path, f"{name} in the file itself", "values stored in another file", remedy)
    return item
