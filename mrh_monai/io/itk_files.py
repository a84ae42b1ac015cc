"""Volumes that ITK reads: NRRD, MHA and MetaImage. Its world coordinates are LPS+, ours are RAS+ millimetres.

ITK passes over the unit of lengths in these files, and over bytes that their headers do not account for. Both are read here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.errors import SubjectError
from mrh_monai.io.files import COPY_AGAIN
from mrh_monai.io.volume_format import Header, VolumeFormat, check_size, make_header

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
LONGEST_HEADER = 1 << 20  # bytes in which the header of a file is looked for
# How many units are one mm, by the names that programs give them.
PER_MM = (
    ({"", "?", "mm", "millimeter", "millimeters", "millimetre", "millimetres"}, 1.0),
    ({"um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres"}, 1e3),
    ({"nm", "nanometer", "nanometers", "nanometre", "nanometres"}, 1e6),
    ({"cm", "centimeter", "centimeters", "centimetre", "centimetres"}, 1e-1),
    ({"m", "meter", "meters", "metre", "metres"}, 1e-3),
)


def read_itk_header(path: Path) -> Header:
    """Read the header of a file in one of ITK's formats.

    Raises:
        SubjectError: ITK does not recognise the file, it holds neither a 3D volume nor a list of 3D volumes, it has another size than
            its header says, or its unit of lengths is unknown.
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
    dtype = _dtype(reader)
    fields, start = _text_fields(path)
    content = f"{shape if components > 1 else shape[:-1]} {dtype}"
    _check_raw_size(path, fields, start, math.prod(shape) * dtype.itemsize, content)
    divisor = _per_mm(path, fields)
    affine[:3] /= divisor
    return make_header(path, shape, (spacing / divisor).tolist(), LPS_TO_RAS @ affine, has_affine=True, dtype=dtype)


def _text_fields(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields of the text that a file begins with, by their names in lower case, and the place of the first byte after it."""
    with open(path, "rb") as stream:
        beginning = stream.read(LONGEST_HEADER)
    is_nrrd = beginning.startswith(b"NRRD")
    fields: dict[str, str] = {}
    place = 0
    for line in beginning.splitlines(keepends=True):
        place += len(line)
        text = line.decode("utf-8", "replace").strip()
        if is_nrrd and not text:
            break
        name, found, value = text.partition(":" if is_nrrd else "=")
        if found and not text.startswith("#"):
            fields.setdefault(name.strip().lower(), value.strip())
        if not is_nrrd and name.strip().lower() == "elementdatafile":
            break
    return fields, place


def _check_raw_size(path: Path, fields: Mapping[str, str], start: int, size: int, content: str) -> None:
    """Compare the size of uncompressed voxels in one file with the header, see `check_size`."""
    if "elementdatafile" in fields:
        name, skip = fields["elementdatafile"], int(fields.get("headersize", "0"))
        is_raw = fields.get("compresseddata", "false").lower() != "true" and fields.get("binarydata", "true").lower() == "true"
        beside = None if name.upper() == "LOCAL" else name
    else:
        beside = fields.get("data file", fields.get("datafile"))
        skip = int(fields.get("byte skip", fields.get("byteskip", "0")))
        is_raw = fields.get("encoding") == "raw" and int(fields.get("line skip", fields.get("lineskip", "0"))) == 0
    file = path if beside is None else path.parent / beside
    if is_raw and skip >= 0 and file.is_file():  # a list of files, or a pattern of names, is no file
        check_size(file, (start if beside is None else 0) + skip + size, content)


def _per_mm(path: Path, fields: Mapping[str, str]) -> float:
    """Return how many of the file's units are one mm; a file without a unit is in mm.

    Raises:
        SubjectError: The unit is unknown, or the axes have different units.
    """
    named = fields.get("space units") or fields.get("units") or ""
    units = {unit.strip() for unit in re.findall(r'"([^"]*)"', named)} or {fields.get("distanceunits", "")}
    units = units - {""} or {""}
    unit = units.pop()
    found = next((divisor for names, divisor in PER_MM if unit in names or unit.lower() in names), None)
    if units or found is None:
        listed = ", ".join(repr(each) for each in sorted({unit, *units}))
        raise SubjectError(path, "one unit of lengths: mm, um, nm, cm or m", listed, "correct the unit in the file's header")
    return found


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
