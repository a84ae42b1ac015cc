"""Outputs of MRH-Net's release, read as volumes in the order of the P60 template."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from mrh_monai.errors import MRHWarning, OptionError, SubjectError
from mrh_monai.io import expect_variable, open_patch_file, read_header, read_in_child_process, read_voxels

TEMPLATE_SHAPE = (200, 280, 128)
# The axes of the released AF volume are z, x and y, with x in the opposite direction. The other volumes are in the template's order.
RELEASED_ORDERS = {TEMPLATE_SHAPE: "0,1,2", (128, 200, 280): "-1,2,0"}


def reconstruct_slices(path: Path | str, height: int, width: int) -> np.ndarray:
    """Return coronal slices, from a patch file with one patch for every inner voxel of them.

    The released code cuts patches around x = 1 .. height - 2 (slowest) and z = 1 .. width - 2, slice by slice. The outermost voxels have no
    patch and are 0. The released reconstruction leaves out the very last patch; this function does not.

    Args:
        path: MAT file with ``YPred`` (k, k, 1, N), of which the centres are kept, and possibly ``fa`` of the same shape. The result is 0
            where the centre of ``fa`` is 0.
        height: Number of voxels of a slice along x.
        width: Number of voxels of a slice along z.

    Returns:
        (height, slices, width) float32, in the units of ``YPred``.

    Raises:
        SubjectError: The file is not such a patch file, or N is not a multiple of (height - 2) * (width - 2).
        OptionError: The height or the width is below 3.

    Example:
        >>> import tempfile
        >>> from mrh_monai.io import write_patch_output
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_patch_output(f"{folder}/YPred.mat", np.full((3, 15, 3), 7.0), np.ones((3, 15, 3), bool))
        ...     slices = reconstruct_slices(f"{folder}/YPred.mat", height=7, width=5)
        >>> slices.shape, slices.sum()
        ((7, 1, 5), np.float32(105.0))
    """
    path = Path(path)
    if min(height, width) < 3:
        raise OptionError("height, width", "at least 3", f"{height} and {width}", "give the size of a coronal slice")
    values, bad, masked = read_in_child_process(_centres, path)
    if not masked:
        warnings.warn(f"{path}: the variable fa is missing, so no voxel is set to 0.", MRHWarning, stacklevel=2)
    if bad:
        warnings.warn(f"{path}: {bad} values of YPred are NaN or Inf, and became 0.", MRHWarning, stacklevel=2)
    inner = (height - 2, width - 2)
    slices, rest = divmod(len(values), inner[0] * inner[1])
    if rest or not slices:
        expected = f"a multiple of ({height} - 2) x ({width} - 2) = {inner[0] * inner[1]} patches"
        raise SubjectError(
            f"{path}, YPred", expected, f"{len(values)} patches", "give the height and width of the slices that the patches were cut from"
        )
    volume = np.zeros((height, slices, width), np.float32)
    volume[1:-1, :, 1:-1] = values.reshape(slices, *inner).transpose(1, 0, 2)
    return volume


def _centres(path: Path) -> tuple[np.ndarray, int, bool]:
    """Return the centres of ``YPred`` (N,), 0 where ``fa`` is 0; the number of them that are NaN or Inf; whether ``fa`` exists."""
    with open_patch_file(path) as variables:
        predicted = expect_variable(variables, "YPred", path, (None, None, 1, None))
        values = predicted.centres()[:, 0].astype(np.float32)
        if "fa" in variables:
            fa = expect_variable(variables, "fa", path, (None, None, 1, predicted.shape[3])).centres()[:, 0]
            values[~(fa > 0)] = 0
        wrong = ~np.isfinite(values)
        values[wrong] = 0
        return values, int(wrong.sum()), "fa" in variables


def read_in_template_order(path: Path | str, axes: str | None = None) -> np.ndarray:
    """Return a released volume in the order of the P60 template (200, 280, 128): x, y (coronal slices), z.

    Args:
        path: Volume file of one volume, such as Analyze or NIfTI.
        axes: Axes of the file in the order x, y, z, such as ``1,2,0``. A minus sign reverses an axis, as in ``-1,2,0``. None chooses them
            by the shape of the file.

    Returns:
        (X, Y, Z) in the dtype of the file.

    Raises:
        SubjectError: The file is not a volume file, or has a shape that no released volume has.
        OptionError: The axes are not 0, 1 and 2 in some order.

    Example:
        >>> import tempfile
        >>> from mrh_monai.io import write_nifti
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_nifti(f"{folder}/af.nii", np.zeros((4, 6, 8), np.uint8), np.eye(4))
        ...     read_in_template_order(f"{folder}/af.nii", axes="-1,2,0").shape
        (6, 8, 4)
    """
    header = read_header(path)
    if header.channels != 1:
        raise SubjectError(path, "one volume", f"{header.channels} volumes", "extract the volume that you need")
    if axes is None:
        axes = RELEASED_ORDERS.get(header.shape)
        if axes is None:
            shapes = " or ".join(map(str, RELEASED_ORDERS))
            raise SubjectError(path, f"the shape of a released volume, {shapes}", f"{header.shape}", "name its axes with --axes")
    parts = [part.strip() for part in axes.split(",")]
    order = [int(part.lstrip("-")) if part.lstrip("-").isdigit() else -1 for part in parts]
    if sorted(order) != [0, 1, 2]:
        raise OptionError("axes", "the axes 0, 1 and 2 in the order x,y,z", repr(axes), "give something like 1,2,0 or -1,2,0")
    voxels = read_voxels(header)[..., 0].transpose(order)
    return np.flip(voxels, tuple(axis for axis, part in enumerate(parts) if part.startswith("-")))
