"""Pictures: the training curve, and slices side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.files import replacing
from mrh_monai.subjects import CORONAL_AXIS


def training_curve(rows: Sequence[Mapping[str, Any]], path: Path | str, units: str) -> None:
    """Draw loss, validation RMSE and R2 against epochs; the best epoch is marked.

    Args:
        rows: One a epoch: ``epoch``, ``train_loss``, ``val_rmse`` (stain's units), ``val_r2``.
        path: PNG to write.
        units: Of the stain.
    """
    figure, axes = _figure(1, 2, (9, 3.4))
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
    _save(figure, path)


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
    figure, axes = _figure(
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
    _save(figure, path)


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
    figure, axes = _figure(len(volumes), 3, (10.4, (height + 0.12) * len(volumes) + 0.4), width_ratios=widths)
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
    _save(figure, path, dpi=110)


def channel_levels(means: np.ndarray, expected: np.ndarray | None, spread: np.ndarray | None, path: Path | str) -> None:
    """Draw the mean signal of every channel, beside what the training subjects had.

    Args:
        means: (C,) in the mask, divided by the subject's level.
        expected: (C,) of the training subjects; None where it is not known.
        spread: (C,) standard deviation over their voxels; None likewise.
        path: PNG to write.
    """
    figure, axes = _figure(1, 1, (10.4, 2.3))
    axis, channels = axes[0][0], np.arange(1, len(means) + 1)
    if expected is not None and spread is not None:
        axis.fill_between(channels, expected - spread, expected + spread, color="#dfe6f0", label="training subjects, mean and sd of voxels")
        axis.plot(channels, expected, color="#8aa0bf", linewidth=1)
    axis.plot(channels, means, ".", color="#b3261e", label="this subject")
    axis.set(xlabel="channel, in the protocol's order", ylabel="signal / level", xlim=(0, len(means) + 1), ylim=(0, None))
    axis.legend(fontsize=7)
    _save(figure, path, dpi=110)


def roc_curves(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]], areas: Mapping[str, float], path: Path | str, title: str, first: str
) -> None:
    """Draw ROC curves, one heavy and the others by area under them.

    Args:
        curves: Name to false- and true-positive rate.
        areas: Name to AUC.
        path: PNG to write.
        title: Above it.
        first: Name of the heavy one.
    """
    figure, axes = _figure(1, 1, (6.6, 4.6))
    axis = axes[0][0]
    others = sorted((name for name in curves if name != first), key=lambda name: -areas[name])
    colours = _colours(len(others))
    axis.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=0.8)
    for name, colour in zip(others, colours, strict=True):
        axis.plot(*curves[name], color=colour, linewidth=1, label=f"{name}  {areas[name]:.3f}")
    axis.plot(*curves[first], color="black", linewidth=2.4, label=f"{first}  {areas[first]:.3f}")
    axis.set(xlabel="false-positive rate", ylabel="true-positive rate", title=title, aspect="equal", xlim=(0, 1), ylim=(0, 1))
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(
        handles[-1:] + handles[:-1], labels[-1:] + labels[:-1], fontsize=7, loc="center left", bbox_to_anchor=(1.02, 0.5), title="AUC"
    )
    _save(figure, path)


def predicted_against_true(
    pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], notes: Mapping[str, str], path: Path | str, units: str
) -> None:
    """Draw predictions against targets as densities, one panel a model.

    Args:
        pairs: Name to target and prediction, each (N,).
        notes: Name to what to write above, such as its R2.
        path: PNG to write.
        units: Of the stain.
    """
    figure, axes = _figure(1, len(pairs), (3.4 * len(pairs) + 0.4, 3.5))
    low = min(0.0, *(float(np.percentile(p, 0.1)) for _, p in pairs.values()))
    high = max(float(max(t.max(), np.percentile(p, 99.9))) for t, p in pairs.values())
    for axis, (name, (target, prediction)) in zip(axes[0], pairs.items(), strict=True):
        image = axis.hexbin(
            target, prediction, gridsize=70, bins="log", cmap="viridis", extent=(low, high, low, high), mincnt=1, linewidths=0
        )
        axis.plot([low, high], [low, high], color="#cc3311", linewidth=0.8)
        axis.set(xlabel=f"true ({units})", ylabel=f"predicted ({units})", aspect="equal", xlim=(low, high), ylim=(low, high))
        axis.set_title(f"{name}\n{notes[name]}", fontsize=8)
    figure.colorbar(image, ax=axes[0][-1], label="voxels", shrink=0.8)
    _save(figure, path)


def bland_altman(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], path: Path | str, units: str) -> None:
    """Draw error against the mean of prediction and target, with bias and limits of agreement (1.96 standard deviations).

    Args:
        pairs: Name to target and prediction, each (N,).
        path: PNG to write.
        units: Of the stain.

    Source:
        Bland and Altman, Lancet 1986;1:307.
    """
    figure, axes = _figure(1, len(pairs), (3.8 * len(pairs) + 0.2, 3.3))
    limit = max(float(np.percentile(np.abs(p - t), 99.9)) for t, p in pairs.values())
    for axis, (name, (target, prediction)) in zip(axes[0], pairs.items(), strict=True):
        mean, difference = (target + prediction) / 2, prediction - target
        axis.hexbin(mean, difference, gridsize=70, bins="log", cmap="viridis", mincnt=1, linewidths=0)
        bias, spread = float(difference.mean()), 1.96 * float(difference.std())
        for level, style in ((bias, "-"), (bias - spread, "--"), (bias + spread, "--")):
            axis.axhline(level, color="#cc3311", linewidth=0.8, linestyle=style)
        axis.set(xlabel=f"mean of both ({units})", ylabel=f"predicted - true ({units})", ylim=(-limit, limit))
        axis.set_title(f"{name}\nbias {bias:.2f}, limits {bias - spread:.1f} to {bias + spread:.1f}", fontsize=8)
    _save(figure, path)


def bars(rows: Sequence[tuple[str, float, float, float]], path: Path | str, xlabel: str, title: str = "", first: str | None = None) -> None:
    """Draw horizontal bars with intervals, in the order given, from above.

    Args:
        rows: Name, value, and both ends of its interval (NaN for none).
        path: PNG to write.
        xlabel: What the value is.
        title: Above it.
        first: The bar to stress; None for none.
    """
    figure, axes = _figure(1, 1, (6.4, 0.24 * len(rows) + 1.1))
    axis = axes[0][0]
    names = [row[0] for row in rows]
    values, low, high = np.array([row[1:] for row in rows], float).T
    axis.barh(range(len(rows)), values, color=["#1f5fa8" if name == first else "#9db7d4" for name in names], height=0.72)
    known = np.isfinite(low) & np.isfinite(high)
    spans = np.array([np.maximum(values - low, 0), np.maximum(high - values, 0)])
    axis.errorbar(values[known], np.flatnonzero(known), xerr=spans[:, known], fmt="none", ecolor="#333333", elinewidth=0.9, capsize=2)
    axis.set(yticks=range(len(rows)), xlabel=xlabel, title=title, ylim=(len(rows) - 0.4, -0.6))
    axis.set_yticklabels(names, fontsize=7)
    _save(figure, path)


def curves(
    lines: Mapping[str, Sequence[tuple[float, float, float]]],
    path: Path | str,
    xlabel: str,
    ylabel: str,
    title: str = "",
    log: bool = False,
) -> None:
    """Draw one line a setting, with the spread of repetitions.

    Args:
        lines: Label to points x, mean and standard deviation.
        path: PNG to write.
        xlabel: Below.
        ylabel: Beside.
        title: Above.
        log: Whether x is logarithmic.
    """
    figure, axes = _figure(1, 1, (5.6, 3.6))
    axis = axes[0][0]
    for (label, points), colour in zip(lines.items(), _colours(len(lines)), strict=True):
        x, y, spread = np.array(sorted(points), float).T
        axis.errorbar(x, y, yerr=spread, marker="o", markersize=4, linewidth=1.2, capsize=2, color=colour, label=label)
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title, xscale="log" if log else "linear")
    if len(lines) > 1:
        axis.legend(fontsize=8)
    _save(figure, path)


def coloured_points(panels: Mapping[str, np.ndarray], values: np.ndarray, path: Path | str, label: str) -> None:
    """Draw points coloured by a value, one panel a map.

    Args:
        panels: Title to points (N, 2).
        values: (N,).
        path: PNG to write.
        label: What the value is.
    """
    figure, axes = _figure(1, len(panels), (4.2 * len(panels) + 0.6, 4.0))
    for axis, (title, points) in zip(axes[0], panels.items(), strict=True):
        drawn = axis.scatter(*points.T, c=values, s=4, cmap="viridis", linewidths=0)
        axis.set(xticks=[], yticks=[], title=title)
    figure.colorbar(drawn, ax=axes[0][-1], label=label, shrink=0.8)
    _save(figure, path)


def _colours(count: int) -> list[Any]:
    from matplotlib import colormaps

    return [colormaps["turbo"](0.06 + 0.88 * index / max(count - 1, 1)) for index in range(count)]


def _figure(rows: int, columns: int, size: tuple[float, float], **grid: Any) -> tuple[Any, Any]:
    # Figures are made without pyplot, which would choose a window system and keep them alive.
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, gridspec_kw=grid)


def _save(figure: Any, path: Path | str, dpi: int = 150) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi, format="png")
