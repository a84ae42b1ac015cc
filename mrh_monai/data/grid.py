"""Check that the files of a subject lie on one grid and have the channels of the protocol, before any voxel is read."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mrh_monai.axis_order import CORONAL_AXIS
from mrh_monai.errors import SubjectError
from mrh_monai.io import Header, read_header
from mrh_monai.protocol import MRProtocol
from mrh_monai.subjects import FILE_KEYS, Slices, Subject, coronal_axis

# Files whose corners lie further apart, in voxels, are not on one grid. Rounding of 4-byte numbers moves them by less than 0.001.
CORNER_TOLERANCE = 0.1


def read_headers(subject: Subject, protocol: MRProtocol, need_target: bool = False) -> dict[str, list[Header]]:
    """Read the headers of all files of a subject, and compare them with each other and with the protocol.

    Args:
        subject: Volumes of one subject.
        protocol: Channels that the subject must have.
        need_target: Whether a subject without a target is refused.

    Returns:
        The headers under ``image``, ``mask``, ``fa``, ``target`` and ``target_mask``; an empty list where there is no such file.

    Raises:
        SubjectError: A file is missing or damaged, the files lie on different grids, or the number of their channels differs from the
            protocol.
    """
    _check_files(subject, protocol, need_target)

    def read(path: Path) -> Header:
        header = read_header(path)
        return header if subject.voxel_size is None else header.with_voxel_size(subject.voxel_size)

    headers = {"image": [read(path) for path in subject.image]}
    for key in FILE_KEYS:
        path = subject.files.get(key)
        headers[key] = [read(path)] if path is not None else []
        for header in headers[key]:
            check_single(header, key)
    check_one_grid([header for group in headers.values() for header in group])
    # Without the target, which is missing where a subject is only predicted, so that training and prediction choose the same axis.
    axis = coronal_axis([header for key in ("image", "mask", "fa") for header in headers[key]], subject.coronal_axis)
    headers = {key: [header.with_coronal_axis(axis) for header in group] for key, group in headers.items()}
    protocol.check_count(sum(h.channels for h in headers["image"]), subject.name, [h.path.name for h in headers["image"]])
    check_slices(subject.name, subject.slices, headers["image"][0].shape[CORONAL_AXIS], axis)
    return headers


def _check_files(subject: Subject, protocol: MRProtocol, need_target: bool) -> None:
    if need_target and subject.target is None:
        remedy = "add `target` to its entry in the datalist (mrh datalist --target), or only run inference"
        raise SubjectError(subject.name, "a target", "no target in the datalist", remedy)
    if subject.mask is None and subject.fa is None:
        raise SubjectError(subject.name, "a mask, or an FA map instead", "no mask and no FA map", "add `mask` to its entry in the datalist")
    if not subject.image:
        raise SubjectError(subject.name, f"{len(protocol)} channels", "no image file", "add `image` to its entry in the datalist")
    repeated = next((path for path in subject.image if subject.image.count(path) > 1), None)
    if repeated is not None:
        raise SubjectError(subject.name, "every image file once", f"{repeated.name} twice", "list the file of each scan")
    if subject.target_mask is not None and subject.target is None:
        raise SubjectError(subject.name, "a target beside its target_mask", "no target", "add `target` to its entry in the datalist")


def check_one_grid(headers: Sequence[Header]) -> None:
    """Compare the shapes and voxel sizes of files, and the affines of those files whose format has one.

    Raises:
        SubjectError: Two files differ; the sentence names both.
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
            found, remedy = f"{header.spacing}", _other_size(header, first) or remedy
            raise SubjectError(header.path, f"voxels of {first.spacing} mm as in {first.path.name}", found, remedy)
        if placed is not None and header.has_affine:
            # Where the size was wrong, the place of the first voxel is in doubt too; the directions of the axes still have to agree.
            is_stated = header.is_stated and placed.is_stated
            away = corner_distance(header, placed, without_shift=is_stated)
            if away > CORNER_TOLERANCE:
                what = "an affine that turns" if is_stated else "an affine that moves"
                found = f"{what} a corner of the volume by {away:.3g} voxels"
                raise SubjectError(header.path, f"the affine of {placed.path.name}", found, f"resample it to {placed.path.name}")


def _other_size(header: Header, first: Header) -> str:
    """Return what to do where two voxel sizes differ by a factor of 10 or 100 along all axes; an empty text for all other differences.

    Files of mice are often stored with such factors, for programs that are made for human brains. Resampling would destroy them.
    """
    ratios = np.array(header.spacing) / first.spacing
    factor = next((factor for factor in (10, 100, 0.1, 0.01) if np.allclose(ratios, factor, rtol=1e-3)), None)
    if factor is None:
        return ""
    size = header.spacing if factor < 1 else first.spacing
    words = f"{factor:g} times as large" if factor > 1 else f"{1 / factor:g} times as small"
    return (
        f"the voxels are {words}, as for programs made for human brains: write the true size as `voxel_size`, such as "
        f"{list(size)}, into the entry of the datalist, or state it with --voxel-size {' '.join(f'{edge:g}' for edge in size)}"
    )


def corner_distance(one: Header, other: Header, without_shift: bool = False) -> float:
    """Return how far apart two affines put the corners of a volume, in voxels: the largest distance of its eight corners.

    A small turn moves the voxels near the origin little, and those at the far corner much.

    Args:
        one: Header of a volume.
        other: Header of a volume of the same shape.
        without_shift: Whether to leave out that the first voxels lie apart.
    """
    corners = np.array(list(itertools.product(*((0, length - 1) for length in one.shape), (0 if without_shift else 1,)))).T
    moved = (one.affine - other.affine)[:3] @ corners
    return float(np.linalg.norm(moved, axis=0).max() / min(one.spacing))


def placed_first(headers: Mapping[str, list[Header]]) -> Header:
    """Return the header that says where a subject lies: that of an image, its mask or its FA map, the first one whose affine counts.

    Args:
        headers: Headers of `read_headers`; if no affine counts, the first image is returned.
    """
    every = [header for key in ("image", "mask", "fa") for header in headers[key]]
    return next((header for header in every if header.has_affine), every[0])


def check_single(header: Header, role: str) -> None:
    """Refuse a file of several volumes where one volume is needed.

    Args:
        header: Header of the file.
        role: What the file is used as, in words.

    Raises:
        SubjectError: The file holds several volumes.
    """
    if header.channels != 1:
        raise SubjectError(header.path, f"one 3D volume as {role}", f"{header.channels} volumes", "extract the volume that you need")


def check_slices(name: str, slices: Slices | None, count: int, axis: int = CORONAL_AXIS) -> None:
    """Refuse ranges of slices that leave the volume.

    Args:
        name: Name of the subject, for the error.
        slices: Ranges of the subject; None for all slices.
        count: Number of slices of the volume.
        axis: Axis of the file along which they lie, for the error.

    Raises:
        SubjectError: A range is empty, or leaves the volume.
    """
    for start, stop in slices or ():
        if not 0 <= start < stop <= count:
            expected = f"slices within 0 and {count} (stop excluded) along array axis {axis}, which is coronal"
            raise SubjectError(name, expected, f"{[start, stop]}", "correct `slices` in the datalist")
