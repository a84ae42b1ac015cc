"""Gradient tables of diffusion scans: read from ParaVision or FSL files, or taken from a protocol."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrh_monai.errors import MRHWarning, SubjectError
from mrh_monai.io import Header, ending
from mrh_monai.protocol import SHELL_GAP, UNWEIGHTED_BELOW, MRProtocol

HOW = "give ParaVision's `method` file or a pair of .bval and .bvec files with --gradients"


@dataclass(frozen=True)
class GradientTable:
    """How each diffusion volume of a scan was weighted.

    Attributes:
        b_values: (N,) s/mm^2.
        directions: (N, 3) unit vectors, 0 where a volume is not weighted.
        scans: (N,) int, which scan a volume is of: a shell that was scanned apart is fitted with the unweighted volumes of its own scan.
        source: Where the table comes from, in words.
    """

    b_values: np.ndarray
    directions: np.ndarray
    scans: np.ndarray
    source: str

    def __len__(self) -> int:
        return len(self.b_values)

    @property
    def unweighted(self) -> np.ndarray:
        """(N,) bool: b below 100 s/mm^2; imaging gradients alone reach 43.5 in MRH-Net's protocol."""
        return self.b_values < UNWEIGHTED_BELOW

    @property
    def shells(self) -> dict[int, np.ndarray]:
        """Nominal b-value (mean, rounded to the nearest 100 s/mm^2) to (N,) bool: the weighted volumes of each shell, lowest first."""
        found: dict[int, np.ndarray] = {}
        order = np.argsort(self.b_values)
        weighted = [index for index in order if not self.unweighted[index]]
        groups: list[list[int]] = []
        for index in weighted:
            if groups and self.b_values[index] <= self.b_values[groups[-1][-1]] * SHELL_GAP:
                groups[-1].append(index)
            else:
                groups.append([index])
        for group in groups:
            members = np.zeros(len(self), bool)
            members[group] = True
            mean = float(self.b_values[group].mean())
            nominal = round(mean / 100) * 100
            found[nominal if nominal not in found else round(mean)] = members
        return found

    def fitted_with(self, shell: np.ndarray) -> np.ndarray:
        """(N,) bool: a shell's volumes, and the unweighted ones of the same scans; all unweighted ones where those have none."""
        own = self.unweighted & np.isin(self.scans, self.scans[shell])
        return shell | (own if own.any() else self.unweighted)


def read_gradients(path: Path | str) -> GradientTable:
    """Read one gradient table.

    Args:
        path: A ParaVision `method` file (``PVM_DwEffBval`` and ``PVM_DwDir``), or the .bval or .bvec file of an FSL pair.

    Raises:
        SubjectError: The file is missing, says something else, or its b-values and directions are not of one number.
    """
    path = Path(path)
    if not path.is_file():
        raise SubjectError(path, "a gradient table", "a folder" if path.is_dir() else "no such file", HOW)
    try:
        if path.suffix.lower() in (".bval", ".bvec", ".bvals", ".bvecs"):
            b_values, directions = _read_fsl(path)
        else:
            b_values, directions = _read_method(path)
    except (OSError, ValueError) as error:
        raise SubjectError(path, "a gradient table", " ".join(str(error).split())[:160], HOW) from error
    directions = np.where(np.isnan(directions), 0, directions)  # what an unweighted volume has for a direction, says nothing
    length = np.linalg.norm(directions, axis=1, keepdims=True)
    weighted = b_values >= UNWEIGHTED_BELOW
    if not np.isfinite(b_values).all() or (b_values < 0).any() or not np.isfinite(directions).all():
        raise SubjectError(path, "b-values of 0 or more and finite directions", "others", HOW)
    if (length[weighted] < 0.5).any():
        found = f"volume {int(np.nonzero(weighted & (length[:, 0] < 0.5))[0][0])} without one"
        raise SubjectError(path, "a direction for every weighted volume", found, HOW)
    directions = np.where(length > 0.5, directions / np.maximum(length, 0.5), 0)
    return GradientTable(b_values, directions, np.zeros(len(b_values), int), path.name)


def gradients_of(
    headers: Sequence[Header], protocol: MRProtocol | None, given: Sequence[Path | str] = ()
) -> tuple[GradientTable, list[int]]:
    """The gradient table of a subject, and which of its channels are the diffusion volumes that it speaks of.

    Tables that are given come first; then those beside the image files under their name (``dwi.bval`` and ``dwi.bvec``, ``dwi.method`` or
    ``dwi_method`` beside ``dwi.nii.gz``); then others in the same folder, such as ``method``, where just one fits each diffusion file; then
    the protocol's, with a warning.

    Args:
        headers: Of the subject's image files, in the protocol's order.
        protocol: Of the channels; None for files that speak for themselves.
        given: Tables, one a diffusion file, in the order of these.

    Raises:
        SubjectError: A table and its file have different numbers of volumes; or there is none.
    """
    if given:
        # Files without diffusion volumes, such as a T2-weighted one, have no table: those that a protocol calls so are passed over.
        tables = [read_gradients(path) for path in given]
        diffusion = _diffusion_files(headers, protocol)
        if len(tables) != len(diffusion):
            raise SubjectError(
                given[0], f"{len(diffusion)} gradient tables, one for each of {_names(headers, diffusion)}", f"{len(tables)}",
                "give --gradients once for each, in their order",
            )  # fmt: skip
        return _joined(headers, dict(zip(diffusion, tables, strict=True)))
    beside = {index: read_gradients(path) for index, header in enumerate(headers) if (path := _beside(header.path)) is not None}
    if beside:
        without = [index for index in _diffusion_files(headers, protocol) if index not in beside]
        if without:
            expected = "a gradient table beside every diffusion file"
            raise SubjectError(headers[without[0]].path, expected, f"only beside {_names(headers, list(beside))}", HOW)
        return _joined(headers, beside)
    if fitting := _in_folder(headers, protocol):
        return _joined(headers, fitting)
    channels = [] if protocol is None else [index for index, channel in enumerate(protocol) if channel.b_value is not None]
    if protocol is None or not channels:
        raise SubjectError(headers[0].path, "a gradient table for diffusion maps", "none beside it and none in the protocol", HOW)
    rows = [protocol.channels[index] for index in channels]
    scans = np.repeat(np.arange(len(headers)), [header.channels for header in headers])[channels]
    b_values, directions = np.array([row.b_value for row in rows], float), np.array([row.direction or (0, 0, 0) for row in rows], float)
    table = GradientTable(b_values, directions, scans, "the protocol")
    warnings.warn(
        f"{headers[0].path.parent}: no gradient table beside the images; the protocol's own b-values and directions are taken.",
        MRHWarning,
        stacklevel=2,
    )
    return table, channels


def _joined(headers: Sequence[Header], tables: dict[int, GradientTable]) -> tuple[GradientTable, list[int]]:
    starts = np.cumsum([0, *(header.channels for header in headers)])
    channels: list[int] = []
    for index, table in tables.items():
        header = headers[index]
        if len(table) != header.channels:
            expected = f"{header.channels} b-values, one a volume of {header.path.name}"
            raise SubjectError(table.source, expected, f"{len(table)}", "give the table of this very scan")
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
    if protocol is None or all(channel.b_value is None for channel in protocol):
        return everything
    starts = np.cumsum([0, *(header.channels for header in headers)])
    rows = protocol.channels
    return [i for i in everything if any(c.b_value is not None for c in rows[starts[i] : starts[i + 1]])]


def _names(headers: Sequence[Header], indices: Sequence[int]) -> str:
    return ", ".join(headers[index].path.name for index in indices)


def _beside(image: Path) -> Path | None:
    stem = image.name[: -len(ending(image))]
    for name in (f"{stem}.bval", f"{stem}.bvals", f"{stem}.method", f"{stem}_method"):
        if (image.parent / name).is_file():
            return image.parent / name
    return None


def _in_folder(headers: Sequence[Header], protocol: MRProtocol | None) -> dict[int, GradientTable]:
    """The tables in the images' folder that fit the diffusion files by number of volumes and, where the protocol tells them, b-values."""
    folder = headers[0].path.parent
    paths = sorted({path for pattern in ("*.bval", "*.bvals", "*method") for path in folder.glob(pattern) if path.is_file()})
    # Other scans have `method` files too, without b-values.
    diffusion = [path for path in paths if ".bval" in path.suffix or "##$PVM_DwEffBval=" in path.read_text(encoding="latin-1")]
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
    pair = [path.with_suffix(kind + path.suffix[5:]) for kind in (".bval", ".bvec")]
    for file in pair:
        if not file.is_file():
            raise ValueError(f"no {file.name} beside it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty files, which are refused below
        b_values, directions = np.loadtxt(pair[0], ndmin=1).ravel(), np.loadtxt(pair[1], ndmin=2)
    if not len(b_values):
        raise ValueError("no numbers")
    if directions.shape == (3, len(b_values)):
        directions = directions.T
    if directions.shape != (len(b_values), 3):
        raise ValueError(f"{len(b_values)} b-values and directions of shape {directions.shape}")
    return b_values, directions


def _read_method(path: Path) -> tuple[np.ndarray, np.ndarray]:
    text = path.read_text(encoding="latin-1")
    b_values = _jcamp(text, "PVM_DwEffBval").ravel()
    directions = _jcamp(text, "PVM_DwDir").reshape(-1, 3)
    # Unweighted volumes come first and have no direction of their own; then every direction at all of its b-values.
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
    """One array of numbers: ``##$KEY=( 32 )`` and the lines behind it, up to the next key."""
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
