"""The files of one subject on disk."""

from __future__ import annotations

import glob
import operator
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mrh_monai.errors import OptionError
from mrh_monai.io import is_patch_file, volume_ending
from mrh_monai.subjects.file_geometry import FileGeometry, checked_coronal_axis, checked_voxel_size

# Ranges (start, stop) of coronal slices, counted from 0, the stop excluded.
Slices = tuple[tuple[int, int], ...]
# What `is_subject_name` accepts, in words.
SUBJECT_NAME = "a name of at most 100 bytes that can name files and does not begin with a dot"
# Files of a subject besides its images, by their names in a datalist.
FILE_KEYS = ("mask", "fa", "target", "target_mask")


@dataclass(frozen=True)
class Subject:
    """The files of one subject.

    Attributes:
        name: Unique name, by which results are filed.
        image: 3D or 4D files, joined along the channel axis in the order of the protocol; or one patch file.
        mask: Brain mask of 0 and 1; None if the FA map stands in for it (FA > 0, as published).
        fa: Map of the fractional anisotropy, uint8, multiplied by 255; None if there is no such file.
        target: The stain; None if the subject is only predicted.
        target_mask: Volume that is 1 where the stain is intact and 0 where tissue is torn or missing; None if it is intact everywhere.
        slices: Ranges (start, stop) along the coronal axis, counted from 0, the stop excluded; None for all slices.
        coronal_axis: Array axis, 0, 1 or 2, along which the coronal slices of all files lie; None for the axis that their affine names, see
            `coronal_axis` in this room.
        listed_in: Datalist or manifest that lists the subject; None for no such file. It makes no difference between two subjects.
        voxel_size: True voxel size of all files along the array axes, mm, where the files have another one; None to read it from the files.
    """

    name: str
    image: tuple[Path, ...]
    mask: Path | None = None
    fa: Path | None = None
    target: Path | None = None
    target_mask: Path | None = None
    slices: Slices | None = None
    voxel_size: tuple[float, float, float] | None = None
    coronal_axis: int | None = None
    listed_in: Path | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "coronal_axis", checked_coronal_axis(self.coronal_axis))
        object.__setattr__(self, "voxel_size", checked_voxel_size(self.voxel_size))
        image = (self.image,) if isinstance(self.image, str | os.PathLike) else self.image
        object.__setattr__(self, "image", tuple(Path(path) for path in image))
        for key in FILE_KEYS:
            if getattr(self, key) is not None:
                object.__setattr__(self, key, Path(getattr(self, key)))
        object.__setattr__(self, "slices", checked_slices(self.slices))

    @property
    def is_patch_file(self) -> bool:
        """Whether the images are a patch file instead of volumes."""
        return any(is_patch_file(path) for path in self.image)

    @property
    def files(self) -> dict[str, Path]:
        """The files besides the images that the subject has, by their names in a datalist."""
        return {key: path for key in FILE_KEYS if (path := getattr(self, key)) is not None}

    def stated(self, geometry: FileGeometry) -> Subject:
        """Return the same subject with what the user states of the geometry of its files; None leaves what the subject has."""
        size, axis = geometry
        return replace(self, voxel_size=size or self.voxel_size, coronal_axis=self.coronal_axis if axis is None else axis)

    def within(self, slices: Sequence[tuple[int, int]] | None) -> Subject:
        """Return the same subject, restricted to those of its slices that also lie in ``slices``; None leaves it unchanged.

        Raises:
            OptionError: No slice lies in both.
        """
        asked = checked_slices(slices)
        return self if asked is None else replace(self, slices=common_slices(self.name, self.slices, asked))


def is_subject_name(name: object) -> bool:
    """Return whether results can be filed under a name.

    Example:
        >>> [is_subject_name(name) for name in ("m7", "0", "", " ", "../m7", ".m7", "a" * 200)]
        [True, True, False, False, False, False, False]
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or name.startswith(".") or set(name) & set("/\\"):
        return False
    return len(name.encode()) <= 100  # printable letters can be encoded


def files_of(subject: Subject) -> list[Path]:
    """Return every file that is read for a subject, resolved: its data, and the file that lists it.

    Header and voxels can lie in two files. Therefore the files that differ only in the ending are included.
    """
    data = {file.resolve() for path in (*subject.image, *subject.files.values()) for file in _with_partners(path)}
    return sorted(data | ({subject.listed_in.resolve()} if subject.listed_in is not None else set()))


def _with_partners(path: Path) -> list[Path]:
    stem = path.name[: len(path.name) - len(volume_ending(path) or path.suffix)]
    beside = path.parent.glob(f"{glob.escape(stem)}.*")
    return [file for file in beside if re.fullmatch(r"\.\w+(\.gz)?", file.name[len(stem) :])]


def checked_slices(slices: Sequence[tuple[int, int]] | None) -> Slices | None:
    """Return ranges of slices as a tuple of pairs; None stays None.

    Args:
        slices: Ranges (start, stop), counted from 0, the stop excluded.

    Raises:
        OptionError: These are not such ranges.

    Example:
        >>> checked_slices([[0, 5], [8, 9]])
        ((0, 5), (8, 9))
    """
    if slices is None:
        return None
    try:
        pairs = tuple((operator.index(start), operator.index(stop)) for start, stop in slices)
    except (TypeError, ValueError) as error:
        remedy = "give pairs of whole numbers, such as [(0, 13), (17, 30)]"
        raise OptionError("slices", "ranges (start, stop)", repr(slices)[:60], remedy) from error
    return pairs


def common_slices(name: str, own: Slices | None, asked: Slices) -> Slices:
    """Return the slices that lie in the ranges of a subject and in the ranges that are asked for.

    Args:
        name: Name of the subject, for the error.
        own: Ranges of the subject; None for all slices.
        asked: Ranges that are asked for.

    Raises:
        OptionError: No slice lies in both.
    """
    if own is None:
        return asked
    both = tuple((max(a, c), min(b, d)) for a, b in own for c, d in asked if max(a, c) < min(b, d))
    if not both:
        expected = f"slices of {name} among {list(own)}"
        raise OptionError("slices", expected, f"{list(asked)}", "choose slices that the datalist lists for this subject")
    return both


def in_slices(length: int, slices: Slices | None) -> np.ndarray:
    """Return which coronal slices lie in any of the ranges.

    Args:
        length: Number of slices of the volume.
        slices: Ranges (start, stop), the stop excluded; None for all slices.

    Returns:
        (length,) bool.

    Example:
        >>> in_slices(5, ((1, 3),)).tolist()
        [False, True, True, False, False]
    """
    if slices is None:
        return np.ones(length, bool)
    inside = np.zeros(length, bool)
    for start, stop in slices:
        inside[start:stop] = True
    return inside
