"""Patch files as MATLAB and the released code write them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import scipy.io

HEADER = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"


def write_patch_file(path: Path, version: str = "v7.3", **variables: np.ndarray) -> Path:
    """Write arrays as MATLAB counts their axes, (3, 3, C, N); trailing ones are dropped, as MATLAB does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    variables = {name: value[..., 0] if value.shape[-1] == 1 and value.ndim > 2 else value for name, value in variables.items()}
    if version == "v7":
        scipy.io.savemat(path, variables)
        return path
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            stored = value.T
            chunks = (min(7, stored.shape[0]), *stored.shape[1:])
            dataset = file.create_dataset(name, data=stored, chunks=chunks, compression="gzip")
            dataset.attrs["MATLAB_class"] = np.bytes_({"float64": "double", "float32": "single"}.get(str(value.dtype), str(value.dtype)))
    whole = path.read_bytes()
    path.write_bytes(HEADER + whole[128:])
    return path


def cut(volume: np.ndarray, slices: list[int]) -> np.ndarray:
    """Every inner patch of some coronal slices by the released code's loops: (X, Y, Z, C) to (3, 3, C, N), x slowest within a slice."""
    patches = [
        volume[x - 1 : x + 2, y, z - 1 : z + 2]
        for y in slices
        for x in range(1, volume.shape[0] - 1)
        for z in range(1, volume.shape[2] - 1)
    ]  # fmt: skip
    return np.stack(patches).transpose(1, 2, 3, 0)
