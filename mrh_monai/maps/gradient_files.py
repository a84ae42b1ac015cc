"""Reading gradient tables from files of ParaVision or FSL, and finding the table that belongs to a subject."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mrh_monai.errors import MRHWarning, SubjectError
from mrh_monai.io import Header, volume_ending
from mrh_monai.maps.gradient_table import GradientTable
from mrh_monai.protocol import SHORTEST, UNWEIGHTED_BELOW, MRProtocol

HOW = "give ParaVision's `method` file, or a pair of .bval and .bvec files, with --gradients"


def read_gradients(path: Path | str) -> GradientTable:
    """Read the gradient table of one diffusion scan.

    Args:
        path: `method` file of ParaVision (``PVM_DwEffBval`` and ``PVM_DwDir``), or a file of an FSL pair: ``NAME.bval`` and ``NAME.bvec``,
            ``bvals`` and ``bvecs``, in upper or lower case. Directions may have any length.

    Raises:
        SubjectError: The file does not exist, is not a gradient table, or has different numbers of b-values and directions.
    """
    path = Path(path)
    if not path.is_file():
        raise SubjectError(path, "a gradient table", "a folder" if path.is_dir() else "no such file", HOW)
    try:
        b_values, directions = _read_fsl(path) if _is_fsl(path.name) else _read_method(path)
    except (OSError, ValueError) as error:
        raise SubjectError(path, "a gradient table", " ".join(str(error).split())[:160], HOW) from error
    weighted = b_values >= UNWEIGHTED_BELOW
    directions = np.where(weighted[:, None], directions, 0)  # the direction of an unweighted volume has no meaning
    if not np.isfinite(b_values).all() or (b_values < 0).any() or not np.isfinite(directions).all():
        raise SubjectError(path, "b-values of 0 or more and finite directions", "other numbers", HOW)
    # Programs scale directions by the gradients' strength. Only the direction counts, so that any length is brought to 1.
    length = np.linalg.norm(directions, axis=1)
    if (length[weighted] < SHORTEST).any():
        found = f"volume {int(np.nonzero(weighted & (length < SHORTEST))[0][0])} without a direction"
        raise SubjectError(path, "a direction for every weighted volume", found, HOW)
    return GradientTable(b_values, _of_length_1(directions), np.zeros(len(b_values), int), path.name)


def _of_length_1(directions: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(directions, axis=1, keepdims=True)
    return np.asarray(directions / np.where(length > 0, length, 1))


def gradients_of(
    headers: Sequence[Header], protocol: MRProtocol | None, given: Sequence[Path | str] = ()
) -> tuple[GradientTable, list[int]]:
    """Return the gradient table of a subject, and the channels that are its diffusion volumes.

    Tables that are given are used first. Then come tables beside the image files that have the name of the image (``dwi.bval`` and
    ``dwi.bvec``, ``dwi.method`` or ``dwi_method`` beside ``dwi.nii.gz``). Then come other tables in the same folder, such as ``method``, if
    exactly one fits each diffusion file. Last comes the protocol, with a warning.

    Args:
        headers: Headers of the subject's image files, in the order of the protocol.
        protocol: Protocol of the channels; None where all files are diffusion scans.
        given: Files of tables, one for each diffusion file, in their order.

    Raises:
        SubjectError: A table and its file have different numbers of volumes, or there is no table.
    """
    if given:
        # A file without diffusion volumes, such as a T2-weighted image, has no table and is passed over.
        tables = [read_gradients(path) for path in given]
        diffusion = _diffusion_files(headers, protocol)
        if len(tables) != len(diffusion):
            raise SubjectError(
                given[0], f"{len(diffusion)} gradient tables, one for each of {_names(headers, diffusion)}", f"{len(tables)}",
                "give --gradients once for each, in their order",
            )  # fmt: skip
        return _joined(headers, dict(zip(diffusion, tables, strict=True)))
    # Arrays in memory have a name in place of a path.
    on_disk = {index: header.path for index, header in enumerate(headers) if header.path.is_file()}
    beside = {index: read_gradients(path) for index, image in on_disk.items() if (path := _beside(image)) is not None}
    if beside:
        without = [index for index in _diffusion_files(headers, protocol) if index not in beside]
        if without:
            expected = "a gradient table beside every diffusion file"
            raise SubjectError(headers[without[0]].path, expected, f"only beside {_names(headers, list(beside))}", HOW)
        return _joined(headers, beside)
    if on_disk and (fitting := _in_folder(headers, protocol)):
        return _joined(headers, fitting)
    channels = [] if protocol is None else protocol.diffusion
    if protocol is None or not channels:
        raise SubjectError(headers[0].path, "a gradient table for diffusion maps", "no table, and no b-values in the protocol", HOW)
    rows = [protocol.channels[index] for index in channels]
    scans = np.repeat(np.arange(len(headers)), [header.channels for header in headers])[channels]
    b_values, directions = np.array([row.b_value for row in rows], float), np.array([row.direction or (0, 0, 0) for row in rows], float)
    table = GradientTable(b_values, _of_length_1(directions), scans, "the protocol")
    where = f"{headers[0].path.parent}: no gradient table beside the images" if on_disk else f"{headers[0].path}: no gradient table"
    warnings.warn(f"{where}; the b-values and directions of the protocol are used.", MRHWarning, stacklevel=2)
    return table, channels


def _joined(headers: Sequence[Header], tables: dict[int, GradientTable]) -> tuple[GradientTable, list[int]]:
    starts = np.cumsum([0, *(header.channels for header in headers)])
    channels: list[int] = []
    for index, table in tables.items():
        header = headers[index]
        if len(table) != header.channels:
            expected = f"{header.channels} b-values, one for each volume of {header.path.name}"
            raise SubjectError(table.source, expected, f"{len(table)}", "give the gradient table of this scan")
        channels += range(starts[index], starts[index + 1])
    parts = list(tables.values())
    joined = GradientTable(
        np.concatenate([part.b_values for part in parts]),
        np.concatenate([part.directions for part in parts]),
        np.repeat(list(tables), [len(part) for part in parts]),
        ", ".join(dict.fromkeys(part.source for part in parts)),
    )
    return joined, channels


def _diffusion_files(headers: Sequence[Header], protocol: MRProtocol | None) -> list[int]:
    everything = list(range(len(headers)))
    if protocol is None or not protocol.diffusion:
        return everything
    starts = np.cumsum([0, *(header.channels for header in headers)])
    return [i for i in everything if any(starts[i] <= channel < starts[i + 1] for channel in protocol.diffusion)]


def _names(headers: Sequence[Header], indices: Sequence[int]) -> str:
    return ", ".join(headers[index].path.name for index in indices)


def _is_fsl(name: str) -> bool:
    """Return whether a file is one of an FSL pair, by its name: ``dwi.bval``, ``dwi_bvals``, ``bvecs``, in upper or lower case."""
    return re.search(r"(^|[._])(bval|bvec)s?$", name, re.I) is not None


def _beside(image: Path) -> Path | None:
    stem = image.name[: -len(volume_ending(image))].lower()
    ends = (".bval", ".bvals", "_bval", "_bvals", ".method", "_method")
    files = {path.name.lower(): path for path in sorted(image.parent.iterdir()) if not path.name.startswith(".") and path.is_file()}
    return next((files[stem + end] for end in ends if stem + end in files), None)


def _in_folder(headers: Sequence[Header], protocol: MRProtocol | None) -> dict[int, GradientTable]:
    """Return the tables in the folder of the images that fit the diffusion files, by number of volumes and by the protocol's b-values."""
    folder = headers[0].path.parent
    visible = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and path.is_file()]
    pairs = [path for path in visible if re.search(r"bvals?$", path.name, re.IGNORECASE) and _is_fsl(path.name)]
    # Other scans also have `method` files, but without b-values.
    methods = [path for path in visible if path.name.endswith("method")]
    diffusion = pairs + [path for path in methods if "##$PVM_DwEffBval=" in path.read_text(encoding="latin-1")]
    paths = pairs + methods
    tables = [read_gradients(path) for path in diffusion]
    starts = np.cumsum([0, *(header.channels for header in headers)])
    found: dict[int, GradientTable] = {}
    for index in _diffusion_files(headers, protocol) if tables else []:
        known = [] if protocol is None else [channel.b_value for channel in protocol.channels[starts[index] : starts[index + 1]]]
        expected = None if not known or None in known else np.array(known, float)
        fits = [t for t in tables if len(t) == headers[index].channels and (expected is None or _alike(t.b_values, expected))]
        if len(fits) != 1:
            what = "one gradient table in its folder that fits its volumes and b-values"
            raise SubjectError(headers[index].path, what, f"{len(fits)} of {', '.join(path.name for path in paths)}", HOW)
        found[index] = fits[0]
    return found


def _alike(b_values: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.allclose(b_values, expected, rtol=0.2, atol=UNWEIGHTED_BELOW))


def _read_fsl(path: Path) -> tuple[np.ndarray, np.ndarray]:
    files = {file.name.lower(): file for file in sorted(path.parent.iterdir()) if not file.name.startswith(".")}
    stem, many = re.fullmatch(r"(.*)bv(?:al|ec)(s?)", path.name.lower()).groups()  # type: ignore[union-attr]  # by `_is_fsl`
    pair = []
    for kind in ("bval", "bvec"):
        names = [f"{stem}{kind}{plural}" for plural in sorted({many, "", "s"}, key=lambda plural: plural != many)]
        file = path if path.name.lower() in names else next((files[name] for name in names if name in files), None)
        if file is None:
            raise ValueError(f"no {names[0]} beside it")
        pair.append(file)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "loadtxt: input contained no data", UserWarning)  # empty files are refused below
        b_values, directions = (np.loadtxt(file, ndmin=2, encoding="utf-8-sig") for file in pair)
    b_values = b_values.ravel()
    if not len(b_values):
        raise ValueError("a file without numbers")
    if directions.shape == (3, len(b_values)):
        directions = directions.T
    if directions.shape != (len(b_values), 3):
        raise ValueError(f"{len(b_values)} b-values and directions of shape {directions.shape}")
    return b_values, directions


def _read_method(path: Path) -> tuple[np.ndarray, np.ndarray]:
    text = path.read_text(encoding="latin-1")
    b_values = _jcamp(text, "PVM_DwEffBval").ravel()
    directions = _jcamp(text, "PVM_DwDir").reshape(-1, 3)
    # Unweighted volumes come first and have no direction; then come all b-values of the first direction, of the second, and so on.
    unweighted, each = _jcamp_number(text, "PVM_DwAoImages", len(b_values) - len(directions)), _jcamp_number(text, "PVM_DwNDiffExpEach", 1)
    rows = np.vstack([np.zeros((max(unweighted, 0), 3)), np.repeat(directions, each, 0)])
    if len(rows) != len(b_values):
        found = f"{max(unweighted, 0)} unweighted volumes and {len(directions)} directions of {each} b-values"
        raise ValueError(f"{len(b_values)} effective b-values, but {found}")
    return b_values, rows


def _jcamp_number(text: str, key: str, otherwise: int) -> int:
    found = re.search(rf"##\${key}=(\d+)\s*$", text, re.M)
    return otherwise if found is None else int(found.group(1))


def _jcamp(text: str, key: str) -> np.ndarray:
    """Return one array of numbers: ``##$KEY=( 32 )`` and the lines after it, up to the next key."""
    found = re.search(rf"##\${key}=\(([\d, ]+)\)\s*\n(.*?)(?=\n##|\n\$\$|\Z)", text, re.S)
    if found is None:
        raise ValueError(f"no {key} in it")
    size = [int(number) for number in found.group(1).split(",")]
    # ParaVision writes repeated numbers as @3*(0.5).
    body = re.sub(r"@(\d+)\*\(([^)]*)\)", lambda run: " ".join([run.group(2)] * min(int(run.group(1)), 100_000)), found.group(2))
    values = np.array(body.split(), float)
    if values.size != int(np.prod(size)):
        raise ValueError(f"{values.size} numbers where {key} says {size}")
    return values
