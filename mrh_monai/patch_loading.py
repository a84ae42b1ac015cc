"""Files of patches in place of volumes.

In memory, N patches become a volume (3, N, 3, C), each patch a slice of its own, in whose mask only the centres are; so sampling, scaling,
training and prediction need not know where patches come from.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mrh_monai.errors import OptionError, OutputError, SubjectError
from mrh_monai.loaded import LoadedSubject
from mrh_monai.patch_files import PatchVariable, expect_variable, open_patches
from mrh_monai.protocol import Protocol
from mrh_monai.subjects import Subject

WIDTH = 3


def is_patch_file(subject: Subject) -> bool:
    """Whether a subject is a file of patches instead of volumes."""
    return any(path.suffix.lower() == ".mat" for path in subject.image)


def load_patch_files(
    subjects: Sequence[Subject], protocol: Protocol, *, need_target: bool, nan: str, axes: Sequence[int]
) -> list[LoadedSubject]:
    """Load files of patches. ``data`` goes block by block into a temporary file that is mapped into memory.

    Args:
        subjects: Each of one MAT file.
        protocol: The channels that each must have.
        need_target: Whether a file without ``label`` is refused.
        nan: ``refuse``, or ``zero``: NaN and Inf become 0.
        axes: Array axes of the patches to come; two, as the files hold patches of a plane.

    Returns:
        Subjects without margin: (3, N, 3, C) float32, mask (3, N, 3) of the centres, where there is ``fa`` of those with ``fa > 0``.

    Raises:
        SubjectError: A file is broken, has other channels, or NaN or Inf that are not to become 0.
    """
    if len(axes) != 2:
        raise OptionError("patch_axes", "two, as files of patches hold", f"{list(axes)}", "train on volumes for 3D patches")
    for subject in subjects:
        if len(subject.image) != 1 or not is_patch_file(subject):
            raise SubjectError(subject.name, "one file of patches, as the others", "volumes", "put volumes and files of patches apart")
        if subject.slices is not None:
            raise SubjectError(subject.image[0], "no `slices`", f"{subject.slices}", "drop them: a file of patches says not where they lay")
    counts = []
    for subject in subjects:
        with open_patches(subject.image[0]) as variables:
            counts.append(_check(variables, subject.image[0], protocol, need_target))
    memory = _mapped(sum(counts) * WIDTH**2, len(protocol))
    loaded, start = [], 0
    for subject, count in zip(subjects, counts, strict=True):
        stop = start + count * WIDTH**2
        patches = memory[start:stop].reshape(count, WIDTH, WIDTH, len(protocol))
        with open_patches(subject.image[0]) as variables:
            loaded.append(_load(subject, variables, patches, protocol, nan))
        start = stop
    return loaded


def _check(variables: dict[str, PatchVariable], path: Path, protocol: Protocol, need_target: bool) -> int:
    data = expect_variable(variables, "data", path, (WIDTH, WIDTH, None, None))
    protocol.check_count(data.shape[2], path.name, [path.name])
    count = data.shape[3]
    for name in ("label", "fa"):
        if name in variables or (name == "label" and need_target):
            expect_variable(variables, name, path, (WIDTH, WIDTH, 1, count))
    return count


def _mapped(rows: int, channels: int) -> np.ndarray:
    """(rows, channels) float32 in a temporary file that vanishes with the last use of the array."""
    size = rows * channels * 4
    with tempfile.TemporaryFile(prefix="mrh-patches-") as file:
        try:
            # Reserved, since writing to mapped memory behind a full disk would end the process.
            os.posix_fallocate(file.fileno(), 0, size) if hasattr(os, "posix_fallocate") else file.truncate(size)
        except OSError as error:
            folder = tempfile.gettempdir()
            raise OutputError(folder, f"room for {size / 2**30:.1f} GiB", str(error.strerror), "name a larger folder in TMPDIR") from error
        return np.asarray(np.memmap(file, np.float32, "r+", shape=(rows, channels)))


def _load(subject: Subject, variables: dict[str, PatchVariable], patches: np.ndarray, protocol: Protocol, nan: str) -> LoadedSubject:
    path, count = subject.image[0], len(patches)
    signal = np.zeros(len(protocol), bool)
    largest, bad = 0.0, 0
    for start, raw in variables["data"].blocks():
        block = raw.astype(np.float32)
        finite = np.isfinite(block)
        bad += block.size - int(finite.sum())
        block[~finite] = 0
        signal |= (block != 0).any(axis=(0, 1, 2))
        largest = max(largest, float(block.max()))
        patches[start : start + len(block)] = block
    if bad and nan == "refuse":
        share = bad / patches.size
        raise SubjectError(
            f"{path}, data", "numbers", f"{bad} NaN or Inf ({100 * share:.2g}%)", "mend them, or set them to 0 as published with --nan zero"
        )
    if not signal.all():
        name = protocol.names[int(np.argmin(signal))]
        raise SubjectError(path, f"signal in channel {name}", "only zeros", "check the channels' order")
    extra = {name: _plane(variables[name], path, nan) if name in variables else None for name in ("label", "fa")}
    mask = np.zeros((WIDTH, count, WIDTH), bool)
    mask[1, :, 1] = True if extra["fa"] is None else extra["fa"][1, :, 1] > 0
    if not mask.any():
        raise SubjectError(f"{path}, fa", "patches with fa > 0 at the centre", "none", "check the FA map that the patches were cut from")
    volume = patches.transpose(1, 0, 2, 3)
    return LoadedSubject(subject.name, volume, 0, mask, extra["label"], extra["fa"], np.eye(4), largest)


def _plane(variable: PatchVariable, path: Path, nan: str) -> np.ndarray:
    """(3, N, 3) float32 of a variable of one channel."""
    values = np.concatenate([block[..., 0].astype(np.float32) for _, block in variable.blocks()]).transpose(1, 0, 2)
    bad = ~np.isfinite(values)
    if bad.any() and nan == "refuse":
        found = f"{int(bad.sum())} NaN or Inf"
        raise SubjectError(f"{path}, {variable.name}", "numbers", found, "mend them, or set them to 0 as published with --nan zero")
    return np.where(bad, np.float32(0), values)
