"""Subjects whose images are in memory, ready for patches to be gathered from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.axis_order import CORONAL_AXIS, FILE_ORDER, AxisOrder, in_order
from mrh_monai.data.checked_voxels import NAME_TARGET_MASK, ReadingOptions, check_stain, checked_channels, finite_voxels, read_target
from mrh_monai.data.grid import check_slices, placed_first, read_headers
from mrh_monai.data.masks import checked_mask, checked_target_mask, read_masks, restricted_mask
from mrh_monai.data.slabs import PaddedImage, memory_order
from mrh_monai.errors import SubjectError
from mrh_monai.io import Header, Placement, each_volume, make_header, read_voxels
from mrh_monai.protocol import MRProtocol
from mrh_monai.subjects import Subject, SubjectArrays, coronal_axis

# Percentiles of this many voxels are within 1% of those of the whole subject, and cost little time.
LEVEL_VOXELS = 50_000


@dataclass(frozen=True)
class SubjectInMemory:
    """One subject in memory.

    Attributes:
        name: Name of the subject.
        padded: (X + 2m, Y + 2m, Z + 2m, C) in the dtype of the files, with a margin of m zero voxels on each side.
        margin: Number of margin voxels m.
        mask: (X, Y, Z) bool, restricted to the subject's slices.
        target: (X, Y, Z) in the stain's own units; None without a target.
        fa: (X, Y, Z) fractional anisotropy multiplied by 255; None without a map.
        affine: (4, 4) from voxel index to RAS+ mm, that of the image.
        target_mask: (X, Y, Z) bool, where the target is intact; None if it is intact everywhere.
        largest: Largest intensity of a patch file; None for volumes.
        whole_mask: (X, Y, Z) bool, the mask of the whole brain, in all slices; None if ``mask`` already is that.
        placement: Fields that place the image, from the header of its NIfTI file; None for other formats and for arrays.
        axes: Axis of the files that is X, Y and Z here, see `mrh_monai.io.Header`.
    """

    name: str
    padded: np.ndarray
    margin: int
    mask: np.ndarray
    target: np.ndarray | None
    fa: np.ndarray | None
    affine: np.ndarray
    target_mask: np.ndarray | None = None
    largest: float | None = None
    whole_mask: np.ndarray | None = None
    placement: Placement | None = None
    axes: AxisOrder = FILE_ORDER

    @property
    def brain(self) -> np.ndarray:
        """(X, Y, Z) bool: the mask over all slices, so that the level of a subject does not depend on which slices are in use."""
        return self.mask if self.whole_mask is None else self.whole_mask

    @property
    def is_patches(self) -> bool:
        """Whether this is a patch file: N patches as a volume (3, N, 3) whose mask holds only their centres."""
        return self.largest is not None

    @property
    def scored(self) -> np.ndarray:
        """(X, Y, Z) bool: the voxels of the mask where the target is intact. Networks are trained and judged on them."""
        return self.mask if self.target_mask is None else self.mask & self.target_mask

    @property
    def torn(self) -> np.ndarray | None:
        """(X, Y, Z) bool: the voxels of the brain where the target is not intact; None where it is intact everywhere."""
        return None if self.target_mask is None else self.brain & ~self.target_mask

    @property
    def left_out(self) -> np.ndarray | None:
        """(Y,) bool: the slices that hold no voxel of the mask, because the subject is restricted to others; None without restriction."""
        return None if self.whole_mask is None else np.asarray(~self.mask.any(axis=(0, 2)))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Edges of a voxel along x, y and z, in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def slabs(self) -> PaddedImage:
        """The images, slab by slab."""
        return PaddedImage(self.padded, self.margin)

    @property
    def level_values(self) -> np.ndarray:
        """(N, C) raw intensities of voxels that are spread over the brain, from which the level of the subject is taken."""
        return np.asarray(self.image[level_voxels(self.brain)])

    @property
    def image(self) -> np.ndarray:
        """(X, Y, Z, C), a view without the margin."""
        inner = (slice(self.margin, -self.margin or None),) * 3
        return self.padded[inner]

    def close(self) -> None:
        """Do nothing: no temporary file belongs to a subject in memory."""


def level_voxels(brain: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return x, y and z of the voxels of a mask (X, Y, Z); if there are many, of a selection that is spread over the whole mask."""
    step = max(1, int(brain.sum()) // LEVEL_VOXELS)
    return tuple(axis[::step] for axis in np.nonzero(brain))


def load_volumes(subjects: Sequence[Subject], protocol: MRProtocol, options: ReadingOptions) -> list[SubjectInMemory]:
    """Read the volumes of subjects into one piece of memory, each once.

    Args:
        subjects: Subjects of volumes.
        protocol: Channels that each subject must have.
        options: How to read them.

    Raises:
        SubjectError: Files are missing, damaged or on different grids; a mask is empty or holds other values than 0 and 1; a channel has
            NaN or Inf inside the mask, or only zeros.
    """
    if options.support == "fa":
        subjects = [replace(subject, mask=None) for subject in subjects]
    headers = [read_headers(subject, protocol, options.need_target) for subject in subjects]
    dtype = np.result_type(*(h.dtype for group in headers for h in group["image"])) if headers else np.dtype("int16")
    order, margin = memory_order(options.patch.axes), options.padding
    padded_shapes = [tuple(n + 2 * margin for n in group["image"][0].shape) for group in headers]
    memory = np.zeros((sum(math.prod(shape) for shape in padded_shapes), len(protocol)), dtype)
    loaded, start = [], 0
    for subject, group, shape in zip(subjects, headers, padded_shapes, strict=True):
        stop = start + math.prod(shape)
        in_memory = memory[start:stop].reshape(*(shape[axis] for axis in order), len(protocol))
        padded = in_memory.transpose(*np.argsort(order), 3)
        loaded.append(_load(subject, group, padded, protocol, options))
        start = stop
    return loaded


def load_arrays(subject: SubjectArrays, protocol: MRProtocol, options: ReadingOptions) -> SubjectInMemory:
    """Check a subject of NumPy arrays, and add the margin that patches need.

    Args:
        subject: The arrays.
        protocol: Channels that the subject must have.
        options: How to read it; ``support`` is not used, since arrays come with their mask.

    Raises:
        SubjectError: The channels are not those of the protocol, or an error that `load_volumes` describes.
    """
    header = array_header(subject)
    subject = _in_order(subject, header)
    name, shape = subject.name, subject.mask.shape
    protocol.check_count(subject.image.shape[3], name)
    check_slices(name, subject.slices, shape[CORONAL_AXIS], header.axes[CORONAL_AXIS])
    whole = checked_mask(subject.mask, f"{name}, mask")
    mask = restricted_mask(whole, subject.slices, f"{name}, mask", header.axes)
    margin = options.padding
    order = memory_order(options.patch.axes)
    padded_shape = [n + 2 * margin for n in shape]
    memory = np.zeros([*(padded_shape[axis] for axis in order), len(protocol)], subject.image.dtype)
    brain = None if subject.slices is None else whole
    padded = memory.transpose(*np.argsort(order), 3)
    loaded = SubjectInMemory(name, padded, margin, mask, None, None, subject.affine, whole_mask=brain, axes=header.axes)
    volumes = ((f"{name}, image", subject.image[..., channel]) for channel in range(len(protocol)))
    for channel, volume in enumerate(checked_channels(volumes, name, mask, protocol, options.nan, header.axes)):
        loaded.image[..., channel] = volume
    if not options.need_target:
        return loaded
    if subject.target is None:
        raise SubjectError(name, f"a target of shape {shape}", "no target", "give the stain as `target`")
    intact = None
    if subject.target_mask is not None:
        intact = checked_target_mask(checked_mask(subject.target_mask, f"{name}, target_mask"), mask, f"{name}, target_mask")
    scored = mask if intact is None else mask & intact
    target = finite_voxels(subject.target, scored, f"{name}, target", "refuse", remedy=NAME_TARGET_MASK)
    check_stain(target, scored, f"{name}, target", "inside the mask" + ("" if intact is None else " and the target_mask"), header.axes)
    return replace(loaded, target=target, target_mask=intact)


def array_header(subject: SubjectArrays) -> Header:
    """Return the header that a file of the images would have, with the coronal slices along Y; its path is the name of the subject."""
    spacing = np.linalg.norm(subject.affine[:3, :3], axis=0).tolist()
    header = make_header(Path(subject.name), subject.image.shape, spacing, subject.affine, True, subject.image.dtype)
    return header.with_coronal_axis(coronal_axis([header], subject.coronal_axis))


def _in_order(subject: SubjectArrays, header: Header) -> SubjectArrays:
    """Return a subject with the axes in the order of its header; nothing is copied."""
    volumes = {role: volume for role in ("mask", "target", "target_mask") if (volume := getattr(subject, role)) is not None}
    turned: dict[str, Any] = {role: in_order(volume, header.axes) for role, volume in volumes.items()}
    image = in_order(subject.image, header.axes)
    return replace(subject, image=image, affine=header.affine, coronal_axis=CORONAL_AXIS, **turned)


def _load(
    subject: Subject, headers: dict[str, list[Header]], padded: np.ndarray, protocol: MRProtocol, options: ReadingOptions
) -> SubjectInMemory:
    mask, whole = read_masks(headers, subject.slices)
    needs_fa = bool(headers["fa"]) and (options.need_fa or not headers["mask"])
    fa = read_voxels(headers["fa"][0])[..., 0] if needs_fa else None
    brain = None if subject.slices is None else whole
    place = placed_first(headers)
    loaded = SubjectInMemory(
        subject.name, padded, options.padding, mask, None, fa, place.affine, whole_mask=brain, placement=place.placement, axes=place.axes
    )
    volumes = ((header.path, volume) for header in headers["image"] for volume in each_volume(header))
    for channel, volume in enumerate(checked_channels(volumes, subject.name, mask, protocol, options.nan, place.axes)):
        loaded.image[..., channel] = volume
    if not options.need_target or not headers["target"]:
        return loaded
    target, intact = read_target(headers, mask)
    return replace(loaded, target=target, target_mask=intact)
