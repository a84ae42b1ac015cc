"""Evaluate one predicted stain against the true one: files, arrays or a prediction in memory, on one grid."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from mrh_monai.axis_order import FILE_ORDER, coronal_order, in_order
from mrh_monai.data import check_one_grid, check_single, check_stain, checked_mask, finite_voxels
from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.evaluation.detection import auc, structures
from mrh_monai.evaluation.scores import score
from mrh_monai.inference import read_record
from mrh_monai.io import Header, read_header, read_voxels
from mrh_monai.subjects import FROM_FILES, FileGeometry, coronal_axis, real_array

if TYPE_CHECKING:  # predictions need torch, which takes seconds to load; scores of files do not need it
    from mrh_monai.inference import Prediction

Volume = Path | str | ArrayLike


def evaluate(
    prediction: Volume | Prediction,
    target: Volume,
    mask: Volume,
    threshold: float | None = None,
    geometry: FileGeometry = FROM_FILES,
) -> dict[str, float]:
    """Score a predicted stain against the true one, inside the mask.

    Args:
        prediction: Predicted stain in its own units: a file, an array (X, Y, Z), or the result of `mrh_monai.predict`.
        target: True stain in the same units: a file or an array (X, Y, Z).
        mask: Brain mask of 0 and 1: a file or an array (X, Y, Z).
        threshold: Threshold in the stain's units, above which structures are to be found; None for Otsu's threshold of the target.
        geometry: What the user states of the files. Where no coronal axis is stated, it is that of the prediction's record, otherwise the
            one that an affine names, and axis 1 of arrays alone. SSIM compares coronal slices.

    Returns:
        The scores of `mrh_monai.score`, ``auc`` (area under the ROC curve, structures above the threshold) and ``threshold``.

    Raises:
        SubjectError: A file cannot be read, the volumes do not lie on one grid, an array does not hold real numbers, the mask has other
            values than 0 and 1, or a stain has NaN inside the mask or is the same everywhere.
        OptionError: The threshold is not a number, or all voxels of the target lie on one side of it.

    Example:
        >>> target = np.arange(24.0).reshape(2, 3, 4)
        >>> scores = evaluate(target + 2, target, np.ones(target.shape), threshold=10)
        >>> scores["rmse"], scores["auc"]
        (2.0, 1.0)
    """
    if threshold is not None and not (isinstance(threshold, float | int) and math.isfinite(threshold)):
        raise OptionError(
            "threshold", "a number in the stain's units", repr(threshold), "give a number, or leave it out for Otsu's threshold"
        )
    in_memory = None if isinstance(prediction, str | os.PathLike) else getattr(prediction, "stain", None)
    given = {"prediction": prediction if in_memory is None else in_memory, "target": target, "mask": mask}
    headers = {role: _header(volume, geometry) for role, volume in given.items() if isinstance(volume, str | os.PathLike)}
    where = {role: headers[role].path if role in headers else role for role in given}
    placed = dict(headers)
    if in_memory is not None:
        placed["prediction"] = prediction.header  # type: ignore[union-attr]  # the only argument with a stain
    axes = FILE_ORDER
    if placed:
        check_one_grid(list(placed.values()))
        axes = coronal_order(_coronal_axis(prediction, list(placed.values()), geometry))
    volumes = {role: _voxels(volume, headers.get(role), role) for role, volume in given.items()}
    shapes = {role: volume.shape for role, volume in volumes.items()}
    if len(set(shapes.values())) > 1 or len(shapes["mask"]) != 3:
        listed = ", ".join(f"{role} {shape}" for role, shape in shapes.items())
        raise SubjectError("evaluate", "prediction, target and mask of one shape (X, Y, Z)", listed, "resample them to one grid")
    inside = checked_mask(volumes["mask"], where["mask"])
    remedy = "give a --mask that leaves out these voxels, which may be torn tissue"
    predicted, true = (finite_voxels(volumes[role], inside, where[role], "refuse", remedy=remedy) for role in ("prediction", "target"))
    check_stain(true, inside, where["target"])
    predicted, true, inside = (in_order(volume, axes) for volume in (predicted, true, inside))
    scores = score(predicted, true, inside)
    found, chosen = structures(true[inside], threshold=threshold, where="threshold")
    return {**scores, "auc": auc(predicted[inside], found), "threshold": chosen}


def _header(path: str | os.PathLike[str], geometry: FileGeometry) -> Header:
    header = read_header(os.fspath(path))
    check_single(header, "stain or mask")
    return header if geometry.voxel_size is None else header.with_voxel_size(geometry.voxel_size)


def _coronal_axis(prediction: object, headers: Sequence[Header], geometry: FileGeometry) -> int:
    if geometry.coronal_axis is not None:
        return coronal_axis(headers, geometry.coronal_axis)
    record = read_record(os.fspath(prediction)) if isinstance(prediction, str | os.PathLike) else getattr(prediction, "record", None)
    return coronal_axis(headers, ((record or {}).get("about") or {}).get("coronal_axis"))


def _voxels(volume: object, header: Header | None, role: str) -> np.ndarray:
    if header is None:
        return real_array(volume, role, "buif")
    return read_voxels(header)[..., 0]
