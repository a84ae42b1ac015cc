"""Volumes that ITK reads: NRRD, MHA and MetaImage. Its world coordinates are LPS+ millimetres, ours are RAS+ millimetres."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.errors import SubjectError
from mrh_monai.io.files import COPY_AGAIN
from mrh_monai.io.volume_format import Header, VolumeFormat, make_header

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_itk_header(path: Path) -> Header:
    """Read the header of a file in one of ITK's formats.

    Raises:
        SubjectError: ITK does not recognise the file, or it holds neither a 3D volume nor a list of 3D volumes.
    """
    reader = _image_io(path)
    axes, components = reader.GetNumberOfDimensions(), reader.GetNumberOfComponents()
    shape = (*(reader.GetDimensions(i) for i in range(axes)), components)
    if axes not in (3, 4) or (axes == 4 and components > 1):
        raise SubjectError(path, "a 3D volume or 4D list of volumes", f"shape {shape}", "split or stack the volumes")
    spacing = np.array([reader.GetSpacing(i) for i in range(3)])
    affine = np.eye(4)
    affine[:3, :3] = np.stack([np.array(reader.GetDirection(i))[:3] for i in range(3)], axis=1) * spacing
    affine[:3, 3] = [reader.GetOrigin(i) for i in range(3)]
    return make_header(path, shape, spacing.tolist(), LPS_TO_RAS @ affine, has_affine=True, dtype=_dtype(reader))


def each_itk_volume(header: Header) -> Iterator[np.ndarray]:
    """Yield the volumes of a file in one of ITK's formats. ITK reads a file whole, so that all of them are in memory.

    Yields:
        (X, Y, Z) in ``header.dtype``, X running fastest in memory.
    """
    voxels = _read_whole(header.path).reshape(*header.shape, header.channels, order="F")
    yield from (voxels[..., channel].astype(header.dtype, copy=False) for channel in range(header.channels))


def _read_whole(path: Path) -> np.ndarray:
    """Return all voxels, (X, Y, Z) or (X, Y, Z, C), X running fastest."""
    itk, information = _itk(), _image_io(path)
    voxels: np.ndarray
    if information.GetNumberOfComponents() == 1:
        voxels = itk.array_from_image(itk.imread(str(path))).T
        return voxels
    # `imread` chooses vectors of a fixed length for some lengths, most of which ITK's Python does not wrap.
    component = {np.dtype("uint8"): itk.UC, np.dtype("int16"): itk.SS, np.dtype("uint16"): itk.US, np.dtype("float64"): itk.D}
    reader = itk.ImageFileReader[itk.VectorImage[component.get(_dtype(information), itk.F), 3]].New(FileName=str(path))
    reader.Update()
    voxels = np.moveaxis(itk.array_from_image(reader.GetOutput()), -1, 0).T
    return voxels


def _itk() -> Any:
    import itk  # The import takes a second, and only these formats need it.

    return itk


def _image_io(path: Path) -> Any:
    """Return ITK's reader of the file, which has read the header."""
    itk = _itk()
    reader = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if reader is None:
        raise SubjectError(path, f"a readable {path.suffix} file", "a file that ITK does not recognise", COPY_AGAIN)
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def _dtype(reader: Any) -> np.dtype:
    """Return NumPy's type of the voxels that a reader of `_image_io` has found."""
    component = str(_itk().ImageIOBase.GetComponentTypeAsString(reader.GetComponentType()))
    names = {"float": "float32", "double": "float64", "char": "int8", "short": "int16", "int": "int32", "long": "int64"}
    name = names[component.removeprefix("unsigned_").replace("long_long", "long")]
    return np.dtype(f"u{name}" if component.startswith("unsigned_") else name)


ITK = VolumeFormat((".nrrd", ".nhdr", ".mha", ".mhd"), read_itk_header, each_itk_volume)
