"""Label volumes: the region of an atlas to which each voxel belongs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrh_monai.data import check_one_grid, check_single
from mrh_monai.errors import SubjectError, cause_in_words
from mrh_monai.io import Header, read_header, read_voxels


@dataclass(frozen=True)
class Regions:
    """Regions on one grid.

    Attributes:
        labels: (X, Y, Z) int64; voxels of label 0 belong to no region.
        names: Name of every label that occurs.

    Example:
        >>> regions = Regions(np.array([[[0, 1, 2, 2]]]), {1: "cortex", 2: "thalamus"})
        >>> {name: int(inside.sum()) for name, inside in regions.each(regions.labels >= 0).items()}
        {'cortex': 1, 'thalamus': 2}
    """

    labels: np.ndarray
    names: dict[int, str]

    def each(self, mask: np.ndarray) -> dict[str, np.ndarray]:
        """Return which voxels of a mask belong to each region.

        Args:
            mask: (X, Y, Z) bool.

        Returns:
            (N,) bool over the voxels of the mask, by the name of each region that has voxels there. Labels of one name are one region.
        """
        inside = self.labels[mask]
        found: dict[str, np.ndarray] = {}
        for label in np.unique(inside).tolist():
            if label:
                name = self.names[label]
                found[name] = found.get(name, False) | (inside == label)
        return found

    def need_some(self, mask: np.ndarray) -> dict[str, np.ndarray]:
        """Return the voxels of each region as `each` does, and refuse labels that do not overlap with the mask.

        Raises:
            SubjectError: The labels have another shape than the mask, or no region has a voxel in the mask.
        """
        if self.labels.shape != mask.shape:
            raise SubjectError(
                "labels", f"shape {mask.shape} as the mask", f"{self.labels.shape}", "resample the labels to the subject's grid"
            )
        found = self.each(mask)
        if not found:
            raise SubjectError("labels", "regions inside the mask", "no label in it", "check that the labels lie where the brain lies")
        return found


@dataclass(frozen=True)
class LabelFiles:
    """The files of a label volume.

    Attributes:
        labels: Volume of whole numbers on the subjects' grid.
        names: Text file with lines ``label,name``; None to name regions by their numbers.
    """

    labels: Path | str
    names: Path | str | None = None

    def read(self, beside: Sequence[Header]) -> Regions:
        """Read the regions, see `read_regions`."""
        return read_regions(self.labels, beside, self.names)


def read_regions(path: Path | str, beside: Sequence[Header], names: Path | str | None = None) -> Regions:
    """Read a label volume.

    Args:
        path: Volume of whole numbers.
        beside: Headers of the volumes on whose grid the labels must lie.
        names: Text file with lines ``label,name`` (or separated by a tab or spaces); None to name regions by their numbers.

    Raises:
        SubjectError: The labels lie on another grid, are not whole numbers, or are all 0; or the file of names cannot be read.
    """
    header = read_header(path)
    if beside:
        header = header.like_files_of(beside[0])
    check_single(header, "labels")
    for other in beside:
        check_one_grid([other, header])
    values = read_voxels(header)[..., 0]
    labels = np.asarray(np.rint(np.nan_to_num(values)), np.int64)
    if not np.array_equal(labels, values):
        raise SubjectError(path, "a label volume of whole numbers", "other numbers", "resample labels by nearest neighbour")
    present = [int(label) for label in np.unique(labels) if label]
    if not present:
        raise SubjectError(path, "labels other than 0", "only zeros", "check that it is the right file")
    given = {} if names is None else _read_names(Path(names))
    return Regions(labels, {label: given.get(label, f"region {label}") for label in present})


def _read_names(path: Path) -> dict[int, str]:
    remedy = "write lines such as `1,cortex`"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SubjectError(path, "a text file of labels and names", cause_in_words(error), remedy) from error
    found: dict[int, str] = {}
    for row in csv.reader(text.splitlines()):
        words = row if len(row) > 1 else " ".join(row).split(maxsplit=1)
        if not words or words[0].startswith("#"):
            continue
        try:
            found[int(words[0])] = words[1].strip()
        except (ValueError, IndexError):
            if found:  # the first line may be a heading
                raise SubjectError(path, "lines of a label and a name", f"{row}", remedy) from None
    if not found:
        raise SubjectError(path, "lines of a label and a name", "no such line", remedy)
    return found
