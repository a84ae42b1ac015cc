"""Outputs as MRH-Net's release has them, as volumes in the order of the P60 template."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from mrh_monai.errors import MRHWarning, OptionError, SubjectError
from mrh_monai.io import expect_variable, from_patches, open_patches, read_header, read_voxels

TEMPLATE = (200, 280, 128)
# The released AF volume runs (z, x, y) and its x the other way; the others lie in the template's order.
RELEASED_ORDERS = {TEMPLATE: "0,1,2", (128, 200, 280): "-1,2,0"}


def reconstruct(path: Path | str, height: int, width: int) -> np.ndarray:
    """Patches of every inner voxel of coronal slices, back into those slices.

    The released code cuts patches around x = 1 .. height - 2 (slowest) and z = 1 .. width - 2, slice by slice. The outermost voxels, which
    have none, are 0. Its own reconstruction leaves out the very last patch; this one does not.

    Args:
        path: MAT file with ``YPred`` (k, k, 1, N), of which the centre is kept, and ``fa`` likewise, where 0 the result is 0.
        height: Voxels of a slice along x.
        width: Voxels of a slice along z.

    Returns:
        (height, slices, width) float32, in the units of ``YPred``.

    Raises:
        SubjectError: It is no such file, or N is no multiple of (height - 2) * (width - 2).
    """
    path = Path(path)
    if min(height, width) < 3:
        raise OptionError("--height, --width", "at least 3", f"{height} and {width}", "give the size of a coronal slice")
    values, bad, masked = from_patches(_centres, path)
    if not masked:
        warnings.warn(f"{path}: no variable fa, so that nothing is masked.", MRHWarning, stacklevel=2)
    if bad:
        warnings.warn(f"{path}: {bad} NaN or Inf in YPred became 0.", MRHWarning, stacklevel=2)
    inner = (height - 2, width - 2)
    slices, rest = divmod(len(values), inner[0] * inner[1])
    if rest or not slices:
        expected = f"a multiple of ({height} - 2) x ({width} - 2) = {inner[0] * inner[1]} patches"
        raise SubjectError(f"{path}, YPred", expected, f"{len(values)}", "give the height and width of the slices that they were cut from")
    volume = np.zeros((height, slices, width), np.float32)
    volume[1:-1, :, 1:-1] = values.reshape(slices, *inner).transpose(1, 0, 2)
    return volume


def _centres(path: Path) -> tuple[np.ndarray, int, bool]:
    """The centres of ``YPred`` (N,), 0 where ``fa`` is; how many of them were NaN or Inf; whether there is an ``fa``."""
    with open_patches(path) as variables:
        predicted = expect_variable(variables, "YPred", path, (None, None, 1, None))
        values = predicted.centres()[:, 0].astype(np.float32)
        if "fa" in variables:
            fa = expect_variable(variables, "fa", path, (None, None, 1, predicted.shape[3])).centres()[:, 0]
            values[~(fa > 0)] = 0
        wrong = ~np.isfinite(values)
        values[wrong] = 0
        return values, int(wrong.sum()), "fa" in variables


def read_in_template_order(path: Path | str, axes: str | None = None) -> np.ndarray:
    """A released volume in the P60 template's order (200, 280, 128): x, y (coronal slices), z.

    Args:
        path: Analyze or NIfTI file of one volume.
        axes: The file's axes in the order x, y, z, as ``1,2,0``; ``-1`` for axis 1 from its end. None: by the file's shape.

    Returns:
        (X, Y, Z) in the file's dtype.

    Raises:
        SubjectError: It is no such file, or of a shape that none of the released volumes has.
        OptionError: The axes are not three different ones.
    """
    header = read_header(path)
    if header.channels != 1:
        raise SubjectError(path, "one volume", f"{header.channels}", "extract the right one")
    if axes is None:
        axes = RELEASED_ORDERS.get(header.shape)
        if axes is None:
            shapes = " or ".join(map(str, RELEASED_ORDERS))
            raise SubjectError(path, f"the shape of a released volume, {shapes}", f"{header.shape}", "name its axes with --axes")
    parts = [part.strip() for part in axes.split(",")]
    order = [int(part.lstrip("-")) if part.lstrip("-").isdigit() else -1 for part in parts]
    if sorted(order) != [0, 1, 2]:
        raise OptionError("--axes", "the axes 0, 1 and 2 in the order x,y,z", repr(axes), "give something like 1,2,0 or -1,2,0")
    voxels = read_voxels(header)[..., 0].transpose(order)
    return np.flip(voxels, tuple(axis for axis, part in enumerate(parts) if part.startswith("-")))
