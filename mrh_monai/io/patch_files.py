"""Files of patches, as MRH-Net's released code writes them, read in blocks, never whole.

`traindata.mat` and `testdataPatch_mouse.mat` hold ``data`` (3, 3, C, N) and, where known, ``label`` and ``fa`` (3, 3, 1, N);
`YPred_auto.mat` holds ``YPred`` and ``fa`` (3, 3, 1, N): N patches in the coronal plane, first array axis x, second z.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mrh_monai.errors import OutputError, SubjectError
from mrh_monai.io.child_process import IsolatedError, isolated
from mrh_monai.io.files import COPY_AGAIN, replacing, writable_folder
from mrh_monai.io.mat_files import check_envelope, open_hdf5

BLOCK_BYTES = 32 << 20
SECONDS, SLOWEST_BYTES, MEMORY = 60.0, 1 << 20, 4 << 30
Result = TypeVar("Result")
HOW = "write it with MATLAB's save(..., 'data', 'label', 'fa', '-v7.3')"


@dataclass(frozen=True)
class PatchVariable:
    """One variable of a file of patches.

    Attributes:
        path: The file.
        name: ``data``, ``label``, ``fa`` or ``YPred``.
        shape: (A1, A2, C, N) as MATLAB counts.
        dtype: As stored.
        values: The array, or the HDF5 dataset, whose axes run the other way.
        is_hdf5: Which of the two.
    """

    path: Path
    name: str
    shape: tuple[int, int, int, int]
    dtype: np.dtype
    values: Any
    is_hdf5: bool

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """The first patch's index and the patches (n, A1, A2, C) of one block after the other."""
        count = self.shape[3]
        patch_bytes = max(1, int(np.prod(self.shape[:3])) * self.dtype.itemsize)
        chunk = self.values.chunks[0] if self.is_hdf5 and self.values.chunks else 1
        step = max(chunk, BLOCK_BYTES // patch_bytes // chunk * chunk)
        for start in range(0, count, step):
            try:
                yield start, self._block(start, min(start + step, count))
            except OSError as error:
                where = f"{self.path}, {self.name}"
                raise SubjectError(
                    where, f"{count} patches", "data that cannot be decoded", "copy the file again from its source"
                ) from error

    def _block(self, start: int, stop: int) -> np.ndarray:
        if not self.is_hdf5:
            return self.values.reshape(self.shape)[..., start:stop].transpose(3, 0, 1, 2)
        block = self.values[start:stop] if len(self.values.shape) == len(self.shape) else self.values[()]
        return block.reshape(-1, *self.shape[2::-1]).transpose(0, 3, 2, 1)

    def centres(self) -> np.ndarray:
        """(N, C): the middle voxel of every patch."""
        return np.concatenate([block[:, self.shape[0] // 2, self.shape[1] // 2] for _, block in self.blocks()])


@contextmanager
def open_patches(path: Path | str) -> Iterator[dict[str, PatchVariable]]:
    """The variables of a file of patches, by name; nothing is read yet of a file of version 7.3. Call it through `from_patches`.

    Args:
        path: MAT file of version 7.3 (HDF5), or 5, which cannot be large and is read whole.

    Raises:
        SubjectError: It is no such file, or is damaged.
    """
    path = Path(path)
    if not check_envelope(path, HOW, largest=2 << 30):
        yield {name: _variable(path, name, value.shape, value, False) for name, value in _read_version_5(path).items()}
        return
    with open_hdf5(path) as file:
        found = {}
        for name in file:
            item = file[name]
            numbers = getattr(item, "shape", None) is not None and item.dtype.kind in "fiub"
            if not name.startswith("#") and numbers and "MATLAB_empty" not in item.attrs:
                found[name] = _variable(path, name, item.shape[::-1], item, True)
        yield found


def from_patches(function: Callable[..., Result], path: Path, *arguments: Any) -> Result:
    """Call a function that reads a file of patches in a process of its own, since libraries may crash on a damaged one.

    Args:
        function: Module-level; gets the path and the arguments.
        path: MAT file.
        arguments: What else it gets.

    Raises:
        SubjectError: As the function raises it, or where the process died, or took too much time or memory.
    """
    if not path.is_file():
        raise SubjectError(path, "a file of patches", "a folder" if path.is_dir() else "none", "check the path")
    seconds = SECONDS + path.stat().st_size / SLOWEST_BYTES
    try:
        return isolated(function, path, *arguments, seconds=seconds, memory=MEMORY)
    except IsolatedError as error:
        raise SubjectError(path, "a readable file of patches", str(error), COPY_AGAIN) from error


def _read_version_5(path: Path) -> dict[str, np.ndarray]:
    import scipy.io

    content = scipy.io.loadmat(path)
    return {name: value for name, value in content.items() if isinstance(value, np.ndarray) and value.dtype.kind in "fiub"}


def _variable(path: Path, name: str, shape: tuple[int, ...], values: Any, is_hdf5: bool) -> PatchVariable:
    padded = (*shape, *(1,) * (4 - len(shape)))[: max(4, len(shape))]  # MATLAB drops trailing ones
    return PatchVariable(path, name, padded, np.dtype(values.dtype), values, is_hdf5)  # type: ignore[arg-type]


def expect_variable(variables: dict[str, PatchVariable], name: str, path: Path, shape: Sequence[int | None]) -> PatchVariable:
    """One variable, its shape compared with what is expected (None: any length).

    Raises:
        SubjectError: It is missing or has another shape.
    """
    if name not in variables:
        raise SubjectError(
            path, f"the variable {name}", f"only {', '.join(sorted(variables))}" if variables else "no array of numbers", HOW
        )
    found = variables[name].shape
    if len(found) != len(shape) or any(b is not None and a != b for a, b in zip(found, shape, strict=True)):
        wanted = " x ".join("N" if length is None else str(length) for length in shape)
        raise SubjectError(f"{path}, {name}", f"{wanted} numbers", " x ".join(map(str, found)), "check how the patches were cut")
    return variables[name]


def write_predictions(path: Path | str, predicted: np.ndarray, mask: np.ndarray) -> None:
    """Write what was predicted of a file of patches as the release does, for `mrh recon` and MATLAB.

    Args:
        path: MAT file (version 5) to write: ``YPred`` (1, 1, 1, N) single, the centre of each patch, and ``fa`` (1, 1, 1, N) uint8, 1 where
            it was predicted.
        predicted: (3, N, 3).
        mask: (3, N, 3).

    Raises:
        OutputError: The name has another ending, or the file cannot be written.
    """
    import scipy.io

    check_predictions_output(path)
    centres, inside = predicted[1, :, 1].astype(np.float32), mask[1, :, 1].astype(np.uint8)
    content = {"YPred": centres.reshape(1, 1, 1, -1), "fa": inside.reshape(1, 1, 1, -1)}
    with replacing(path) as temporary:
        scipy.io.savemat(temporary, content, do_compression=True)


def check_predictions_output(path: Path | str) -> None:
    """Refuse a place that no predictions of a file of patches can be written to, before any work is done for it.

    Raises:
        OutputError: The name has another ending, or the folder cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".mat":
        raise OutputError(path, "a name ending in .mat, as patches lie on no grid", path.name, "name it like YPred.mat and use `mrh recon`")
    writable_folder(path.parent)
