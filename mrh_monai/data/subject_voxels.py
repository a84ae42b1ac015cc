"""A subject's voxels in memory, once its files are seen to lie on one grid and to be the protocol's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.data.grid import check_one_grid, check_single, read_headers
from mrh_monai.data.patch_subjects import is_patch_file, load_patch_files
from mrh_monai.data.slabs import memory_order
from mrh_monai.data.subject import CORONAL_AXIS, Subject, in_slices
from mrh_monai.data.subject_in_memory import CORONAL_PLANE, LoadedSubject, check_axes
from mrh_monai.errors import MRHWarning, OptionError, SubjectError
from mrh_monai.io import Header, each_volume, read_header, read_voxels
from mrh_monai.protocol import MT_OFF, MT_ON, MRProtocol


def check_reading(nan: str, support: str) -> None:
    """Refuse unknown values of two options of reading.

    Raises:
        OptionError: One is unknown.
    """
    if nan not in ("refuse", "zero"):
        raise OptionError("nan", "refuse or zero", repr(nan), "choose one of the two")
    if support not in ("mask", "fa"):
        raise OptionError("support", "mask or fa", repr(support), "choose one of the two")


def load_subjects(
    subjects: Sequence[Subject],
    protocol: MRProtocol,
    *,
    need_target: bool = False,
    need_fa: bool = False,
    nan: str = "refuse",
    support: str = "mask",
    margin: int = 1,
    axes: Sequence[int] = CORONAL_PLANE,
) -> list[LoadedSubject]:
    """Load subjects, volumes or files of patches, into one piece of memory, each once.

    Args:
        subjects: What to load.
        protocol: The channels that each must have.
        need_target: Whether the voxels of targets are read, and a subject without one is refused.
        need_fa: Whether the voxels of FA maps are read where there are any.
        nan: ``refuse``, or ``zero`` to set NaN and Inf inside the mask to 0 as published. Outside the mask they always become 0.
        support: ``mask`` (where there is none, FA > 0), or ``fa`` to take FA > 0 as the mask in any case.
        margin: Zero voxels added on every side, for patches at the edge of the volume. Files of patches have none.
        axes: Array axes of the patches to come: memory runs fastest along the last of them, so that a patch lies in short strips.

    Raises:
        SubjectError: As `read_headers`; a mask is empty or not 0/1; NaN or Inf inside the mask; an all-zero channel.
    """
    check_reading(nan, support)
    if any(is_patch_file(subject) for subject in subjects):
        loaded = load_patch_files(subjects, protocol, need_target=need_target, nan=nan, axes=axes)
        for patches in loaded:
            mt = [name for name in (MT_ON, MT_OFF) if name in protocol.names]
            _warn_if_swapped(
                patches.name, {name: float(patches.image[..., protocol.names.index(name)][patches.mask].mean()) for name in mt}
            )
        return loaded
    if support == "fa":
        subjects = [replace(subject, mask=None) for subject in subjects]
    headers = [read_headers(subject, protocol, need_target) for subject in subjects]
    dtype = np.result_type(*(h.dtype for group in headers for h in group["image"])) if headers else np.dtype("int16")
    order = memory_order(check_axes(axes))
    padded_shapes = [tuple(n + 2 * margin for n in group["image"][0].shape) for group in headers]
    memory = np.zeros((sum(math.prod(shape) for shape in padded_shapes), len(protocol)), dtype)
    loaded, start = [], 0
    for subject, group, shape in zip(subjects, headers, padded_shapes, strict=True):
        stop = start + math.prod(shape)
        in_memory = memory[start:stop].reshape(*(shape[axis] for axis in order), len(protocol))
        padded = in_memory.transpose(*np.argsort(order), 3)
        unread = {"target": not need_target, "target_mask": not need_target, "fa": not need_fa and bool(group["mask"])}
        wanted = {key: [] if unread.get(key) else files for key, files in group.items()}
        loaded.append(_load(subject, wanted, padded, margin, protocol, nan))
        start = stop
    return loaded


def load_subject(subject: Subject, protocol: MRProtocol, **options: Any) -> LoadedSubject:
    """Load one subject; see `load_subjects`."""
    return load_subjects([subject], protocol, **options)[0]


def load_stains(paths: Sequence[Path], mask: Path) -> tuple[np.ndarray, ...]:
    """Volumes of one channel that lie on a mask's grid, and the mask.

    Args:
        paths: Stains.
        mask: Of 0 and 1.

    Returns:
        Each stain (X, Y, Z), then the mask (X, Y, Z) bool.

    Raises:
        SubjectError: They lie on different grids, or are not finite inside the mask.
    """
    headers = [read_header(path) for path in (*paths, mask)]
    for header in headers:
        check_single(header, "stain or mask")
    check_one_grid(headers)
    inside = read_mask(headers[-1])
    return *(_finite(read_voxels(header)[..., 0], inside, header.path, "refuse") for header in headers[:-1]), inside


def check_stain(values: np.ndarray, path: Path, where: str) -> None:
    """Refuse a stain that is the same everywhere: nothing can be learnt from it, or judged by it.

    Args:
        values: Its voxels.
        path: Its file.
        where: Of which voxels, in words.

    Raises:
        SubjectError: They are all the same.
    """
    if values.min() == values.max():
        found = "only zeros" if not values.any() else f"{values[0]:g} everywhere"
        raise SubjectError(path, f"a stain {where}", found, "check that it is the right file, on the subject's grid")


def each_channel(
    volumes: Iterable[tuple[Header, np.ndarray]], subject: str, mask: np.ndarray, protocol: MRProtocol, nan: str
) -> Iterator[np.ndarray]:
    """The channels of a subject in the protocol's order, looked at as they pass: numbers inside the mask, signal, MT off above MT on.

    Args:
        volumes: Every channel: its file's header and its voxels (X, Y, Z).
        subject: Its name.
        mask: (X, Y, Z) bool.
        protocol: Names of the channels.
        nan: ``refuse`` or ``zero``, as `load_subjects`.

    Yields:
        (X, Y, Z) as stored, NaN and Inf replaced by 0.

    Raises:
        SubjectError: NaN or Inf inside the mask that is not to be replaced; an all-zero channel.
    """
    inside = np.ascontiguousarray(mask.T)  # in the order of the files, which is several times as fast
    means = {}
    for name, (header, stored) in zip(protocol.names, volumes, strict=True):
        volume = _finite(stored, mask, header.path, nan, name)
        signal = volume.T[inside]
        if not signal.any():
            raise SubjectError(header.path, f"signal in channel {name}", "only zeros in the mask", "check the scan and the channel order")
        if name in (MT_ON, MT_OFF):
            means[name] = float(signal.mean())
        yield volume
    _warn_if_swapped(subject, means)


def read_masks(subject: Subject, headers: dict[str, list[Header]]) -> tuple[np.ndarray, np.ndarray]:
    """A subject's mask inside its slices, and over all slices; where there is none, FA > 0.

    Returns:
        Two (X, Y, Z) bool.

    Raises:
        SubjectError: The mask holds other values than 0 and 1, or no voxel within the slices.
    """
    header = (headers["mask"] or headers["fa"])[0]
    whole = read_mask(header) if headers["mask"] else read_voxels(header)[..., 0] > 0
    mask = whole & in_slices(whole.shape[CORONAL_AXIS], subject.slices)[None, :, None]
    if not mask.any():
        where = "" if subject.slices is None else f" in slices {[list(pair) for pair in subject.slices]}"
        raise SubjectError(header.path, f"voxels inside the mask{where}", "none", "check the mask")
    return mask, whole


def read_target(headers: dict[str, list[Header]], mask: np.ndarray, nan: str) -> tuple[np.ndarray, np.ndarray | None]:
    """A subject's target (X, Y, Z), and where it is sound, (X, Y, Z) bool, or None if it is throughout.

    Raises:
        SubjectError: The target is not finite inside the mask, or the same everywhere; or nowhere in the mask sound.
    """
    path = headers["target"][0].path
    sound = _read_target_mask(headers["target_mask"], mask)
    scored = mask if sound is None else mask & sound
    target = _finite(read_voxels(headers["target"][0])[..., 0], scored, path, nan)
    check_stain(target[scored], path, "inside the mask" + ("" if sound is None else " and the target_mask"))
    return target, sound


def _load(
    subject: Subject, headers: dict[str, list[Header]], padded: np.ndarray, margin: int, protocol: MRProtocol, nan: str
) -> LoadedSubject:
    mask, whole = read_masks(subject, headers)
    fa = read_voxels(headers["fa"][0])[..., 0] if headers["fa"] else None
    brain = None if subject.slices is None else whole
    loaded = LoadedSubject(subject.name, padded, margin, mask, None, fa, headers["image"][0].affine, whole_mask=brain)
    volumes = ((header, volume) for header in headers["image"] for volume in each_volume(header))
    for channel, volume in enumerate(each_channel(volumes, subject.name, mask, protocol, nan)):
        loaded.image[..., channel] = volume
    if not headers["target"]:
        return loaded
    target, sound = read_target(headers, mask, nan)
    return replace(loaded, target=target, target_mask=sound)


def _read_target_mask(headers: Sequence[Header], mask: np.ndarray) -> np.ndarray | None:
    if not headers:
        return None
    sound = read_mask(headers[0])
    if not (sound & mask).any():
        raise SubjectError(headers[0].path, "voxels with a sound target inside the mask", "none", "check the target_mask and the slices")
    return sound


def read_mask(header: Header) -> np.ndarray:
    """A mask (X, Y, Z) bool.

    Raises:
        SubjectError: It holds other values than 0 and 1.
    """
    values = read_voxels(header)[..., 0]
    kinds = np.unique(values)
    if not np.isin(kinds, (0, 1)).all():
        shown = ", ".join(f"{kind:g}" for kind in kinds[:4]) + (", ..." if len(kinds) > 4 else "")
        raise SubjectError(header.path, "a mask of 0 and 1", f"the values {shown}", "threshold it and save it as 0/1")
    return values > 0


def _finite(voxels: np.ndarray, mask: np.ndarray, path: Path, nan: str, channel: str | None = None) -> np.ndarray:
    if not np.issubdtype(voxels.dtype, np.floating):
        return voxels
    bad = ~np.isfinite(voxels)
    if not bad.any():
        return voxels
    inside = int(bad[mask].sum())
    if inside and nan == "refuse":
        where = "inside the mask" + ("" if channel is None else f" in channel {channel}")
        found = f"{inside} NaN or Inf ({100 * inside / int(mask.sum()):.2g}%)"
        raise SubjectError(path, f"numbers {where}", found, "mend the scan, or set them to 0 as published with --nan zero")
    return np.where(bad, voxels.dtype.type(0), voxels)


def _warn_if_swapped(subject: str, means: Mapping[str, float]) -> None:
    if means.get(MT_ON, 0.0) > means.get(MT_OFF, math.inf):
        warnings.warn(
            f"{subject}: MT on is brighter than MT off (mean {means[MT_ON]:.4g} against {means[MT_OFF]:.4g} in the mask), so the two look "
            "swapped; the protocol's order is T2, MT on, MT off.",
            MRHWarning,
            stacklevel=2,
        )
