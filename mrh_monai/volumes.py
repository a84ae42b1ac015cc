"""One volume on disk: its header, its voxels, and writing one whole.

nibabel reads Analyze 7.5 and NIfTI, ITK reads the rest (NRRD, MHA, MetaImage). World coordinates are RAS+ millimetres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from mrh_monai.errors import OutputError, SubjectError
from mrh_monai.files import replacing, writable_folder

NIBABEL_ENDINGS = (".img", ".hdr", ".nii", ".nii.gz")
ITK_ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")
READABLE = ", ".join(NIBABEL_ENDINGS + ITK_ENDINGS)
BAD_FILE = "copy the file again from its source"


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
    """

    path: Path
    shape: tuple[int, int, int]
    channels: int
    spacing: tuple[float, float, float]
    affine: np.ndarray
    has_affine: bool
    dtype: np.dtype


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
        raise SubjectError(path, "a volume", "an empty file", BAD_FILE)
    try:
        return _itk_header(path) if ending(path) in ITK_ENDINGS else _nibabel_header(path)
    except (SubjectError, MemoryError):
        raise
    except Exception as error:  # readers raise whatever they like on a broken file
        raise SubjectError(path, f"a readable {ending(path)} file", _brief(error), BAD_FILE) from error


def read_voxels(header: Header) -> np.ndarray:
    """All voxels of a file.

    Returns:
        (X, Y, Z, C) in ``header.dtype``; integers are left as stored.

    Raises:
        SubjectError: The file ends too early or cannot be decoded.
    """
    path = header.path
    try:
        if ending(path) in ITK_ENDINGS:
            voxels = _itk_voxels(path)
        else:
            proxy = _nibabel_load(path).dataobj
            voxels = np.asanyarray(proxy) if _is_unscaled(proxy) else np.asarray(proxy, np.float32)
            if isinstance(voxels, np.memmap):
                voxels = np.array(voxels, order="F")
    except Exception as error:
        raise SubjectError(path, f"{header.channels} volumes of {header.shape} voxels", _brief(error), BAD_FILE) from error
    return voxels.reshape(*header.shape, header.channels, order="A" if voxels.flags.f_contiguous else "C").astype(header.dtype, copy=False)


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


def _header(path: Path, shape: tuple[int, ...], spacing: Any, affine: np.ndarray, has_affine: bool, dtype: Any) -> Header:
    shape = drop_trailing_ones(tuple(int(n) for n in shape))
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise SubjectError(path, "a 3D volume or 4D list of volumes", f"shape {shape}", "split or stack the volumes")
    if np.dtype(dtype).kind not in "uif":
        raise SubjectError(path, "magnitude values (integers or real numbers)", f"voxels of type {np.dtype(dtype)}", "save the magnitude")
    zooms = tuple(round(float(s), 6) for s in spacing[:3])
    return Header(path, shape[:3], math.prod(shape[3:]), zooms, np.asarray(affine, float), has_affine, np.dtype(dtype))  # type: ignore[arg-type]


def _nibabel_load(path: Path) -> Any:
    # A `.hdr` is read through its `.img`, so that one pair named twice compares equal.
    if path.suffix == ".hdr":
        path = path.with_suffix(".img")
    return nibabel.load(path)


def _is_unscaled(proxy: Any) -> bool:
    return proxy.slope in (1, None) and proxy.inter in (0, None)


def _nibabel_header(path: Path) -> Header:
    image = _nibabel_load(path)
    proxy, stored = image.dataobj, Path(image.file_map["image"].filename)
    if not stored.is_file():
        raise SubjectError(stored, "the voxels of the pair", "no such file", "put the .img beside its .hdr")
    if ending(stored) != ".nii.gz":
        expected = int(proxy.offset) + math.prod(image.shape) * proxy.dtype.itemsize
        if stored.stat().st_size < expected:
            raise SubjectError(stored, f"{expected} bytes ({image.shape} {proxy.dtype})", f"{stored.stat().st_size}", BAD_FILE)
    dtype = proxy.dtype.newbyteorder("=") if _is_unscaled(proxy) else np.float32
    is_nifti = isinstance(image, nibabel.Nifti1Pair | nibabel.Nifti2Pair)
    return _header(path, image.shape, image.header.get_zooms(), image.affine, is_nifti, dtype)


def _itk() -> Any:
    import itk  # costs a second, and only these formats need it

    return itk


def _itk_io(path: Path) -> Any:
    itk = _itk()
    reader = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if reader is None:
        raise SubjectError(path, f"a readable {ending(path)} file", "one that ITK does not recognise", BAD_FILE)
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def _itk_header(path: Path) -> Header:
    reader = _itk_io(path)
    axes, components = reader.GetNumberOfDimensions(), reader.GetNumberOfComponents()
    shape = (*(reader.GetDimensions(i) for i in range(axes)), components)
    if axes not in (3, 4) or (axes == 4 and components > 1):
        raise SubjectError(path, "a 3D volume or 4D list of volumes", f"shape {shape}", "split or stack the volumes")
    spacing = np.array([reader.GetSpacing(i) for i in range(3)])
    affine = np.eye(4)
    affine[:3, :3] = np.stack([np.array(reader.GetDirection(i))[:3] for i in range(3)], axis=1) * spacing
    affine[:3, 3] = [reader.GetOrigin(i) for i in range(3)]
    lps_to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    return _header(path, shape, spacing, lps_to_ras @ affine, True, _itk_dtype(reader))


def _itk_dtype(reader: Any) -> np.dtype:
    component = _itk().ImageIOBase.GetComponentTypeAsString(reader.GetComponentType())
    names = {"float": "float32", "double": "float64", "char": "int8", "short": "int16", "int": "int32", "long": "int64"}
    name = names[component.removeprefix("unsigned_").replace("long_long", "long")]
    return np.dtype(f"u{name}" if component.startswith("unsigned_") else name)


def _itk_voxels(path: Path) -> np.ndarray:
    itk, information = _itk(), _itk_io(path)
    if information.GetNumberOfComponents() == 1:
        return itk.array_from_image(itk.imread(str(path))).T
    # `imread` chooses fixed-length vectors for some lengths, most of which ITK's Python does not wrap.
    component = {np.dtype("uint8"): itk.UC, np.dtype("int16"): itk.SS, np.dtype("uint16"): itk.US, np.dtype("float64"): itk.D}
    reader = itk.ImageFileReader[itk.VectorImage[component.get(_itk_dtype(information), itk.F), 3]].New(FileName=str(path))
    reader.Update()
    return np.moveaxis(itk.array_from_image(reader.GetOutput()), -1, 0).T


def _brief(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__} ({lines[-1][:200] if lines else 'no message'})"
