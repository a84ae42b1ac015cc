"""Subjects whose images stay on disk: each file is read once to check it, and then slab by slab. A whole brain needs little memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mrh_monai.axis_order import FILE_ORDER, AxisOrder
from mrh_monai.data.checked_voxels import ReadingOptions, checked_channels, read_target
from mrh_monai.data.grid import placed_first, read_headers
from mrh_monai.data.masks import read_masks
from mrh_monai.data.slabs import FileSlabs
from mrh_monai.data.subject_in_memory import level_voxels
from mrh_monai.io import Placement
from mrh_monai.protocol import MRProtocol
from mrh_monai.subjects import Subject


@dataclass(frozen=True)
class SubjectOnDisk:
    """One subject whose images are on disk.

    Attributes:
        name: Name of the subject.
        slabs: The images, slab by slab.
        mask: (X, Y, Z) bool, restricted to the subject's slices.
        affine: (4, 4) from voxel index to RAS+ mm, that of the image.
        level_values: (N, C) raw intensities of voxels that are spread over the brain.
        target: (X, Y, Z) in the stain's own units; None without a target.
        scored: (X, Y, Z) bool: the voxels of the mask where the target is intact.
        placement: Fields that place the image, from the header of its NIfTI file; None for other formats.
        axes: Axis of the files that is X, Y and Z here, see `mrh_monai.io.Header`.
        largest: None, since only patch files have a largest intensity.
    """

    name: str
    slabs: FileSlabs
    mask: np.ndarray
    affine: np.ndarray
    level_values: np.ndarray
    target: np.ndarray | None
    scored: np.ndarray
    placement: Placement | None = None
    axes: AxisOrder = FILE_ORDER
    largest: float | None = None

    def close(self) -> None:
        """Remove temporary files; the images cannot be read afterwards."""
        self.slabs.close()


def open_volumes(subject: Subject, protocol: MRProtocol, options: ReadingOptions) -> SubjectOnDisk:
    """Read the images of a subject once, channel by channel, check them, and leave them on disk.

    The arguments and the errors are those of `load_volumes`; the slabs hold the same numbers.
    """
    if options.support == "fa":
        subject = replace(subject, mask=None)
    headers = read_headers(subject, protocol, options.need_target)
    place = placed_first(headers)
    mask, brain = read_masks(headers, subject.slices)
    slabs = FileSlabs(headers["image"], options.padding, options.patch.axes)
    chosen = level_voxels(brain)
    values = np.empty((len(chosen[0]), len(protocol)), slabs.dtype)
    volumes = ((header.path, volume) for header, volume in slabs.volumes())
    for channel, volume in enumerate(checked_channels(volumes, subject.name, mask, protocol, options.nan, place.axes)):
        values[:, channel] = volume[chosen]
    target, intact = read_target(headers, mask) if options.need_target else (None, None)
    scored = mask if intact is None else mask & intact
    return SubjectOnDisk(subject.name, slabs, mask, place.affine, values, target, scored, place.placement, place.axes)
