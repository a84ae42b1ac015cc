"""Patch files, as MRH-Net's released code writes them: MAT files that are read in blocks, never whole.

`traindata.mat` and `testdataPatch_mouse.mat` hold ``data`` (3, 3, C, N) and, where they are known, ``label`` and ``fa`` (3, 3, 1, N).
`YPred_auto.mat` holds ``YPred`` and ``fa`` (3, 3, 1, N). The N patches lie in the coronal plane; their first axis is x, the second is z.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mrh_monai.child_process import ChildProcessFailure, run_in_child_process
from mrh_monai.errors import OutputError, SubjectError
from mrh_monai.io.files import COPY_AGAIN, replacing, writable_folder
from mrh_monai.io.mat_files import check_mat_file, open_hdf5

PATCH_ENDING = ".mat"
BLOCK_BYTES = 32 << 20  # size of the blocks that are read
# Limits of the process that reads a patch file: seconds, to which the file's size over the slowest speed is added, and bytes of memory.
SECONDS, SLOWEST_BYTES_PER_SECOND, MEMORY = 60.0, 1 << 20, 4 << 30
LARGEST_VARIABLE = 2 << 30
Result = TypeVar("Result")
SAVE_PATCHES = "write it with MATLAB's save(..., 'data', 'label', 'fa', '-v7.3')"


def is_patch_file(path: Path | str) -> bool:
    """Return whether a path is that of a patch file, by its ending.

    Example:
        >>> is_patch_file("traindata.mat"), is_patch_file("dwi.nii.gz")
        (True, False)
    """
    return Path(path).suffix.lower() == PATCH_ENDING


@dataclass(frozen=True)
class PatchVariable:
    """One variable of a patch file.

    Attributes:
        path: The patch file.
        name: ``data``, ``label``, ``fa`` or ``YPred``.
        shape: (A1, A2, C, N), the axes in MATLAB's order.
        dtype: Stored type of the values.
        values: Array in MATLAB's order of axes, or HDF5 dataset with the axes in the reverse order.
        is_hdf5: Whether the values are an HDF5 dataset.
    """

    path: Path
    name: str
    shape: tuple[int, int, int, int]
    dtype: np.dtype
    values: Any
    is_hdf5: bool

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield one block of patches after the other.

        Yields:
            Index of the block's first patch, and the patches (n, A1, A2, C).

        Raises:
            SubjectError: A block cannot be decoded.
        """
        count = self.shape[3]
        patch_bytes = max(1, int(np.prod(self.shape[:3])) * self.dtype.itemsize)
        chunk = self.values.chunks[0] if self.is_hdf5 and self.values.chunks else 1
        step = max(chunk, BLOCK_BYTES // patch_bytes // chunk * chunk)
        for start in range(0, count, step):
            try:
                yield start, self._block(start, min(start + step, count))
            except OSError as error:
                found = "data that cannot be decoded"
                raise SubjectError(f"{self.path}, {self.name}", f"{count} patches", found, COPY_AGAIN) from error

    def _block(self, start: int, stop: int) -> np.ndarray:
        """Return the patches (n, A1, A2, C) from ``start`` to before ``stop``."""
        patches: np.ndarray
        if not self.is_hdf5:
            patches = self.values.reshape(self.shape)[..., start:stop].transpose(3, 0, 1, 2)
            return patches
        # A variable of one patch has lost its last axis in MATLAB, and is read whole.
        patches = self.values[start:stop] if len(self.values.shape) == len(self.shape) else self.values[()]
        return patches.reshape(-1, *self.shape[2::-1]).transpose(0, 3, 2, 1)

    def centres(self) -> np.ndarray:
        """Return the middle voxel of every patch, (N, C)."""
        return np.concatenate([block[:, self.shape[0] // 2, self.shape[1] // 2] for _, block in self.blocks()])


@contextmanager
def open_patch_file(path: Path | str) -> Iterator[dict[str, PatchVariable]]:
    """Open a patch file. Only functions that `read_in_child_process` calls may do so, because a damaged file can crash the process.

    Args:
        path: MAT file of version 7.3 (HDF5), whose values are read later, or of version 5, which cannot be large and is read whole.

    Yields:
        The variables that are arrays of numbers, by name.

    Raises:
        SubjectError: The file is not a MAT file, or is damaged.
    """
    path = Path(path)
    if not check_mat_file(path, SAVE_PATCHES, LARGEST_VARIABLE):
        yield {name: _variable(path, name, value.shape, value, is_hdf5=False) for name, value in _read_version_5(path).items()}
        return
    with open_hdf5(path) as file:
        found = {}
        for name in file:
            item = file[name]
            has_numbers = getattr(item, "shape", None) is not None and item.dtype.kind in "fiub"
            if not name.startswith("#") and has_numbers and "MATLAB_empty" not in item.attrs:
                found[name] = _variable(path, name, item.shape[::-1], item, is_hdf5=True)
        yield found


def read_in_child_process(function: Callable[..., Result], path: Path, *arguments: Any) -> Result:
    """Call a function that reads a patch file in a child process, because libraries may crash on a damaged file.

    Args:
        function: Function of a module, which gets the path and the arguments.
        path: Patch file.
        arguments: Further arguments of the function.

    Returns:
        The result of the function.

    Raises:
        SubjectError: The function raised it, or the process died, or it took too much time or memory.
    """
    if not path.is_file():
        raise SubjectError(path, "a patch file", "a folder" if path.is_dir() else "no such file", "check the path")
    seconds = SECONDS + path.stat().st_size / SLOWEST_BYTES_PER_SECOND
    try:
        return run_in_child_process(function, path, *arguments, seconds=seconds, memory=MEMORY)
    except ChildProcessFailure as error:
        raise SubjectError(path, "a readable patch file", str(error), COPY_AGAIN) from error


def _read_version_5(path: Path) -> dict[str, np.ndarray]:
    import scipy.io

    content = scipy.io.loadmat(path)
    return {name: value for name, value in content.items() if isinstance(value, np.ndarray) and value.dtype.kind in "fiub"}


def _variable(path: Path, name: str, shape: tuple[int, ...], values: Any, is_hdf5: bool) -> PatchVariable:
    padded = (*shape, *(1,) * (4 - len(shape)))[: max(4, len(shape))]  # MATLAB drops trailing axes of length 1.
    return PatchVariable(path, name, padded, np.dtype(values.dtype), values, is_hdf5)  # type: ignore[arg-type]


def expect_variable(variables: dict[str, PatchVariable], name: str, path: Path, shape: Sequence[int | None]) -> PatchVariable:
    """Return one variable of a patch file, after a comparison of its shape with the expected one.

    Args:
        variables: Variables of the file, from `open_patch_file`.
        name: Name of the variable.
        path: The patch file.
        shape: Expected length of each axis; None for any length.

    Raises:
        SubjectError: The variable is missing or has another shape.
    """
    if name not in variables:
        found = f"only {', '.join(sorted(variables))}" if variables else "no array of numbers"
        raise SubjectError(path, f"the variable {name}", found, SAVE_PATCHES)
    lengths = variables[name].shape
    if len(lengths) != len(shape) or any(b is not None and a != b for a, b in zip(lengths, shape, strict=True)):
        expected = " x ".join("N" if length is None else str(length) for length in shape)
        raise SubjectError(f"{path}, {name}", f"{expected} numbers", " x ".join(map(str, lengths)), "check how the patches were cut")
    return variables[name]


def write_patch_output(path: Path | str, predicted: np.ndarray, mask: np.ndarray) -> None:
    """Write the predictions of a patch file in the form of the release, for `mrh recon` and MATLAB.

    Args:
        path: MAT file (version 5) to write. It gets ``YPred`` (1, 1, 1, N) single, the centre of each patch, and ``fa`` (1, 1, 1, N) uint8,
            1 where the centre was predicted.
        predicted: (3, N, 3) predictions, of which the centres count.
        mask: (3, N, 3), True where a voxel was predicted.

    Raises:
        OutputError: The name has another ending, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> import scipy.io
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_patch_output(f"{folder}/YPred.mat", np.full((3, 6, 3), 7.0), np.ones((3, 6, 3), bool))
        ...     content = scipy.io.loadmat(f"{folder}/YPred.mat")
        >>> content["YPred"].shape, content["fa"].ravel().tolist()
        ((1, 1, 1, 6), [1, 1, 1, 1, 1, 1])
    """
    import scipy.io

    check_patch_output(path)
    centres, inside = predicted[1, :, 1].astype(np.float32), mask[1, :, 1].astype(np.uint8)
    content = {"YPred": centres.reshape(1, 1, 1, -1), "fa": inside.reshape(1, 1, 1, -1)}
    with replacing(path) as temporary:
        scipy.io.savemat(temporary, content, do_compression=True)


def check_patch_output(path: Path | str) -> None:
    """Refuse a path that no predictions of a patch file can be written to, before any work is done for it.

    Raises:
        OutputError: The name has another ending, or the folder cannot be written.
    """
    path = Path(path)
    if not is_patch_file(path):
        expected = "a name ending in .mat, because patches lie on no grid"
        raise OutputError(path, expected, path.name, "name it like YPred.mat and use `mrh recon`")
    writable_folder(path.parent)
