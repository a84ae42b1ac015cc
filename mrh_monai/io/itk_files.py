"""Volumes that ITK reads: NRRD, MHA and MetaImage. Its world coordinates are LPS+, ours are RAS+ millimetres.

ITK passes over the unit of lengths in these files, and over bytes that their headers do not account for. Both are read here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mrh_monai.errors import SubjectError
from mrh_monai.io.files import COPY_AGAIN
from mrh_monai.io.volume_format import Header, VolumeFormat, check_size, checked_affine, make_header

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
LONGEST_HEADER = 1 << 20  # bytes in which the header of a file is looked for
MOST_FILES = 10_000  # that a pattern of names may stand for
# Names of fields, in lower case.
DATA_FILE = ("elementdatafile", "data file", "datafile")
BYTES_BEFORE = ("headersize", "byte skip", "byteskip")
VOXEL_SIZE = ("space directions", "spacings", "elementspacing", "elementsize")
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
    text = _read_text(path)
    if text.fields:  # otherwise ITK says that it is no such file
        _check_voxel_size(path, text.fields)
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
    content = f"{shape if components > 1 else shape[:-1]} {dtype}"
    _check_size(path, text, math.prod(shape), dtype.itemsize, content)
    divisor = _per_mm(path, text.fields)
    affine[:3] /= divisor
    checked_affine(affine, path, "correct the directions in the file's header")
    return make_header(path, shape, (spacing / divisor).tolist(), LPS_TO_RAS @ affine, has_affine=True, dtype=dtype)


class _Text(NamedTuple):
    """The text that a file begins with.

    Attributes:
        fields: Fields by their names in lower case.
        start: Place of the first byte after the text.
        names: Lines that follow the field which names the voxels' file; where its value is LIST, these are the names of the files.
    """

    fields: dict[str, str]
    start: int
    names: list[str]


def _read_text(path: Path) -> _Text:
    with open(path, "rb") as stream:
        beginning = stream.read(LONGEST_HEADER)
    is_nrrd = beginning.startswith(b"NRRD")
    fields: dict[str, str] = {}
    names: list[str] = []
    place, is_listing = 0, False
    for line in beginning.splitlines(keepends=True):
        text = line.decode("utf-8", "replace").strip()
        if is_listing and text and (not is_nrrd or ":" not in text):
            names.append(text)
            continue
        place += len(line)
        if is_nrrd and not text:
            break
        name, found, value = text.partition(":" if is_nrrd else "=")
        if found and not text.startswith("#"):
            fields.setdefault(name.strip().lower(), value.strip())
        if name.strip().lower() in DATA_FILE:
            is_listing = value.strip().upper().startswith("LIST")
            if not is_nrrd and not is_listing:
                break
    return _Text(fields, place, names)


def _check_voxel_size(path: Path, fields: Mapping[str, str]) -> None:
    """Refuse a voxel size that is missing, 0 or not finite, since ITK takes it as 1.

    Raises:
        SubjectError: There are less than three lengths above 0.
    """
    name = next((name for name in VOXEL_SIZE if name in fields), None)
    vectors = re.findall(r"\(([^)]*)\)|(\S+)", fields.get(name or "", ""))
    edges = [_length(vector or number) for vector, number in vectors]
    # The axis of the channels has no length: it is written as NaN or none.
    if sum(0 < edge < math.inf for edge in edges) < 3 or 0 in edges:
        found = "no voxel size" if name is None else f"{name} {fields[name]}"
        raise SubjectError(path, "a voxel size above 0 along three axes in the header", found, "write it into the file's header")


def _length(numbers: str) -> float:
    try:
        return math.hypot(*(float(number) for number in numbers.split(",")))
    except ValueError:
        return math.nan


def _check_size(path: Path, text: _Text, count: int, itemsize: int, content: str) -> None:
    """Compare the size of voxels that are not compressed with the header, see `check_size`.

    Args:
        path: The file.
        text: Its header.
        count: Number of voxels of all channels.
        itemsize: Bytes of a voxel.
        content: What the header says, in words.
    """
    fields = text.fields
    is_meta = "elementdatafile" in fields
    named = next((fields[name] for name in DATA_FILE if name in fields), "LOCAL")
    files = _data_files(path, named, text.names)
    skip = int(next((fields[name] for name in BYTES_BEFORE if name in fields), "0"))
    is_local = files == [path]
    start = text.start if is_local else 0
    if is_meta:
        encoding = "text" if fields.get("binarydata", "true").lower() != "true" else "raw"
        encoding = "compressed" if fields.get("compresseddata", "false").lower() == "true" else encoding
    else:
        encoding = fields.get("encoding", "raw").lower()
    has_lines = int(fields.get("line skip", fields.get("lineskip", "0"))) != 0
    if has_lines or skip < 0 or count % len(files) or not all(file.is_file() for file in files):
        return
    part = "" if len(files) == 1 else f", of which each of {len(files)} files has its share"
    for file in files:
        if encoding == "raw":
            check_size(file, start + skip + count // len(files) * itemsize, content + part)
        elif encoding in ("text", "txt", "ascii"):
            found = len(file.read_bytes()[start:].split())
            if found != count // len(files):
                raise SubjectError(file, f"{count // len(files)} numbers ({content}{part})", f"{found}", COPY_AGAIN)


def _data_files(path: Path, named: str, listed: Sequence[str]) -> list[Path]:
    """Return the files that hold the voxels: the file itself, another one, a list, or a pattern such as ``z%d.raw 0 3 1``."""
    if named.upper() == "LOCAL":
        return [path]
    if named.upper().startswith("LIST"):
        return [path.parent / name for name in listed] or [path]
    pattern = re.fullmatch(r"(.*%\d{0,2}d.*?)\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)(\s+\d+)?", named)
    step = int(pattern[4]) if pattern else 0
    if pattern and step:
        numbers = range(int(pattern[2]), int(pattern[3]) + (1 if step > 0 else -1), step)[:MOST_FILES]
        return [path.parent / (pattern[1] % number) for number in numbers]
    return [path.parent / named]


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
