"""Whether a subject's files lie on one grid and have the protocol's channels, before any voxel is read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrh_monai.data.subject import CORONAL_AXIS, Subject
from mrh_monai.errors import SubjectError
from mrh_monai.io import Header, read_header
from mrh_monai.protocol import MRProtocol


def read_headers(subject: Subject, protocol: MRProtocol, need_target: bool = False) -> dict[str, list[Header]]:
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
            check_single(header, key)
    check_one_grid([header for group in headers.values() for header in group])
    protocol.check_count(sum(h.channels for h in headers["image"]), subject.name, [h.path.name for h in headers["image"]])
    _check_slices(subject, headers["image"][0])
    return headers


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


def check_single(header: Header, role: str) -> None:
    """Refuse a file of several volumes where one is meant.

    Args:
        header: Of the file.
        role: What it is meant for, in words.

    Raises:
        SubjectError: It holds several.
    """
    if header.channels != 1:
        raise SubjectError(header.path, f"one 3D volume as {role}", f"{header.channels} volumes", "extract the right one")


def _check_slices(subject: Subject, header: Header) -> None:
    count = header.shape[CORONAL_AXIS]
    for start, stop in subject.slices or ():
        if not 0 <= start < stop <= count:
            raise SubjectError(subject.name, f"slices within 0 and {count} (stop excluded)", f"{[start, stop]}", "mend `slices`")
