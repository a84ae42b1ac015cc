"""A predicted stain in memory, and the last step of every prediction: stain and record are written together."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.data import VOLUMES, InputKind
from mrh_monai.inference.prediction_record import (
    announce,
    bound_paths,
    check_prediction_output,
    own_bounds,
    read_record,
    record_path,
    write_record,
)
from mrh_monai.inference.voxelwise import Bounds
from mrh_monai.io import Header, Placement, make_header, replacing, sha256

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """A virtual stain.

    Attributes:
        stain: (X, Y, Z) float32 in the stain's own units, 0 outside the mask. For a patch file (3, N, 3).
        affine: (4, 4) from voxel index to RAS+ mm, that of the subject.
        mask: (X, Y, Z) bool, the voxels that were predicted.
        record: From what the stain was made: ``made_by`` (SHA-256 of the weights, options), ``inputs`` (files with their sizes and times),
            ``slices``, and ``about`` (network, software, command, files).
        kind: What the subject was stored as, which decides on the format of the result.
        placement: Fields that place the written file, from the header of the scan; None to write the affine.
        inputs: Files from which the stain was made, which it never replaces.
        bounds: Lower and upper bound of the interval of each voxel; None if there are no intervals.

    Example:
        >>> import tempfile
        >>> stain = np.ones((2, 2, 2), np.float32)
        >>> prediction = Prediction(stain, np.eye(4), stain > 0, {"made_by": {}})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = prediction.save(Path(folder) / "af.nii.gz")
        ...     sorted(file.name for file in path.parent.iterdir())
        ['af.json', 'af.nii.gz']
    """

    stain: np.ndarray
    affine: np.ndarray
    mask: np.ndarray
    record: Mapping[str, Any] = field(repr=False)
    kind: InputKind = field(default=VOLUMES, repr=False)
    placement: Placement | None = field(default=None, repr=False)
    inputs: tuple[Path, ...] = field(default=(), repr=False)
    bounds: Bounds | None = field(default=None, repr=False)

    @property
    def header(self) -> Header:
        """Shape, voxel size and affine, as the header of a file would give them."""
        spacing = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        has_affine = self.placement is None or self.placement.is_placed
        return make_header(Path("prediction"), self.stain.shape, spacing, self.affine, has_affine, self.stain.dtype)

    @property
    def mean_width(self) -> float:
        """Mean width of the intervals inside the mask, in the stain's units.

        Raises:
            ValueError: The prediction has no intervals.
        """
        if self.bounds is None:
            raise ValueError("a prediction without intervals has no width")
        return float((self.bounds.upper - self.bounds.lower)[self.mask].mean(dtype=np.float64))

    @property
    def about_intervals(self) -> str:
        """What is known of the intervals, or why the prediction has no intervals, as a sentence."""
        intervals = str((self.record.get("about") or {}).get("intervals", "the record does not say"))
        if self.bounds is not None:
            return f"with intervals, {self.mean_width:.3g} wide on average: {intervals}"
        return f"without intervals: {intervals}"

    def save(self, path: Path | str, overwrite: bool = False) -> Path:
        """Write the stain, and beside it its record as ``NAME.json`` and its bounds as ``NAME_lower`` and ``NAME_upper``.

        Each file is complete or absent.

        Args:
            path: NIfTI file (``.nii`` or ``.nii.gz``) to write; for a patch file a MAT file. A prediction there, with its record, is
                replaced.
            overwrite: Whether another file may be replaced too. A file from which the stain was made never is.

        Returns:
            The path.

        Raises:
            OutputError: The file has another ending or cannot be written, or it or its record would replace another file.
        """
        path = Path(path)
        check_output(path, self.kind, [*self.inputs, *_inputs(self.record)], overwrite, self.bounds is not None)
        volumes = {path: self.stain}
        if self.bounds is not None:
            volumes |= {file: getattr(self.bounds, name) for name, file in bound_paths(path).items()}
        old_bounds = own_bounds(path)
        try:
            with ExitStack() as files:
                temporary = {file: files.enter_context(replacing(file)) for file in volumes}
                for file, volume in volumes.items():
                    self.kind.write_stain(temporary[file], volume, self.mask, self.affine, self.placement)
                # From here on the old prediction does not count as finished. A process that is killed leaves files that the record names.
                announce(path, self.record, {file: sha256(temporary[file]) for file in volumes})
        except BaseException:
            if not path.exists() and read_record(path) is not None:
                for file in own_bounds(path):
                    file.unlink()
                record_path(path).unlink()
            raise
        for file in old_bounds:
            if file not in volumes:
                file.unlink()
        write_record(path, self.record, self.bounds is not None)
        logger.info("%s", path)
        return path


def _inputs(record: Mapping[str, Any]) -> list[str]:
    """Return the files from which a stain was made, and those with which it may be compared, such as the target."""
    named = (record.get("about") or {}).get("files") or {}
    listed = [path for paths in named.values() for path in (paths if isinstance(paths, list) else [paths])]
    return [*(record.get("inputs") or ()), *listed]


def check_output(
    path: Path | str, kind: InputKind, inputs: Iterable[Path | str] = (), overwrite: bool = False, bounds: bool = False
) -> None:
    """Refuse a path to which a prediction or its record cannot be written, before any work is done.

    Args:
        path: File of the prediction.
        kind: What the subject is stored as.
        inputs: Files from which the prediction is made.
        overwrite: Whether a file that is not a prediction may be replaced.
        bounds: Whether the bounds of its intervals are written too.

    Raises:
        OutputError: The ending is wrong, the folder cannot be written, or prediction or record would replace another file.
    """
    kind.check_output(path)
    check_prediction_output(path, inputs, overwrite, bounds)
