"""Volumes that ITK reads: NRRD, MHA, MetaImage. Its world coordinates are LPS+, ours RAS+ millimetres."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.errors import SubjectError


def read_itk_header(path: Path) -> tuple[tuple[int, ...], np.ndarray, np.ndarray, np.dtype]:
    """What a file says of its voxels.

    Returns:
        Shape (X, Y, Z, C); voxel size along (X, Y, Z), mm; affine (4, 4) from voxel index to RAS+ mm; type of a voxel.

    Raises:
        SubjectError: ITK does not recognise the file, or it holds neither a 3D volume nor a list of them.
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
    lps_to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    return shape, spacing, lps_to_ras @ affine, _dtype(reader)


def read_itk_voxels(path: Path) -> np.ndarray:
    """All voxels, (X, Y, Z) or (X, Y, Z, C), X running fastest; ITK reads a file whole."""
    itk, information = _itk(), _image_io(path)
    if information.GetNumberOfComponents() == 1:
        return itk.array_from_image(itk.imread(str(path))).T
    # `imread` chooses fixed-length vectors for some lengths, most of which ITK's Python does not wrap.
    component = {np.dtype("uint8"): itk.UC, np.dtype("int16"): itk.SS, np.dtype("uint16"): itk.US, np.dtype("float64"): itk.D}
    reader = itk.ImageFileReader[itk.VectorImage[component.get(_dtype(information), itk.F), 3]].New(FileName=str(path))
    reader.Update()
    return np.moveaxis(itk.array_from_image(reader.GetOutput()), -1, 0).T


def _itk() -> Any:
    import itk  # costs a second, and only these formats need it

    return itk


def _image_io(path: Path) -> Any:
    itk = _itk()
    reader = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if reader is None:
        raise SubjectError(path, f"a readable {path.suffix} file", "one that ITK does not recognise", "copy the file again from its source")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def _dtype(reader: Any) -> np.dtype:
    component = _itk().ImageIOBase.GetComponentTypeAsString(reader.GetComponentType())
    names = {"float": "float32", "double": "float64", "char": "int8", "short": "int16", "int": "int32", "long": "int64"}
    name = names[component.removeprefix("unsigned_").replace("long_long", "long")]
    return np.dtype(f"u{name}" if component.startswith("unsigned_") else name)
