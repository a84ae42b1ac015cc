"""Files of patches in place of volumes.

In memory, N patches become a volume (3, N, 3, C), each patch a slice of its own, in whose mask only the centres are; so sampling, scaling,
training and prediction need not know where patches come from.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mrh_monai.data.subject import Subject
from mrh_monai.data.subject_in_memory import LoadedSubject
from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.io import PatchVariable, expect_variable, from_patches, open_patches, reserve
from mrh_monai.protocol import MRProtocol

WIDTH = 3


def is_patch_file(subject: Subject) -> bool:
    """Whether a subject is a file of patches instead of volumes."""
    return any(path.suffix.lower() == ".mat" for path in subject.image)


def load_patch_files(
    subjects: Sequence[Subject], protocol: MRProtocol, *, need_target: bool, nan: str, axes: Sequence[int]
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
    counts = [from_patches(_check, subject.image[0], protocol, need_target) for subject in subjects]
    loaded, start = [], 0
    # Named while other processes fill it; gone with the last use of the memory.
    with tempfile.NamedTemporaryFile(prefix="mrh-patches-") as file:
        memory = _mapped(Path(file.name), sum(counts) * WIDTH**2, len(protocol), new=True)
        for subject, count in zip(subjects, counts, strict=True):
            stop = start + count * WIDTH**2
            found = from_patches(_fill, subject.image[0], protocol, nan, Path(file.name), len(memory), start, count)
            patches = memory[start:stop].reshape(count, WIDTH, WIDTH, len(protocol))
            loaded.append(_subject(subject.name, patches, *found))
            start = stop
    return loaded


def _check(path: Path, protocol: MRProtocol, need_target: bool) -> int:
    with open_patches(path) as variables:
        data = expect_variable(variables, "data", path, (WIDTH, WIDTH, None, None))
        protocol.check_count(data.shape[2], path.name, [path.name])
        count = data.shape[3]
        if not count:
            raise SubjectError(f"{path}, data", "patches", "none", "check how the patches were cut")
        for name in ("label", "fa"):
            if name in variables or (name == "label" and need_target):
                expect_variable(variables, name, path, (WIDTH, WIDTH, 1, count))
    return count


def _mapped(path: Path, rows: int, channels: int, new: bool = False) -> np.ndarray:
    """(rows, channels) float32 in a file."""
    with open(path, "r+b") as file:
        if new:
            reserve(file, rows * channels * 4)
        return np.asarray(np.memmap(file, np.float32, "r+", shape=(rows, channels)))


def _fill(
    path: Path, protocol: MRProtocol, nan: str, memory: Path, rows: int, start: int, count: int
) -> tuple[float, np.ndarray | None, np.ndarray | None]:
    """Put ``data`` into its place in memory; returns its largest value, and ``label`` and ``fa``, each (3, N, 3) or None."""
    whole = _mapped(memory, rows, len(protocol))[start : start + count * WIDTH**2]
    patches = whole.reshape(count, WIDTH, WIDTH, len(protocol))
    signal = np.zeros(len(protocol), bool)
    largest, bad = 0.0, 0
    with open_patches(path) as variables:
        for first, raw in variables["data"].blocks():
            block, wrong = _finite(raw)
            bad += wrong
            signal |= (block != 0).any(axis=(0, 1, 2))
            largest = max(largest, float(block.max()))
            patches[first : first + len(block)] = block
        extra = {name: _plane(variables[name], nan) if name in variables else None for name in ("label", "fa")}
    if bad and nan == "refuse":
        found = f"{bad} NaN or Inf ({100 * bad / patches.size:.2g}%)"
        raise SubjectError(f"{path}, data", "numbers", found, "mend them, or set them to 0 as published with --nan zero")
    if not signal.all():
        name = protocol.names[int(np.argmin(signal))]
        found = "only zeros" + (", NaN or Inf" if bad else "")
        raise SubjectError(path, f"signal in channel {name}", found, "check the scan and the channel order")
    if extra["fa"] is not None and not (extra["fa"][1, :, 1] > 0).any():
        expected = "patches with fa > 0 at the centre"
        raise SubjectError(f"{path}, fa", expected, "none", "check the FA map that the patches were cut from")
    return largest, extra["label"], extra["fa"]


def _subject(name: str, patches: np.ndarray, largest: float, label: np.ndarray | None, fa: np.ndarray | None) -> LoadedSubject:
    mask = np.zeros((WIDTH, len(patches), WIDTH), bool)
    mask[1, :, 1] = True if fa is None else fa[1, :, 1] > 0
    return LoadedSubject(name, patches.transpose(1, 0, 2, 3), 0, mask, label, fa, np.eye(4), largest=largest)


def _plane(variable: PatchVariable, nan: str) -> np.ndarray:
    """(3, N, 3) float32 of a variable of one channel."""
    blocks = [_finite(block[..., 0]) for _, block in variable.blocks()]
    bad = sum(wrong for _, wrong in blocks)
    if bad and nan == "refuse":
        where = f"{variable.path}, {variable.name}"
        raise SubjectError(where, "numbers", f"{bad} NaN or Inf", "mend them, or set them to 0 as published with --nan zero")
    return np.concatenate([block for block, _ in blocks]).transpose(1, 0, 2)


def _finite(values: np.ndarray) -> tuple[np.ndarray, int]:
    """As float32 with NaN and Inf at 0, and how many they were."""
    with np.errstate(over="ignore"):  # what is too large for float32 becomes Inf, and is counted
        block = values.astype(np.float32)
    wrong = ~np.isfinite(block)
    block[wrong] = 0
    return block, int(wrong.sum())
