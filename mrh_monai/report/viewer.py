"""Volumes for an interactive viewer inside an HTML page, small enough for the page.

The viewer is NiiVue (BSD-2-Clause). It is read from the installed nilearn; this project holds no copy of it.
"""

from __future__ import annotations

import base64
import gzip
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import nibabel
import numpy as np
from skimage.measure import block_reduce

LEVELS = 255


@dataclass(frozen=True)
class Layer:
    """One volume of the viewer.

    Attributes:
        label: Name of the volume on the page.
        voxels: (X, Y, Z) intensities.
        low: Intensity of the darkest colour; an overlay is transparent below it.
        high: Intensity of the brightest colour.
        colormap: Name of one of NiiVue's colour maps.
    """

    label: str
    voxels: np.ndarray
    low: float
    high: float
    colormap: str


def viewer_script() -> str | None:
    """Return the source code of NiiVue; None where nilearn is not installed or does not hold it.

    Importing nilearn would take seconds, so only its folder is looked up.
    """
    found = importlib.util.find_spec("nilearn")
    if found is None or not found.submodule_search_locations:
        return None
    scripts = sorted(Path(found.submodule_search_locations[0]).rglob("niivue*.umd.js"))
    if not scripts:
        return None
    source = scripts[0].read_text("utf-8")
    # Source code that contains the end tag of a script element cannot be put into the page.
    return None if "</script" in source.lower() or "<!--" in source else source


class ViewerVolume(TypedDict):
    """One volume as NiiVue takes it.

    Attributes:
        name: File name.
        label: Name of the volume on the page.
        b64: NIfTI file (.nii.gz) in base64.
        colormap: Name of the colour map.
        cal_min: Intensity of the darkest colour.
        cal_max: Intensity of the brightest colour.
    """

    name: str
    label: str
    b64: str
    colormap: str
    cal_min: float
    cal_max: float


def embed(layers: Sequence[Layer], mask: np.ndarray, affine: np.ndarray, limit: int) -> tuple[list[ViewerVolume], tuple[int, ...]]:
    """Return volumes as the viewer takes them: cropped to the mask, in 256 levels, with voxels joined until they are small enough.

    Args:
        layers: The base first, then the overlays.
        mask: (X, Y, Z) bool.
        affine: (4, 4) from voxel index to mm.
        limit: Number of bytes that all volumes together may take.

    Returns:
        The volumes, and how many voxels were joined along each axis.
    """
    found = np.argwhere(mask)
    first = found.min(0)
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(first, found.max(0), strict=True))
    factor, size = 1, mask[box].shape
    while True:
        joined = tuple(max(1, min(factor, length // 2)) for length in size)  # an axis keeps at least two voxels
        volumes = [_volume(layer, box, first, affine, joined, index) for index, layer in enumerate(layers)]
        if sum(len(volume["b64"]) for volume in volumes) <= limit or 2 * factor > max(size):
            return volumes, joined
        factor += 1


def _volume(
    layer: Layer, box: tuple[slice, ...], first: np.ndarray, affine: np.ndarray, factors: Sequence[int], index: int
) -> ViewerVolume:
    span = (layer.high - layer.low) or 1.0
    part = np.nan_to_num(np.asarray(layer.voxels[box], np.float32))
    if max(factors) > 1:
        whole = [(0, -size % factor) for size, factor in zip(part.shape, factors, strict=True)]
        part = block_reduce(np.pad(part, whole, mode="edge"), tuple(factors), np.mean)
    levels = np.rint(((part - layer.low) / span).clip(0, 1) * LEVELS).astype(np.uint8)
    placed = affine.astype(float) @ np.diag([*factors, 1.0])
    placed[:3, 3] = affine[:3, :3] @ (first + (np.asarray(factors) - 1) / 2) + affine[:3, 3]
    image = nibabel.Nifti1Image(levels, placed)
    image.header.set_slope_inter(span / LEVELS, layer.low)
    packed = gzip.compress(image.to_bytes(), 9, mtime=0)
    text = base64.b64encode(packed).decode("ascii")
    # The lowest level of an overlay is the background, which is not drawn.
    low = layer.low if index == 0 else layer.low + span / LEVELS
    name = f"volume{index}.nii.gz"
    return {"name": name, "label": layer.label, "b64": text, "colormap": layer.colormap, "cal_min": low, "cal_max": layer.high}
