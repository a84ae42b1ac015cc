"""Label volumes: which region of an atlas each voxel belongs to."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrh_monai.data import check_one_grid, check_single
from mrh_monai.errors import SubjectError
from mrh_monai.io import read_header, read_voxels


@dataclass(frozen=True)
class Regions:
    """Regions on one grid.

    Attributes:
        labels: (X, Y, Z) int64; 0 belongs to none.
        names: Of every label that occurs.
    """

    labels: np.ndarray
    names: dict[int, str]

    def each(self, mask: np.ndarray) -> dict[str, np.ndarray]:
        """Name to (N,) bool of the mask's voxels, of every region that has some there; labels of one name are one region."""
        inside = self.labels[mask]
        found: dict[str, np.ndarray] = {}
        for label in np.unique(inside).tolist():
            if label:
                name = self.names[label]
                found[name] = found.get(name, False) | (inside == label)
        return found

    def need_some(self, mask: np.ndarray) -> dict[str, np.ndarray]:
        """As `each`.

        Raises:
            SubjectError: No region has a voxel in the mask.
        """
        found = self.each(mask)
        if not found:
            raise SubjectError("labels", "regions inside the mask", "none", "check that they lie where the brain does")
        return found


def read_regions(path: Path | str, beside: Sequence[Path], names: Path | str | None = None) -> Regions:
    """Read a label volume.

    Args:
        path: Volume of whole numbers.
        beside: Volumes whose grid it must have.
        names: Text file of lines ``label,name`` (or separated by tab or spaces); None to call them by their numbers.

    Raises:
        SubjectError: It lies on another grid, holds other numbers or no label; or the file of names cannot be read.
    """
    header = read_header(path)
    check_single(header, "labels")
    for other in beside:
        check_one_grid([read_header(other), header])
    values = read_voxels(header)[..., 0]
    labels = np.asarray(np.rint(np.nan_to_num(values)), np.int64)
    if not np.array_equal(labels, values):
        raise SubjectError(path, "a label volume of whole numbers", "others", "resample labels by nearest neighbour")
    present = [int(label) for label in np.unique(labels) if label]
    if not present:
        raise SubjectError(path, "labels other than 0", "none", "check that it is the right file")
    given = {} if names is None else _read_names(Path(names))
    return Regions(labels, {label: given.get(label, f"region {label}") for label in present})


def _read_names(path: Path) -> dict[int, str]:
    remedy = "write lines such as `1,cortex`"
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SubjectError(path, "a text file of labels and names", type(error).__name__, remedy) from error
    found: dict[int, str] = {}
    for row in csv.reader(text.splitlines()):
        words = row if len(row) > 1 else " ".join(row).split(maxsplit=1)
        if not words or words[0].startswith("#"):
            continue
        try:
            found[int(words[0])] = words[1].strip()
        except (ValueError, IndexError):
            if found:  # a heading may stand first
                raise SubjectError(path, "lines of a label and a name", f"{row}", remedy) from None
    if not found:
        raise SubjectError(path, "lines of a label and a name", "none", remedy)
    return found
