"""A subject's voxels in memory, once its files are seen to lie on one grid and to be the protocol's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.errors import MRHWarning, OptionError, SubjectError
from mrh_monai.loaded import CORONAL_PLANE, LoadedSubject, check_axes
from mrh_monai.patch_loading import is_patch_file, load_patch_files
from mrh_monai.protocol import MT_OFF, MT_ON, Protocol
from mrh_monai.subjects import CORONAL_AXIS, Subject, in_slices
from mrh_monai.volumes import Header, read_header, read_voxels


def read_headers(subject: Subject, protocol: Protocol, need_target: bool = False) -> dict[str, list[Header]]:
    """The headers of all of a subject's files, checked against each other and the protocol before any voxel is read.

    Raises:
        SubjectError: A file is missing or broken, the files lie on different grids, or their channels are not as many as
            the protocol's.
    """
    if need_target and subject.target is None:
        raise SubjectError(
            subject.name, "a target", "none in the datalist", "add `target` to its entry (mrh datalist --target) or only run inference"
        )
    if subject.mask is None and subject.fa is None:
        raise SubjectError(subject.name, "a mask, or an FA map in its place", "neither", "add `mask` to its entry in the datalist")
    if not subject.image:
        raise SubjectError(subject.name, f"{len(protocol)} channels", "no image file", "add `image` to its entry in the datalist")
    twice = next((path for path in subject.image if subject.image.count(path) > 1), None)
    if twice is not None:
        raise SubjectError(subject.name, "every image file once", f"{twice.name} twice", "list the file of each scan")
    headers = {"image": [read_header(path) for path in subject.image]}
    if subject.target_mask is not None and subject.target is None:
        raise SubjectError(subject.name, "a target beside its target_mask", "none", "add `target` to its entry in the datalist")
    for key in ("mask", "fa", "target", "target_mask"):
        path = getattr(subject, key)
        headers[key] = [read_header(path)] if path is not None else []
        for header in headers[key]:
            _check_single(header, key)
    check_one_grid([header for group in headers.values() for header in group])
    protocol.check_count(sum(h.channels for h in headers["image"]), subject.name, [h.path.name for h in headers["image"]])
    _check_slices(subject, headers["image"][0])
    return headers


def load_subjects(
    subjects: Sequence[Subject],
    protocol: Protocol,
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
    if nan not in ("refuse", "zero"):
        raise OptionError("nan", "refuse or zero", repr(nan), "choose one of the two")
    if support not in ("mask", "fa"):
        raise OptionError("support", "mask or fa", repr(support), "choose one of the two")
    if any(is_patch_file(subject) for subject in subjects):
        loaded = load_patch_files(subjects, protocol, need_target=need_target, nan=nan, axes=axes)
        for patches in loaded:
            _warn_if_swapped(patches, protocol)
        return loaded
    if support == "fa":
        subjects = [replace(subject, mask=None) for subject in subjects]
    headers = [read_headers(subject, protocol, need_target) for subject in subjects]
    dtype = np.result_type(*(h.dtype for group in headers for h in group["image"])) if headers else np.dtype("int16")
    order = [axis for axis in range(3) if axis not in check_axes(axes)] + list(axes)
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


def load_subject(subject: Subject, protocol: Protocol, **options: Any) -> LoadedSubject:
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
        _check_single(header, "stain or mask")
    check_one_grid(headers)
    inside = _mask_values(headers[-1]) > 0
    return *(_finite(read_voxels(header), inside, header.path, "refuse")[..., 0] for header in headers[:-1]), inside


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


def check_one_grid(headers: Sequence[Header]) -> None:
    """Compare shapes and voxel sizes of files, and affines among those whose format has one.

    Raises:
        SubjectError: Two differ; both files are named.
    """
    first = headers[0]
    placed = next((h for h in headers if h.has_affine), None)
    for header in headers[1:]:
        remedy = f"resample it to the grid of {first.path.name}"
        if header.shape != first.shape:
            if sorted(header.shape) == sorted(first.shape):
                remedy = "put its axes in order with `mrh reorder`"
            raise SubjectError(header.path, f"shape {first.shape} as in {first.path.name}", f"{header.shape}", remedy)
        if not np.allclose(header.spacing, first.spacing, rtol=1e-3):
            raise SubjectError(header.path, f"voxels of {first.spacing} mm as in {first.path.name}", f"{header.spacing}", remedy)
        if placed is not None and header.has_affine:
            difference = np.abs(header.affine - placed.affine).max()
            if difference > 1e-2 * min(header.spacing):
                raise SubjectError(
                    header.path,
                    f"the affine of {placed.path.name}",
                    f"one that differs by {difference:.4g} mm",
                    f"resample it to {placed.path.name}",
                )


def _load(
    subject: Subject, headers: dict[str, list[Header]], padded: np.ndarray, margin: int, protocol: Protocol, nan: str
) -> LoadedSubject:
    whole_mask = _load_mask(headers)
    mask = _in_slices(whole_mask, subject, headers)
    loaded = LoadedSubject(
        subject.name,
        padded,
        margin,
        mask,
        None,
        read_voxels(headers["fa"][0])[..., 0] if headers["fa"] else None,
        headers["image"][0].affine,
        whole_mask=None if subject.slices is None else whole_mask,
    )
    channel = 0
    for header in headers["image"]:
        voxels = _finite(read_voxels(header), mask, header.path, nan)
        names = protocol.names[channel : channel + header.channels]
        for index, name in enumerate(names):
            if not voxels[..., index][mask].any():
                raise SubjectError(
                    header.path, f"signal in channel {name}", "only zeros in the mask", "check the scan and the channel order"
                )
        loaded.image[..., channel : channel + header.channels] = voxels
        channel += header.channels
    _warn_if_swapped(loaded, protocol)
    if not headers["target"]:
        return loaded
    path = headers["target"][0].path
    target = _finite(read_voxels(headers["target"][0]), mask, path, nan)[..., 0]
    loaded = replace(loaded, target=target, target_mask=_load_target_mask(headers["target_mask"], mask))
    check_stain(target[loaded.scored], path, "inside the mask" + (" and the target_mask" if headers["target_mask"] else ""))
    return loaded


def _load_target_mask(headers: Sequence[Header], mask: np.ndarray) -> np.ndarray | None:
    if not headers:
        return None
    sound = _mask_values(headers[0]) > 0
    if not (sound & mask).any():
        raise SubjectError(headers[0].path, "voxels with a sound target inside the mask", "none", "check the target_mask and the slices")
    return sound


def _load_mask(headers: dict[str, list[Header]]) -> np.ndarray:
    header = (headers["mask"] or headers["fa"])[0]
    return (_mask_values(header) if headers["mask"] else read_voxels(header)[..., 0]) > 0


def _in_slices(mask: np.ndarray, subject: Subject, headers: dict[str, list[Header]]) -> np.ndarray:
    mask = mask & in_slices(mask.shape[CORONAL_AXIS], subject.slices)[None, :, None]
    if not mask.any():
        where = "" if subject.slices is None else f" in slices {[list(pair) for pair in subject.slices]}"
        raise SubjectError((headers["mask"] or headers["fa"])[0].path, f"voxels inside the mask{where}", "none", "check the mask")
    return mask


def _mask_values(header: Header) -> np.ndarray:
    values = read_voxels(header)[..., 0]
    kinds = np.unique(values)
    if not np.isin(kinds, (0, 1)).all():
        shown = ", ".join(f"{kind:g}" for kind in kinds[:4]) + (", ..." if len(kinds) > 4 else "")
        raise SubjectError(header.path, "a mask of 0 and 1", f"the values {shown}", "threshold it and save it as 0/1")
    return values


def _check_single(header: Header, role: str) -> None:
    if header.channels != 1:
        raise SubjectError(header.path, f"one 3D volume as {role}", f"{header.channels} volumes", "extract the right one")


def _finite(voxels: np.ndarray, mask: np.ndarray, path: Path, nan: str) -> np.ndarray:
    if not np.issubdtype(voxels.dtype, np.floating):
        return voxels
    bad = ~np.isfinite(voxels)
    if not bad.any():
        return voxels
    inside = int(bad[mask].sum())
    if inside and nan == "refuse":
        share = inside / (int(mask.sum()) * voxels.shape[-1])
        raise SubjectError(
            path,
            "numbers inside the mask",
            f"{inside} NaN or Inf ({100 * share:.2g}%)",
            "mend the scan, or set them to 0 as published with --nan zero",
        )
    return np.where(bad, voxels.dtype.type(0), voxels)


def _warn_if_swapped(subject: LoadedSubject, protocol: Protocol) -> None:
    if MT_ON not in protocol.names or MT_OFF not in protocol.names:
        return
    on, off = (float(subject.image[..., protocol.names.index(name)][subject.mask].mean()) for name in (MT_ON, MT_OFF))
    if on > off:
        warnings.warn(
            f"{subject.name}: MT on is brighter than MT off (mean {on:.4g} against {off:.4g} in the mask), so the two look swapped; "
            "the protocol's order is T2, MT on, MT off.",
            MRHWarning,
            stacklevel=2,
        )


def _check_slices(subject: Subject, header: Header) -> None:
    count = header.shape[CORONAL_AXIS]
    for start, stop in subject.slices or ():
        if not 0 <= start < stop <= count:
            raise SubjectError(subject.name, f"slices within 0 and {count} (stop excluded)", f"{[start, stop]}", "mend `slices`")
