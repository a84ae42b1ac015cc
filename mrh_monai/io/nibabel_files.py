"""Volumes that nibabel reads and writes: Analyze 7.5 and NIfTI."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from mrh_monai.errors import OutputError, SubjectError
from mrh_monai.io.files import COPY_AGAIN, replacing, writable_folder
from mrh_monai.io.volume_format import Header, Storage, VolumeFormat, make_header, map_voxels, scale_stored_voxels

NIFTI_ENDINGS = (".nii", ".nii.gz")


def read_nibabel_header(path: Path) -> Header:
    """Read the header of an Analyze or NIfTI file, and compare the size of an uncompressed file with it.

    Raises:
        SubjectError: The ``.img`` of a pair is missing, the file is too short, or it holds no 3D or 4D volume.
    """
    # A `.hdr` is read through its `.img`, so that one pair named twice compares equal.
    image: Any = nibabel.load(path.with_suffix(".img") if path.suffix == ".hdr" else path)
    proxy, stored = image.dataobj, Path(image.file_map["image"].filename)
    if not stored.is_file():
        raise SubjectError(stored, "the voxels of the pair", "no such file", "put the .img beside its .hdr")
    compressed = stored.name.lower().endswith(".nii.gz")
    if not compressed:
        expected = int(proxy.offset) + math.prod(image.shape) * proxy.dtype.itemsize
        if stored.stat().st_size < expected:
            raise SubjectError(stored, f"{expected} bytes ({image.shape} {proxy.dtype})", f"{stored.stat().st_size}", COPY_AGAIN)
    storage = Storage(stored, int(proxy.offset), proxy.dtype, float(proxy.slope), float(proxy.inter), compressed)
    is_scaled = (storage.slope, storage.intercept) != (1, 0)
    dtype = np.dtype(np.float32) if is_scaled else storage.dtype.newbyteorder("=")
    is_nifti = isinstance(image, nibabel.Nifti1Pair | nibabel.Nifti2Pair)
    return make_header(path, image.shape, image.header.get_zooms(), image.affine, is_nifti, dtype, storage)


def each_nibabel_volume(header: Header) -> Iterator[np.ndarray]:
    """Yield the volumes of an Analyze or NIfTI file; no more than one of them is in memory at a time.

    Yields:
        (X, Y, Z) in ``header.dtype``, X running fastest in memory.
    """
    assert header.storage is not None
    if header.storage.compressed:
        yield from (scale_stored_voxels(header, volume) for volume in _decompressed_volumes(header, header.storage))
    else:
        mapped = map_voxels(header)
        yield from (scale_stored_voxels(header, mapped[..., channel]) for channel in range(header.channels))


def _decompressed_volumes(header: Header, storage: Storage) -> Iterator[np.ndarray]:
    """Yield every volume as stored. The file is read to its end, where the checksum is compared as well."""
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


def write_analyze(path: Path | str, voxels: np.ndarray, voxel_mm: float) -> None:
    """Write an Analyze 7.5 pair (``.hdr`` and ``.img``) in the array's own dtype.

    Args:
        path: Either file of the pair.
        voxels: (X, Y, Z) or (X, Y, Z, C), uint8, int16, int32, float32 or float64.
        voxel_mm: Edge of the cubic voxel, mm.

    Raises:
        OutputError: The files cannot be written.
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
        voxels: (X, Y, Z) or (X, Y, Z, C).
        affine: (4, 4) matrix from voxel index to RAS+ mm.

    Raises:
        OutputError: The name has another ending, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> from mrh_monai.io import read_header
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_nifti(f"{folder}/stain.nii.gz", np.zeros((4, 3, 2), np.float32), np.diag([0.1, 0.1, 0.1, 1]))
        ...     header = read_header(f"{folder}/stain.nii.gz")
        >>> header.shape, header.spacing, str(header.dtype)
        ((4, 3, 2), (0.1, 0.1, 0.1), 'float32')
    """
    check_nifti_output(path)
    image = nibabel.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    with replacing(path) as temporary:
        nibabel.save(image, temporary)


def is_nifti(path: Path | str) -> bool:
    """Return whether a path is that of a NIfTI file, by its ending in any case.

    Example:
        >>> is_nifti("AF.NII.GZ"), is_nifti("af.img")
        (True, False)
    """
    return Path(path).name.lower().endswith(NIFTI_ENDINGS)


def check_nifti_output(path: Path | str) -> None:
    """Refuse a path that no NIfTI file can be written to, before any work is done for it.

    Raises:
        OutputError: The name does not end in .nii or .nii.gz, or its folder cannot be written.
    """
    path = Path(path)
    writable_folder(path.parent)
    if not is_nifti(path):
        raise OutputError(path, "a name ending in .nii or .nii.gz", f"{path.suffix!r}", "rename the output")


NIBABEL = VolumeFormat((".img", ".hdr", *NIFTI_ENDINGS), read_nibabel_header, each_nibabel_volume)
