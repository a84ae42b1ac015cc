"""A predicted stain in memory, and the last step of every prediction: stain and record are written together."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.data import VOLUMES, InputKind
from mrh_monai.inference.prediction_record import announce, check_prediction_output, record_path, write_record
from mrh_monai.io import Header, Placement, make_header

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

    @property
    def header(self) -> Header:
        """Shape, voxel size and affine, as the header of a file would give them."""
        spacing = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        has_affine = self.placement is None or self.placement.is_placed
        return make_header(Path("prediction"), self.stain.shape, spacing, self.affine, has_affine, self.stain.dtype)

    def save(self, path: Path | str, overwrite: bool = False) -> Path:
        """Write the stain, and its record as ``NAME.json`` beside it; each file is complete or absent.

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
        check_output(path, self.kind, [*self.inputs, *_inputs(self.record)], overwrite)
        # The old prediction no longer counts as finished while the new one is being written.
        announce(path, self.record)
        try:
            self.kind.write_stain(path, self.stain, self.mask, self.affine, self.placement)
        except BaseException:
            if not path.exists():
                record_path(path).unlink()
            raise
        write_record(path, self.record)
        logger.info("%s", path)
        return path


def _inputs(record: Mapping[str, Any]) -> list[str]:
    """Return the files from which a stain was made, and those with which it may be compared, such as the target."""
    named = (record.get("about") or {}).get("files") or {}
    listed = [path for paths in named.values() for path in (paths if isinstance(paths, list) else [paths])]
    return [*(record.get("inputs") or ()), *listed]


def check_output(path: Path | str, kind: InputKind, inputs: Iterable[Path | str] = (), overwrite: bool = False) -> None:
    """Refuse a path to which a prediction or its record cannot be written, before any work is done.

    Args:
        path: File of the prediction.
        kind: What the subject is stored as.
        inputs: Files from which the prediction is made.
        overwrite: Whether a file that is not a prediction may be replaced.

    Raises:
        OutputError: The ending is wrong, the folder cannot be written, or prediction or record would replace another file.
    """
    kind.check_output(path)
    check_prediction_output(path, inputs, overwrite)
