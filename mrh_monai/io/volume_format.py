"""What every format of volume files gives: a header, and the volumes one after another.

A format is one file in this folder, such as `itk_files`, that ends with its `VolumeFormat`, and one entry in `volume_files.FORMATS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from nibabel.volumeutils import apply_read_scaling

from mrh_monai.axis_order import FILE_ORDER, AxisOrder, affine_in_order, coronal_order, in_order, inverse_order
from mrh_monai.errors import SubjectError
from mrh_monai.io.files import COPY_AGAIN


@dataclass(frozen=True)
class Storage:
    """Where and how a file holds its voxels, for formats in which voxels lie one after another, X running fastest.

    Attributes:
        path: File with the voxels, which is the ``.img`` of a pair.
        offset: Place of the first voxel in the file, bytes.
        dtype: Type of a stored voxel, with its byte order.
        slope: Factor of the stored values; 1 where they are the values themselves.
        intercept: Number added after the multiplication.
        compressed: Whether the file is compressed. The offset then counts bytes of the decompressed file.
    """

    path: Path
    offset: int
    dtype: np.dtype
    slope: float
    intercept: float
    compressed: bool


class Placement(NamedTuple):
    """Where a NIfTI file says that its volume lies, in mm: two matrices with a code each, 0 for a matrix that does not count.

    A result on the same grid carries the same fields, so that every program places it as it places the scan. Analyze files have no place.

    Attributes:
        qform_code: Code of the quaternion form.
        sform_code: Code of the matrix form.
        pixdim: The sign ``qfac`` of the quaternion form, and the voxel size along (X, Y, Z).
        quaternion: ``quatern_b``, ``quatern_c`` and ``quatern_d``.
        offset: ``qoffset_x``, ``qoffset_y`` and ``qoffset_z``.
        rows: ``srow_x``, ``srow_y`` and ``srow_z``, four numbers each.
    """

    qform_code: int
    sform_code: int
    pixdim: tuple[float, ...]
    quaternion: tuple[float, ...]
    offset: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]

    @property
    def is_placed(self) -> bool:
        """Whether one of the two matrices counts."""
        return self.qform_code > 0 or self.sform_code > 0

    def scaled(self, size: tuple[float, float, float], factors: np.ndarray) -> Placement | None:
        """Return the fields for another voxel size; None if they cannot be had from these, so that the affine has to be written.

        Args:
            size: Voxel size along (X, Y, Z), mm.
            factors: (3,) by how much each of them has changed.
        """
        factor = float(factors[0])
        if self.is_placed and not np.allclose(factors, factor, rtol=1e-3):
            return None
        rows = tuple(tuple(value * factor for value in row) for row in self.rows)
        return self._replace(pixdim=(self.pixdim[0], *size), offset=tuple(value * factor for value in self.offset), rows=rows)


def unplaced(size: Sequence[float]) -> Placement:
    """Return the fields of a NIfTI file for a volume of which only the voxel size along (X, Y, Z) is known, in mm."""
    return Placement(0, 0, (1.0, *size), (0.0,) * 3, (0.0,) * 3, ((0.0,) * 4,) * 3)


@dataclass(frozen=True)
class Header:
    """What a file says about its voxels before any of them is read.

    Attributes:
        path: The file.
        shape: (X, Y, Z), voxels.
        channels: Number of 3D volumes in the file.
        spacing: Voxel size along (X, Y, Z), mm.
        affine: (4, 4) matrix from voxel index to RAS+ mm, as the reader gives it.
        has_affine: Whether the file holds an affine. Analyze files do not, nor do NIfTI files whose codes are 0: their reader invents one.
        dtype: Type of the voxels that are read: the stored type, or float32 where the file scales its values.
        storage: How the voxels are stored; None for a format that is only read whole.
        placement: The fields of a NIfTI or Analyze file that place it; None for other formats.
        is_stated: Whether the user has stated the voxel size, because that of the file is wrong.
        axes: Axis of the file that is X, Y and Z. Everywhere else in this class, and in the voxels that are read, X, Y and Z come in this
            order, with the coronal slices along Y.
    """

    path: Path
    shape: tuple[int, int, int]
    channels: int
    spacing: tuple[float, float, float]
    affine: np.ndarray
    has_affine: bool
    dtype: np.dtype
    storage: Storage | None = None
    placement: Placement | None = None
    is_stated: bool = False
    axes: AxisOrder = FILE_ORDER

    def with_coronal_axis(self, axis: int) -> Header:
        """Return the header for voxels whose coronal slices lie along another axis of the file; they are read with that axis as Y.

        Args:
            axis: Axis of the file, 0, 1 or 2. The other two keep their order.

        Example:
            >>> header = make_header(Path("scan.nii"), (9, 8, 7), (0.1, 0.2, 0.4), np.diag([0.1, 0.2, 0.4, 1]), True, np.dtype("int16"))
            >>> turned = header.with_coronal_axis(2)
            >>> turned.shape, turned.spacing, turned.axes
            ((9, 7, 8), (0.1, 0.4, 0.2), (0, 2, 1))
        """
        return self.in_file_order()._ordered(coronal_order(axis))

    def like_files_of(self, subject: Header) -> Header:
        """Return the header of a file that belongs to no subject, such as region labels, as the files of a subject are read."""
        stored = self.with_voxel_size(subject.in_file_order().spacing) if subject.is_stated else self
        return stored._ordered(subject.axes)

    def in_file_order(self) -> Header:
        """Return the header with the axes in the order of the file."""
        return self._ordered(inverse_order(self.axes))

    def _ordered(self, order: AxisOrder) -> Header:
        def ordered(values: Sequence[Any]) -> Any:
            return tuple(values[axis] for axis in order)

        affine = affine_in_order(self.affine, order)
        return replace(self, shape=ordered(self.shape), spacing=ordered(self.spacing), affine=affine, axes=ordered(self.axes))

    def with_voxel_size(self, size: Sequence[float]) -> Header:
        """Return the same header with the voxel size that the user states. The voxel at which the origin lies stays the same.

        Args:
            size: Voxel size along (X, Y, Z), mm.

        Example:
            >>> header = make_header(Path("mask.nii"), (4, 3, 2), (14, 14, 40), np.diag([14, 14, 40, 1]), True, np.dtype("uint8"))
            >>> stated = header.with_voxel_size((0.14, 0.14, 0.4))
            >>> stated.spacing, np.diag(stated.affine).round(6).tolist()
            ((0.14, 0.14, 0.4), [0.14, 0.14, 0.4, 1.0])
        """
        x_mm, y_mm, z_mm = (float(edge) for edge in size)
        factors = np.array([x_mm, y_mm, z_mm]) / self.spacing
        matrix = self.affine[:3, :3] * factors
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = matrix, matrix @ np.linalg.solve(self.affine[:3, :3], self.affine[:3, 3])
        placement = None if self.placement is None else self.placement.scaled((x_mm, y_mm, z_mm), factors)
        return replace(self, spacing=(x_mm, y_mm, z_mm), affine=affine, placement=placement, is_stated=True)

    @property
    def can_map(self) -> bool:
        """Whether any part of the voxels can be read from disk without the rest, by `map_voxels`."""
        return self.storage is not None and not self.storage.compressed


@dataclass(frozen=True)
class VolumeFormat:
    """One way of reading volume files.

    Attributes:
        endings: File-name endings of the format in lower case, such as ``.nii.gz``.
        read_header: Reads the header of a file that exists and is not empty. Both functions may raise anything on a damaged file.
        each_volume: Yields the volumes of a file in their order, (X, Y, Z) in the header's ``dtype``, X running fastest in memory.
    """

    endings: tuple[str, ...]
    read_header: Callable[[Path], Header]
    each_volume: Callable[[Header], Iterator[np.ndarray]]


def make_header(
    path: Path,
    shape: Sequence[int],
    spacing: Sequence[float],
    affine: np.ndarray,
    has_affine: bool,
    dtype: np.dtype,
    storage: Storage | None = None,
) -> Header:
    """Check what a file says about its voxels, and put it into a header.

    Args:
        path: The file.
        shape: Lengths of the file's axes: (X, Y, Z), (X, Y, Z, C), or more axes of length 1.
        spacing: Voxel size along the axes, of which the first three count, mm.
        affine: (4, 4) matrix from voxel index to RAS+ mm.
        has_affine: Whether the affine is the file's own.
        dtype: Type of the voxels that are read.
        storage: How the voxels are stored; None for a format that is only read whole.

    Raises:
        SubjectError: The file holds no 3D or 4D volume, its voxels are not real numbers, or its affine is singular or not finite.
    """
    lengths = drop_trailing_ones(tuple(int(length) for length in shape))
    if len(lengths) not in (3, 4) or min(lengths) < 1:
        raise SubjectError(path, "a 3D volume or 4D list of volumes", f"shape {lengths}", "split or stack the volumes")
    if dtype.kind not in "uif":
        raise SubjectError(path, "magnitude values (integers or real numbers)", f"voxels of type {dtype}", "save the magnitude")
    x_mm, y_mm, z_mm = (round(float(edge), 6) for edge in spacing[:3])
    affine = checked_affine(affine, path, "correct the file's sform or qform")
    volume = (lengths[0], lengths[1], lengths[2])
    return Header(path, volume, math.prod(lengths[3:]), (x_mm, y_mm, z_mm), affine, has_affine, dtype, storage)


def checked_affine(affine: np.ndarray, where: object, remedy: str) -> np.ndarray:
    """Return an affine as float64, after a check that it gives every voxel a place of its own.

    Args:
        affine: (4, 4) matrix from voxel index to RAS+ mm.
        where: File or argument that the error names.
        remedy: What to do about a wrong one.

    Raises:
        SubjectError: The affine is singular or not finite.

    Example:
        >>> checked_affine(np.eye(4, dtype=int), "affine", "correct it").dtype
        dtype('float64')
    """
    affine = np.asarray(affine, float)
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        found = "an affine that is singular or not finite"
        raise SubjectError(where, "an affine that gives every voxel a place of its own", found, remedy)
    return affine


def check_size(file: Path, expected: int, content: str) -> None:
    """Refuse a file whose voxels take fewer or more bytes than its header says; its voxels would be read from the wrong places.

    Args:
        file: File with uncompressed voxels.
        expected: Size of the whole file, bytes.
        content: What the header says, such as ``(48, 12, 32, 67) int16``.

    Raises:
        SubjectError: The file has another size.
    """
    found = file.stat().st_size
    if found != expected:
        remedy = COPY_AGAIN if found < expected else "use the header that was written with this file"
        raise SubjectError(file, f"{expected} bytes ({content})", f"{found}", remedy)


def drop_trailing_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without the axes of length 1 that converters leave behind the third.

    Example:
        >>> drop_trailing_ones((8, 6, 4, 1, 1))
        (8, 6, 4)
    """
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def map_voxels(header: Header) -> np.ndarray:
    """Return the voxels as stored, as an array that reads from disk only what is used of it.

    Args:
        header: Header of a file that `can_map`.

    Returns:
        (X, Y, Z, C) of the stored type, X running fastest. `scale_stored_voxels` turns parts of it into values.
    """
    storage = header.storage
    assert storage is not None
    shape = (*header.in_file_order().shape, header.channels)
    return in_order(np.asarray(np.memmap(storage.path, storage.dtype, "r", storage.offset, shape, order="F")), header.axes)


def scale_stored_voxels(header: Header, stored: np.ndarray) -> np.ndarray:
    """Return the values of voxels in ``header.dtype``, from the voxels as stored on disk.

    Args:
        header: Header of the file, with its ``storage``.
        stored: Voxels of the stored type, any shape.
    """
    assert header.storage is not None
    values = apply_read_scaling(stored, header.storage.slope, header.storage.intercept)
    with np.errstate(over="ignore"):  # A value that is too large for float32 becomes Inf, which later checks find.
        return values.astype(header.dtype, copy=False)
