"""Pictures: the training curve, slices side by side, three planes, levels of channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.data import CORONAL_AXIS
from mrh_monai.io import replacing


def training_curve(rows: Sequence[Mapping[str, Any]], path: Path | str, units: str) -> None:
    """Draw loss, validation RMSE and R2 against epochs; the best epoch is marked.

    Args:
        rows: One a epoch: ``epoch``, ``train_loss``, ``val_rmse`` (stain's units), ``val_r2``.
        path: PNG to write.
        units: Of the stain.
    """
    figure, axes = new_figure(1, 2, (9, 3.4))
    epochs = [row["epoch"] for row in rows]
    best = min(rows, key=lambda row: row["val_rmse"])
    left, right = axes[0]
    left.plot(epochs, [row["train_loss"] for row in rows], color="#555555")
    left.set(xlabel="epoch", ylabel="training loss", yscale="log", title="Training")
    right.plot(epochs, [row["val_rmse"] for row in rows], color="#1f5fa8")
    right.plot(best["epoch"], best["val_rmse"], "o", color="#1f5fa8")
    for axis in (left, right):
        axis.xaxis.get_major_locator().set_params(integer=True)
    right.set(xlabel="epoch", ylabel=f"RMSE ({units})", title=f"Validation: best at epoch {best['epoch']}, R2 {best['val_r2']:.3f}")
    save(figure, path)


def side_by_side(volumes: Mapping[str, np.ndarray], path: Path | str, slices: Sequence[int] | None = None, title: str = "") -> None:
    """Draw coronal slices of several volumes, one row a volume, on each volume's own grey scale unless it shares it.

    Args:
        volumes: Label to (X, Y, Z). Volumes whose labels begin with the same word (``AF true``, ``AF predicted``) share one grey scale.
        path: PNG to write.
        slices: Indices along array axis 1; None for four evenly spread.
        title: Above it all.
    """
    first = next(iter(volumes.values()))
    count = first.shape[CORONAL_AXIS]
    if slices is None:
        slices = sorted({round(count * fraction) for fraction in (0.2, 0.4, 0.6, 0.8)} & set(range(count))) or [0]
    width = 2.2
    figure, axes = new_figure(
        len(volumes), len(slices), (width * len(slices) + 0.4, width * first.shape[2] / first.shape[0] * len(volumes) + 0.7)
    )
    ranges: dict[str, float] = {}
    for label, volume in volumes.items():
        family = label.split()[0]
        ranges[family] = max(ranges.get(family, 0), float(np.nanpercentile(volume[volume > 0], 99.5)) if (volume > 0).any() else 1)
    for row, (label, volume) in zip(axes, volumes.items(), strict=True):
        for axis, index in zip(row, slices, strict=True):
            axis.imshow(volume[:, index].T, cmap="gray", origin="lower", vmin=0, vmax=ranges[label.split()[0]])
            axis.set(xticks=[], yticks=[])
            if label == next(iter(volumes)):
                axis.set_title(f"slice {index}", fontsize=8)
        row[0].set_ylabel(label, fontsize=8)
    figure.suptitle(title, fontsize=9)
    save(figure, path)


@dataclass(frozen=True)
class Shown:
    """A volume and how to show it.

    Attributes:
        label: Beside it.
        voxels: (X, Y, Z).
        low: Intensity of the colour map's beginning.
        high: Of its end.
        colormap: One of matplotlib's.
        units: Of its intensities.
    """

    label: str
    voxels: np.ndarray
    low: float
    high: float
    colormap: str
    units: str


def three_planes(volumes: Sequence[Shown], place: Sequence[int], spacing: Sequence[float], path: Path | str) -> None:
    """Draw a coronal, a sagittal and a horizontal slice through one voxel, one row a volume, each with its colour bar.

    Args:
        volumes: On one grid.
        place: The voxel's x, y and z.
        spacing: Edges of a voxel in mm.
        path: PNG to write.
    """
    planes = [("coronal", 1, (0, 2)), ("sagittal", 0, (1, 2)), ("horizontal", 2, (0, 1))]
    size = [volumes[0].voxels.shape[axis] * spacing[axis] for axis in range(3)]
    widths = [size[across] for _, _, (across, _) in planes]
    scale = 8.6 / sum(widths)
    height = max(size[up] for _, _, (_, up) in planes) * scale
    figure, axes = new_figure(len(volumes), 3, (10.4, (height + 0.12) * len(volumes) + 0.4), width_ratios=widths)
    for row, shown in zip(axes, volumes, strict=True):
        for axis, (name, across_slices, (across, up)) in zip(row, planes, strict=True):
            cut = shown.voxels.take(place[across_slices], across_slices)
            options = {"cmap": shown.colormap, "vmin": shown.low, "vmax": shown.high, "interpolation": "nearest"}
            drawn = axis.imshow(cut.T, origin="lower", aspect=spacing[up] / spacing[across], **options)
            axis.set(xticks=[], yticks=[])
            if shown is volumes[0]:
                axis.set_title(f"{name}, {'xyz'[across_slices]} = {place[across_slices]}", fontsize=8)
        row[0].set_ylabel(shown.label, fontsize=8)
        bar = figure.colorbar(drawn, ax=row[-1], shrink=0.85, pad=0.02)
        bar.set_label(shown.units, fontsize=7)
        bar.ax.tick_params(labelsize=7)
    save(figure, path, dpi=110)


def channel_levels(means: np.ndarray, expected: np.ndarray | None, spread: np.ndarray | None, path: Path | str) -> None:
    """Draw the mean signal of every channel, beside what the training subjects had.

    Args:
        means: (C,) in the mask, divided by the subject's level.
        expected: (C,) of the training subjects; None where it is not known.
        spread: (C,) standard deviation over their voxels; None likewise.
        path: PNG to write.
    """
    figure, axes = new_figure(1, 1, (10.4, 2.3))
    axis, channels = axes[0][0], np.arange(1, len(means) + 1)
    if expected is not None and spread is not None:
        axis.fill_between(channels, expected - spread, expected + spread, color="#dfe6f0", label="training subjects, mean and sd of voxels")
        axis.plot(channels, expected, color="#8aa0bf", linewidth=1)
    axis.plot(channels, means, ".", color="#b3261e", label="this subject")
    axis.set(xlabel="channel, in the protocol's order", ylabel="signal / level", xlim=(0, len(means) + 1), ylim=(0, None))
    axis.legend(fontsize=7)
    save(figure, path, dpi=110)


def new_figure(rows: int, columns: int, size: tuple[float, float], **grid: Any) -> tuple[Any, Any]:
    """A figure of some axes, (rows, columns), and these; without pyplot, see below.

    Args:
        rows: Of axes.
        columns: Of axes.
        size: In inches.
        grid: Widths and heights, as matplotlib's ``gridspec_kw``.
    """
    # Figures are made without pyplot, which would choose a window system and keep them alive.
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, gridspec_kw=grid)


def save(figure: Any, path: Path | str, dpi: int = 150) -> None:
    """Write a figure as PNG, whole or not at all.

    Args:
        figure: Of `new_figure`.
        path: Where to.
        dpi: Pixels an inch.
    """
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi, format="png")
