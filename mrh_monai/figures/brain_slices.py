"""Figures of slices of a brain: coronal slices of several volumes, and three planes through one voxel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.axis_order import CORONAL_AXIS
from mrh_monai.figures.canvas import new_figure, save_png


@dataclass(frozen=True)
class Plane:
    """How slices of one orientation lie in a volume.

    Attributes:
        name: Name of the orientation.
        normal: Array axis that runs from slice to slice.
        across: Array axis that is drawn from left to right.
        up: Array axis that is drawn from bottom to top.
    """

    name: str
    normal: int
    across: int
    up: int


CORONAL = Plane("coronal", CORONAL_AXIS, 0, 2)
PLANES = (CORONAL, Plane("sagittal", 0, 1, 2), Plane("horizontal", 2, 0, 1))


def side_by_side(volumes: Mapping[str, np.ndarray], path: Path | str, slices: Sequence[int] | None = None, title: str = "") -> None:
    """Draw coronal slices of several volumes, one row for each volume.

    Args:
        volumes: Volumes (X, Y, Z) by label. Volumes whose labels begin with the same word (``AF true``, ``AF predicted``) share one grey
            scale.
        path: PNG file to write.
        slices: Indices of the slices along array axis 1; None for four slices that are evenly spread.
        title: Title of the figure.

    Raises:
        OutputError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> brain = np.ones((12, 8, 10))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     side_by_side({"AF true": brain, "AF predicted": brain / 2}, f"{folder}/af.png", slices=[2, 5])
        ...     print([path.name for path in Path(folder).iterdir()])
        ['af.png']
    """
    first = next(iter(volumes.values()))
    count = first.shape[CORONAL.normal]
    if slices is None:
        slices = sorted({round(count * fraction) for fraction in (0.2, 0.4, 0.6, 0.8)} & set(range(count))) or [0]
    width = 2.2
    height = width * first.shape[CORONAL.up] / first.shape[CORONAL.across]
    figure, axes = new_figure(len(volumes), len(slices), (width * len(slices) + 0.4, height * len(volumes) + 0.7))
    brightest: dict[str, float] = {}
    for label, volume in volumes.items():
        family = label.split()[0]
        brightest[family] = max(brightest.get(family, 0), float(np.nanpercentile(volume[volume > 0], 99.5)) if (volume > 0).any() else 1)
    for row, (label, volume) in zip(axes, volumes.items(), strict=True):
        for axis, index in zip(row, slices, strict=True):
            axis.imshow(volume[:, index].T, cmap="gray", origin="lower", vmin=0, vmax=brightest[label.split()[0]])
            axis.set(xticks=[], yticks=[])
            if label == next(iter(volumes)):
                axis.set_title(f"slice {index}", fontsize=8)
        row[0].set_ylabel(label, fontsize=8)
    figure.suptitle(title, fontsize=9)
    save_png(figure, path)


@dataclass(frozen=True)
class ShownVolume:
    """A volume, and how to draw it.

    Attributes:
        label: Text beside the volume.
        voxels: (X, Y, Z).
        low: Intensity at the beginning of the colour map.
        high: Intensity at the end of the colour map.
        colormap: Name of one of matplotlib's colour maps.
        units: Units of the intensities.
    """

    label: str
    voxels: np.ndarray
    low: float
    high: float
    colormap: str
    units: str


def three_planes(volumes: Sequence[ShownVolume], place: Sequence[int], spacing: Sequence[float], path: Path | str) -> None:
    """Draw a coronal, a sagittal and a horizontal slice through one voxel, one row for each volume, with a colour bar.

    Args:
        volumes: Volumes on one grid.
        place: Array indices x, y, z of the voxel.
        spacing: Voxel size along (X, Y, Z), mm.
        path: PNG file to write.

    Raises:
        OutputError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> brain = ShownVolume("AF predicted", np.ones((12, 8, 10)), low=0, high=255, colormap="magma", units="8-bit")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     three_planes([brain], (6, 4, 5), (0.0625, 0.0625, 0.0625), f"{folder}/planes.png")
        ...     print([path.name for path in Path(folder).iterdir()])
        ['planes.png']
    """
    size = [volumes[0].voxels.shape[axis] * spacing[axis] for axis in range(3)]
    widths = [size[plane.across] for plane in PLANES]
    scale = 8.6 / sum(widths)
    height = max(size[plane.up] for plane in PLANES) * scale
    figure, axes = new_figure(len(volumes), 3, (10.4, (height + 0.12) * len(volumes) + 0.4), widths)
    for row, shown in zip(axes, volumes, strict=True):
        for axis, plane in zip(row, PLANES, strict=True):
            cut = shown.voxels.take(place[plane.normal], plane.normal)
            options: dict[str, Any] = {"cmap": shown.colormap, "vmin": shown.low, "vmax": shown.high, "interpolation": "nearest"}
            drawn = axis.imshow(cut.T, origin="lower", aspect=spacing[plane.up] / spacing[plane.across], **options)
            axis.set(xticks=[], yticks=[])
            if shown is volumes[0]:
                axis.set_title(f"{plane.name}, {'xyz'[plane.normal]} = {place[plane.normal]}", fontsize=8)
        row[0].set_ylabel(shown.label, fontsize=8)
        bar = figure.colorbar(drawn, ax=row[-1], shrink=0.85, pad=0.02)
        bar.set_label(shown.units, fontsize=7)
        bar.ax.tick_params(labelsize=7)
    save_png(figure, path, dpi=110)
