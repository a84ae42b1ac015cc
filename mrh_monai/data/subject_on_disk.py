"""A subject whose images stay on disk, looked through once and then read slab by slab: for whole brains in little memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mrh_monai.data.grid import read_headers
from mrh_monai.data.patch_subjects import is_patch_file
from mrh_monai.data.slabs import FileSlabs
from mrh_monai.data.subject import Subject
from mrh_monai.data.subject_in_memory import CORONAL_PLANE, LoadedSubject, check_axes, level_voxels
from mrh_monai.data.subject_voxels import check_reading, each_channel, load_subject, read_masks, read_target
from mrh_monai.protocol import MRProtocol


@dataclass(frozen=True)
class StreamedSubject:
    """One subject, its images on disk.

    Attributes:
        name: As in `Subject`.
        slabs: The images, slab by slab.
        mask: (X, Y, Z) bool, restricted to the subject's slices.
        affine: (4, 4) voxel index to RAS+ mm, the image's own as its reader gives it.
        level_values: (N, C) as stored, of voxels spread over the brain.
        target: (X, Y, Z) in the stain's own units; None without one.
        scored: (X, Y, Z) bool: the voxels of the mask whose target is sound.
        largest: None; files of patches have one.
    """

    name: str
    slabs: FileSlabs
    mask: np.ndarray
    affine: np.ndarray
    level_values: np.ndarray
    target: np.ndarray | None
    scored: np.ndarray
    largest: float | None = None


def open_subject(
    subject: Subject,
    protocol: MRProtocol,
    *,
    need_target: bool = False,
    nan: str = "refuse",
    support: str = "mask",
    margin: int = 1,
    axes: Sequence[int] = CORONAL_PLANE,
) -> StreamedSubject | LoadedSubject:
    """Look through a subject's images once, channel by channel, and leave them on disk; a file of patches is loaded.

    What is refused, and what the slabs hold, is the same as with `mrh_monai.data.subject_voxels.load_subject`, which has the arguments too.
    """
    check_reading(nan, support)
    if is_patch_file(subject):
        return load_subject(subject, protocol, need_target=need_target, nan=nan, margin=margin, axes=axes)
    if support == "fa":
        subject = replace(subject, mask=None)
    headers = read_headers(subject, protocol, need_target)
    mask, brain = read_masks(subject, headers)
    slabs = FileSlabs(headers["image"], margin, check_axes(axes))
    chosen = level_voxels(brain)
    values = np.empty((len(chosen[0]), len(protocol)), slabs.dtype)
    for channel, volume in enumerate(each_channel(slabs.volumes(), subject.name, mask, protocol, nan)):
        values[:, channel] = volume[chosen]
    target, sound = read_target(headers, mask, nan) if need_target else (None, None)
    scored = mask if sound is None else mask & sound
    return StreamedSubject(subject.name, slabs, mask, headers["image"][0].affine, values, target, scored)
