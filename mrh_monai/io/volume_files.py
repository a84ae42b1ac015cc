"""One volume on disk: its header, its voxels, and writing one whole.

nibabel reads Analyze 7.5 and NIfTI, ITK reads the rest (NRRD, MHA, MetaImage). World coordinates are RAS+ millimetres.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.volumeutils import apply_read_scaling

from mrh_monai.errors import OutputError, SubjectError
from mrh_monai.io.files import COPY_AGAIN, replacing, writable_folder
from mrh_monai.io.itk_files import read_itk_header, read_itk_voxels

NIBABEL_ENDINGS = (".img", ".hdr", ".nii", ".nii.gz")
ITK_ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")
READABLE = ", ".join(NIBABEL_ENDINGS + ITK_ENDINGS)


@dataclass(frozen=True)
class Storage:
    """Where and how a file of nibabel's formats holds its voxels.

    Attributes:
        path: The file with the voxels, which is the ``.img`` of a pair.
        offset: Its first voxel's place, bytes; X runs fastest from there on.
        dtype: Of a voxel, with its byte order.
        slope: What stored values are multiplied by, 1 for integers that are values themselves.
        inter: What is added then.
        packed: Whether all this is meant of the unpacked file.
    """

    path: Path
    offset: int
    dtype: np.dtype
    slope: float
    inter: float
    packed: bool


@dataclass(frozen=True)
class Header:
    """What a file says of its voxels before any is read.

    Attributes:
        path: The file.
        shape: (X, Y, Z), voxels.
        channels: Number of 3D volumes in the file.
        spacing: Voxel size along (X, Y, Z), mm.
        affine: (4, 4) voxel index to RAS+ mm as the reader gives it.
        has_affine: False for Analyze, whose affine the reader makes up.
        dtype: What `read_voxels` gives: as stored, or float32 where the file scales its values.
        storage: How voxels are stored; None for ITK's formats.
    """

    path: Path
    shape: tuple[int, int, int]
    channels: int
    spacing: tuple[float, float, float]
    affine: np.ndarray
    has_affine: bool
    dtype: np.dtype
    storage: Storage | None = None

    @property
    def can_map(self) -> bool:
        """Whether any part of the voxels can be read without the rest: they lie on disk as they are."""
        return self.storage is not None and not self.storage.packed


def ending(path: Path | str) -> str:
    """The file-name ending that decides on the reader, with ``.gz`` where there is one; empty for an unknown one."""
    name = Path(path).name.lower()
    return next((e for e in sorted(NIBABEL_ENDINGS + ITK_ENDINGS, key=len, reverse=True) if name.endswith(e)), "")


def read_header(path: Path | str) -> Header:
    """Read a file's header and compare the file's size with it.

    Raises:
        SubjectError: The file is missing, empty, truncated, of an unknown kind, or holds no 3D or 4D volume.
    """
    path = Path(path)
    if path.is_dir():
        raise SubjectError(path, "a volume file", "a folder", "name the file")
    if not path.is_file():
        raise SubjectError(path, "a file", "none", "check the path")
    if not ending(path):
        raise SubjectError(path, f"a volume ({READABLE})", f"the ending {path.suffix!r}", "convert it to NIfTI")
    if path.stat().st_size == 0:
        raise SubjectError(path, "a volume", "an empty file", COPY_AGAIN)
    try:
        if ending(path) in ITK_ENDINGS:
            return _header(path, *read_itk_header(path), has_affine=True)
        return _nibabel_header(path)
    except (SubjectError, MemoryError):
        raise
    except Exception as error:  # readers raise whatever they like on a broken file
        raise SubjectError(path, f"a readable {ending(path)} file", _brief(error), COPY_AGAIN) from error


def read_voxels(header: Header) -> np.ndarray:
    """All voxels of a file.

    Returns:
        (X, Y, Z, C) in ``header.dtype``; integers are left as stored.

    Raises:
        SubjectError: The file ends too early or cannot be decoded.
    """
    voxels = np.empty((*header.shape, header.channels), header.dtype, order="F")
    for channel, volume in enumerate(each_volume(header)):
        voxels[..., channel] = volume
    return voxels


def each_volume(header: Header) -> Iterator[np.ndarray]:
    """The volumes of a file one after another; but for ITK's formats no more than one of them is held in memory.

    Yields:
        (X, Y, Z) in ``header.dtype``, X running fastest in memory.

    Raises:
        SubjectError: The file ends too early or cannot be decoded.
    """
    try:
        if header.storage is None:
            voxels = read_itk_voxels(header.path).reshape(*header.shape, header.channels, order="F")
            yield from (voxels[..., channel].astype(header.dtype, copy=False) for channel in range(header.channels))
        elif header.storage.packed:
            yield from (from_stored(header, volume) for volume in _unpacked(header, header.storage))
        else:
            mapped = map_voxels(header)
            yield from (from_stored(header, mapped[..., channel]) for channel in range(header.channels))
    except (SubjectError, MemoryError):
        raise
    except Exception as error:  # readers raise whatever they like on a broken file
        expected = f"{header.channels} volumes of {header.shape} voxels"
        raise SubjectError(header.path, expected, _brief(error), COPY_AGAIN) from error


def map_voxels(header: Header) -> np.ndarray:
    """Voxels as stored, for `from_stored`, which are read from disk where they are touched.

    Args:
        header: Of a file that `can_map`.

    Returns:
        (X, Y, Z, C) of the type on disk, X running fastest.
    """
    storage = header.storage
    assert storage is not None
    shape = (*header.shape, header.channels)
    return np.asarray(np.memmap(storage.path, storage.dtype, "r", storage.offset, shape, order="F"))


def from_stored(header: Header, stored: np.ndarray) -> np.ndarray:
    """Values of voxels in ``header.dtype``, from voxels as stored on disk."""
    assert header.storage is not None
    values = apply_read_scaling(stored, header.storage.slope, header.storage.inter)
    with np.errstate(over="ignore"):  # what is too large for float32 becomes Inf, and is found
        return values.astype(header.dtype, copy=False)


def write_analyze(path: Path | str, voxels: np.ndarray, voxel_mm: float) -> None:
    """Write an Analyze 7.5 pair (``.hdr`` and ``.img``) in the array's own dtype.

    Args:
        path: Either file of the pair.
        voxels: (X, Y, Z) or (X, Y, Z, C), uint8, int16, int32, float32 or float64.
        voxel_mm: Edge of the cubic voxel, mm.
    """
    image_path = Path(path).with_suffix(".img")
    header = nibabel.AnalyzeHeader()
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape)
    header.set_zooms((voxel_mm,) * 3 + (1.0,) * (voxels.ndim - 3))
    with replacing(image_path) as temporary:
        temporary.write_bytes(voxels.tobytes(order="F"))
    with replacing(image_path.with_suffix(".hdr")) as temporary, open(temporary, "wb") as stream:
        header.write_to(stream)


def write_nifti(path: Path | str, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Write a NIfTI file, ``.nii`` or ``.nii.gz``, in the array's own dtype.

    Args:
        path: The file.
        voxels: (X, Y, Z).
        affine: (4, 4) voxel index to RAS+ mm.

    Raises:
        OutputError: The name has another ending, or the file cannot be written.
    """
    check_nifti_output(path)
    image = nibabel.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    with replacing(path) as temporary:
        nibabel.save(image, temporary)


def check_nifti_output(path: Path | str) -> None:
    """Refuse a place that no NIfTI file can be written to, before any work is done for it.

    Raises:
        OutputError: The name does not end in .nii or .nii.gz, or its folder cannot be written.
    """
    writable_folder(Path(path).parent)
    if ending(path) not in (".nii", ".nii.gz"):
        raise OutputError(path, "a name ending in .nii or .nii.gz", f"{Path(path).suffix!r}", "rename the output")


def drop_trailing_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape of at most four axes: (X, Y, Z, C), without the trailing axes of length 1 that converters leave behind."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _header(
    path: Path, shape: tuple[int, ...], spacing: Any, affine: np.ndarray, dtype: Any, has_affine: bool, storage: Storage | None = None
) -> Header:
    shape = drop_trailing_ones(tuple(int(n) for n in shape))
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise SubjectError(path, "a 3D volume or 4D list of volumes", f"shape {shape}", "split or stack the volumes")
    if np.dtype(dtype).kind not in "uif":
        raise SubjectError(path, "magnitude values (integers or real numbers)", f"voxels of type {np.dtype(dtype)}", "save the magnitude")
    zooms = tuple(round(float(s), 6) for s in spacing[:3])
    affine = np.asarray(affine, float)
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise SubjectError(path, "an affine that gives every voxel a place of its own", "one that does not", "mend its sform or qform")
    return Header(path, shape[:3], math.prod(shape[3:]), zooms, affine, has_affine, np.dtype(dtype), storage)  # type: ignore[arg-type]


def _nibabel_header(path: Path) -> Header:
    # A `.hdr` is read through its `.img`, so that one pair named twice compares equal.
    image: Any = nibabel.load(path.with_suffix(".img") if path.suffix == ".hdr" else path)
    proxy, stored = image.dataobj, Path(image.file_map["image"].filename)
    if not stored.is_file():
        raise SubjectError(stored, "the voxels of the pair", "no such file", "put the .img beside its .hdr")
    packed = ending(stored) == ".nii.gz"
    if not packed:
        expected = int(proxy.offset) + math.prod(image.shape) * proxy.dtype.itemsize
        if stored.stat().st_size < expected:
            raise SubjectError(stored, f"{expected} bytes ({image.shape} {proxy.dtype})", f"{stored.stat().st_size}", COPY_AGAIN)
    storage = Storage(stored, int(proxy.offset), proxy.dtype, float(proxy.slope), float(proxy.inter), packed)
    dtype = proxy.dtype.newbyteorder("=") if (storage.slope, storage.inter) == (1, 0) else np.float32
    is_nifti = isinstance(image, nibabel.Nifti1Pair | nibabel.Nifti2Pair)
    return _header(path, image.shape, image.header.get_zooms(), image.affine, dtype, is_nifti, storage)


def _unpacked(header: Header, storage: Storage) -> Iterator[np.ndarray]:
    """Every volume as stored; at the end of the file its checksum is compared as well."""
    size = math.prod(header.shape) * storage.dtype.itemsize
    with gzip.open(storage.path) as stream:
        stream.seek(storage.offset)
        for channel in range(header.channels):
            data = stream.read(size)
            if len(data) < size:
                raise EOFError(f"the file ends in volume {channel + 1} of {header.channels}")
            yield np.frombuffer(data, storage.dtype).reshape(header.shape, order="F")
        while stream.read(1 << 20):
            pass


def _brief(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__} ({lines[-1][:200] if lines else 'no message'})"
