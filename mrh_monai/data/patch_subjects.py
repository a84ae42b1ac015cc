"""Patch files instead of volumes.

In memory, N patches become a volume (3, N, 3, C). Each patch is a slice of its own, and the mask holds only the centres of the patches. So
sampling, scaling, training and prediction need not know that the patches come from a file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mrh_monai.data.checked_voxels import ReadingOptions, percent, warn_if_swapped
from mrh_monai.data.subject_in_memory import SubjectInMemory
from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.io import PatchVariable, expect_variable, open_patch_file, read_in_child_process, reserve_space
from mrh_monai.protocol import MRProtocol
from mrh_monai.subjects import Subject

WIDTH = 3
CORRECT_OR_ZERO = "correct them, or set them to 0 as published with --nan zero"


def load_patch_files(subjects: Sequence[Subject], protocol: MRProtocol, options: ReadingOptions) -> list[SubjectInMemory]:
    """Read patch files. The variable ``data`` goes block by block into a temporary file that is mapped into memory.

    Args:
        subjects: Subjects of one patch file each.
        protocol: Channels that each file must have.
        options: How to read them; the patches must span two axes, since the files hold patches of a plane.

    Returns:
        Subjects without margin: images (3, N, 3, C) float32, and the mask (3, N, 3) of the centres; if the file
            has ``fa``, only of those with ``fa > 0``.

    Raises:
        OptionError: The patches span three axes.
        SubjectError: A file is damaged, has other channels, or holds NaN or Inf that may not be replaced.
    """
    if len(options.patch.axes) != 2:
        remedy = "train on volumes for 3D patches"
        raise OptionError("patch_axes", "two axes, since patch files hold patches of a plane", f"{list(options.patch.axes)}", remedy)
    for subject in subjects:
        if len(subject.image) != 1 or not subject.is_patch_file:
            remedy = "list volumes and patch files in different datalists"
            raise SubjectError(subject.name, "one patch file, like the other subjects", "volumes", remedy)
        if subject.slices is not None:
            remedy = "remove the slices from the datalist, because a patch file does not say where its patches were cut"
            raise SubjectError(subject.image[0], "no `slices`", f"{subject.slices}", remedy)
    need_target, nan = options.need_target, options.nan
    counts = [read_in_child_process(_check, subject.image[0], protocol, need_target) for subject in subjects]
    loaded, start = [], 0
    # The temporary file has a name while other processes fill it. It disappears with the last use of the memory.
    with tempfile.NamedTemporaryFile(prefix="mrh-patches-") as file:
        memory = _mapped(Path(file.name), sum(counts) * WIDTH**2, len(protocol), new=True)
        for subject, count in zip(subjects, counts, strict=True):
            stop = start + count * WIDTH**2
            found = read_in_child_process(_fill, subject.image[0], protocol, nan, Path(file.name), len(memory), start, count)
            patches = memory[start:stop].reshape(count, WIDTH, WIDTH, len(protocol))
            loaded.append(_subject(subject.name, patches, *found))
            start = stop
    for subject_patches in loaded:
        means = subject_patches.image[subject_patches.mask].mean(0, dtype=np.float64)
        warn_if_swapped(subject_patches.name, protocol, dict(zip(protocol.names, means.tolist(), strict=True)))
    return loaded


def _check(path: Path, protocol: MRProtocol, need_target: bool) -> int:
    with open_patch_file(path) as variables:
        data = expect_variable(variables, "data", path, (WIDTH, WIDTH, None, None))
        protocol.check_count(data.shape[2], path.name, [path.name])
        count = data.shape[3]
        if not count:
            raise SubjectError(f"{path}, data", "patches", "an empty variable", "check how the patches were cut")
        for name in ("label", "fa"):
            if name in variables or (name == "label" and need_target):
                expect_variable(variables, name, path, (WIDTH, WIDTH, 1, count))
    return count


def _mapped(path: Path, rows: int, channels: int, new: bool = False) -> np.ndarray:
    """Return (rows, channels) float32 numbers that lie in a file."""
    with open(path, "r+b") as file:
        if new:
            reserve_space(file, rows * channels * 4)
        return np.asarray(np.memmap(file, np.float32, "r+", shape=(rows, channels)))


def _fill(
    path: Path, protocol: MRProtocol, nan: str, memory: Path, rows: int, start: int, count: int
) -> tuple[float, np.ndarray | None, np.ndarray | None]:
    """Copy ``data`` to its place in memory; return its largest value, and ``label`` and ``fa``, each (3, N, 3) or None."""
    whole = _mapped(memory, rows, len(protocol))[start : start + count * WIDTH**2]
    patches = whole.reshape(count, WIDTH, WIDTH, len(protocol))
    signal = np.zeros(len(protocol), bool)
    largest, bad = 0.0, 0
    with open_patch_file(path) as variables:
        for first, raw in variables["data"].blocks():
            block, wrong = _finite(raw)
            bad += wrong
            signal |= (block != 0).any(axis=(0, 1, 2))
            largest = max(largest, float(block.max()))
            patches[first : first + len(block)] = block
        extra = {
            name: _plane(variables[name], "refuse" if name == "label" else nan) if name in variables else None for name in ("label", "fa")
        }
    if bad and nan == "refuse":
        found = f"{bad} NaN or Inf ({percent(bad / patches.size)})"
        raise SubjectError(f"{path}, data", "numbers", found, CORRECT_OR_ZERO)
    if not signal.all():
        name = protocol.names[int(np.argmin(signal))]
        found = "only zeros" + (", NaN or Inf" if bad else "")
        raise SubjectError(path, f"signal in channel {name}", found, "check the scan and the order of the channels")
    if extra["fa"] is not None and not (extra["fa"][1, :, 1] > 0).any():
        expected = "patches with fa > 0 at the centre"
        raise SubjectError(f"{path}, fa", expected, "no such patch", "check the FA map that the patches were cut from")
    return largest, extra["label"], extra["fa"]


def _subject(name: str, patches: np.ndarray, largest: float, label: np.ndarray | None, fa: np.ndarray | None) -> SubjectInMemory:
    mask = np.zeros((WIDTH, len(patches), WIDTH), bool)
    mask[1, :, 1] = True if fa is None else fa[1, :, 1] > 0
    return SubjectInMemory(name, patches.transpose(1, 0, 2, 3), 0, mask, label, fa, np.eye(4), largest=largest)


def _plane(variable: PatchVariable, nan: str) -> np.ndarray:
    """Return a variable of one channel as (3, N, 3) float32."""
    blocks = [_finite(block[..., 0]) for _, block in variable.blocks()]
    bad = sum(wrong for _, wrong in blocks)
    if bad and nan == "refuse":
        remedy = "leave out these patches, in which tissue may be torn" if variable.name == "label" else CORRECT_OR_ZERO
        raise SubjectError(f"{variable.path}, {variable.name}", "numbers", f"{bad} NaN or Inf", remedy)
    return np.concatenate([block for block, _ in blocks]).transpose(1, 0, 2)


def _finite(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the values as float32 with NaN and Inf replaced by 0, and how many were replaced."""
    with np.errstate(over="ignore"):  # what is too large for float32 becomes Inf, and is counted
        block = values.astype(np.float32)
    wrong = ~np.isfinite(block)
    block[wrong] = 0
    return block, int(wrong.sum())
