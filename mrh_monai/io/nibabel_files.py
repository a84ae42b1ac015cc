"""Volumes that nibabel reads and writes: Analyze 7.5 and NIfTI."""

from __future__ import annotations

import gzip
import io
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from mrh_monai.errors import MRHWarning, OutputError, SubjectError
from mrh_monai.io.files import replacing, writable_folder
from mrh_monai.io.volume_format import (
    Header,
    Placement,
    Storage,
    VolumeFormat,
    check_size,
    make_header,
    map_voxels,
    scale_stored_voxels,
    unplaced,
)

NIFTI_ENDINGS = (".nii", ".nii.gz")
METRE, MICROMETRE = 1, 3  # codes of `xyzt_units`; 2 is mm, and 0 names no unit


def read_nibabel_header(path: Path) -> Header:
    """Read the header of an Analyze or NIfTI file, and compare the size of an uncompressed file with it.

    Lengths are given in mm, whatever unit the file names. The voxels of an Analyze file are its stored values, whatever stands in fields
    for display; only a file that SPM marks as its own is scaled as SPM does.

    Raises:
        SubjectError: The ``.img`` of a pair is missing, the file has another size than its header says, its voxel size is not known, or it
            holds no 3D or 4D volume.
    """
    image = _load(path)
    proxy, stored = image.dataobj, Path(image.file_map["image"].filename)
    if not stored.is_file():
        raise SubjectError(stored, "the voxels of the pair", "no such file", "put the .img beside its .hdr")
    is_nifti = isinstance(image, nibabel.Nifti1Pair | nibabel.Nifti2Pair)
    compressed = stored.name.lower().endswith(".gz")
    # A single NIfTI file cannot have its voxels inside its header, whatever the header says.
    offset = max(int(proxy.offset), getattr(image.header, "single_vox_offset", 0) if getattr(image.header, "is_single", False) else 0)
    if not compressed:
        check_size(stored, offset + math.prod(image.shape) * proxy.dtype.itemsize, f"{image.shape} {proxy.dtype}")
    slope, intercept = _scale(image, path)
    storage = Storage(stored, offset, proxy.dtype, slope, intercept, compressed)
    is_scaled = (slope, intercept) != (1, 0)
    dtype = np.dtype(np.float32) if is_scaled else storage.dtype.newbyteorder("=")
    divisor = _per_mm(image)
    # What plain Analyze has in the fields of SPM's origin is no place.
    affine = np.array(image.affine if is_nifti else image.header.get_base_affine(), float)
    affine[:3] /= divisor
    spacing = _voxel_size(image, path) / divisor
    placement = _placement(image.header, spacing, divisor) if is_nifti else unplaced(spacing.tolist())
    if placement.sform_code > 0:  # this matrix counts, whatever stands in the field of voxel sizes
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
    header = make_header(path, image.shape, spacing.tolist(), affine, placement.is_placed, dtype, storage)
    return replace(header, placement=placement)


def _load(path: Path) -> Any:
    """Open a file with nibabel, which is told the two files of a pair, since their names may differ in case."""
    if path.suffix.lower() not in (".img", ".hdr"):
        return nibabel.load(path)
    image, header = (_beside(path, ending) for ending in (".img", ".hdr"))
    if not header.is_file():
        raise SubjectError(header, "the header of the pair", "no such file", "put the .hdr beside its .img")
    beginning = header.read_bytes()[:348]
    files = {"image": nibabel.FileHolder(str(image)), "header": nibabel.FileHolder(str(header))}
    if beginning[344:348] in (b"ni1\0", b"n+1\0"):
        return nibabel.Nifti1Pair.from_file_map(files)
    if int.from_bytes(beginning[:4], "little") == 540 or int.from_bytes(beginning[:4], "big") == 540:
        return nibabel.Nifti2Pair.from_file_map(files)
    # SPM keeps an affine in a MATLAB file beside the pair. Beside other files, this name means nothing.
    mat = _beside(path, ".mat")
    of_spm = _is_of_spm(_description(beginning)) and mat.is_file()
    files["mat"] = nibabel.FileHolder(str(mat)) if of_spm else nibabel.FileHolder(fileobj=io.BytesIO())
    return nibabel.Spm2AnalyzeImage.from_file_map(files)


def _beside(path: Path, ending: str) -> Path:
    """Return the file of a pair with an ending, in the case of the given path if there are several."""
    endings = (ending.upper(), ending) if path.suffix.isupper() else (ending, ending.upper())
    return next((file for file in map(path.with_suffix, endings) if file.is_file()), path.with_suffix(endings[0]))


def _description(header: bytes) -> str:
    return header[148:228].split(b"\0")[0].decode("latin-1").strip()


def _is_of_spm(description: str) -> bool:
    """Return whether a description is one that SPM writes, such as ``spm compatible`` or ``SPM99``."""
    return re.match(r"spm\d*\b", description, re.IGNORECASE) is not None


def _scale(image: Any, path: Path) -> tuple[float, float]:
    """Return the factor of the stored values, and the number added after the multiplication."""
    slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
    if (slope, intercept) == (1, 0) or not isinstance(image, nibabel.Spm99AnalyzeImage | nibabel.Spm2AnalyzeImage):
        return slope, intercept
    # nibabel takes every Analyze file for one of SPM's, and would scale it by fields for display.
    description = _description(image.header.binaryblock)
    if not _is_of_spm(description):
        return 1.0, 0.0
    sentence = f"{path}: its header is marked by SPM ({description!r}), so its values are multiplied by SPM's scale factor {slope:g}."
    warnings.warn(sentence, MRHWarning, stacklevel=2)
    return slope, intercept


def _per_mm(image: Any) -> float:
    """Return how many of the file's units are one mm. Analyze files have no unit; NIfTI files may name none, which means mm."""
    units = int(image.header["xyzt_units"]) & 7 if isinstance(image, nibabel.Nifti1Pair | nibabel.Nifti2Pair) else 0
    return {METRE: 1e-3, MICROMETRE: 1e3}.get(units, 1.0)


def _voxel_size(image: Any, path: Path) -> np.ndarray:
    """Return (3,) the voxel size in the file's units. It is read from the file again, because nibabel replaces 0 by 1.

    Raises:
        SubjectError: A size is 0 or not finite, and no matrix gives it.
    """
    file = (image.file_map.get("header") or image.file_map["image"]).filename
    with nibabel.openers.ImageOpener(file) as stream:
        raw = type(image.header).from_fileobj(stream, check=False)
    sizes: np.ndarray = np.abs(np.array(raw["pixdim"][1:4], float))
    if np.isfinite(sizes).all() and sizes.all():
        return sizes
    if isinstance(image, nibabel.Nifti1Pair | nibabel.Nifti2Pair) and int(raw["sform_code"]) > 0:
        return np.asarray(np.linalg.norm(np.array([raw[f"srow_{axis}"][:3] for axis in "xyz"], float), axis=0))
    listed = ", ".join(f"{size:g}" for size in sizes)
    raise SubjectError(
        path, "voxel sizes above 0 in the header's pixdim", listed, "write the voxel size into the header, for example with nibabel"
    )


def _placement(header: Any, spacing: np.ndarray, divisor: float) -> Placement:
    """Return the fields that place a NIfTI file, in mm."""

    def lengths(*names: str) -> tuple[float, ...]:
        return tuple(float(header[name]) / divisor for name in names)

    rows = tuple((*(np.array(header[f"srow_{axis}"], float) / divisor).tolist(),) for axis in "xyz")
    quaternion = tuple(float(header[f"quatern_{part}"]) for part in "bcd")
    sizes = (float(header["pixdim"][0]), *spacing.tolist())
    offset = lengths("qoffset_x", "qoffset_y", "qoffset_z")
    return Placement(int(header["qform_code"]), int(header["sform_code"]), sizes, quaternion, offset, rows)


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
        beyond = 0
        while data := stream.read(1 << 20):
            beyond += len(data)
        if beyond:
            expected = f"{header.channels} volumes of {size} bytes"
            raise SubjectError(storage.path, expected, f"{beyond} bytes more", "use the header that was written with these voxels")


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


def write_nifti(path: Path | str, voxels: np.ndarray, affine: np.ndarray, placement: Placement | None = None, intent: str = "none") -> None:
    """Write a NIfTI file, ``.nii`` or ``.nii.gz``, in the array's own dtype.

    Args:
        path: The file.
        voxels: (X, Y, Z), (X, Y, Z, C), or vectors (X, Y, Z, 1, C).
        affine: (4, 4) matrix from voxel index to RAS+ mm.
        placement: Fields that place the file instead of the affine, from the header of a scan on the same grid; None to write the affine.
        intent: What the voxels are, by a name of the NIfTI standard such as ``displacement vector``.

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
    image = nibabel.Nifti1Image(voxels, affine if placement is None else None)
    if placement is not None:
        header = image.header
        header["pixdim"][:4] = placement.pixdim
        header["qform_code"], header["sform_code"] = placement.qform_code, placement.sform_code
        for part, value in zip("bcd", placement.quaternion, strict=True):
            header[f"quatern_{part}"] = value
        for axis, offset, row in zip("xyz", placement.offset, placement.rows, strict=True):
            header[f"qoffset_{axis}"], header[f"srow_{axis}"] = offset, row
    image.header.set_xyzt_units("mm")
    image.header.set_intent(intent)
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
