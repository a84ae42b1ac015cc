"""Plots of scores and experiments: ROC curves, scatter, agreement, bars, curves, maps of points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.figures.brain_slices import new_figure, save


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
    figure, axes = new_figure(1, 1, (5.2 + 0.075 * max(map(len, curves)), 4.6))
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
    save(figure, path)


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
    figure, axes = new_figure(1, len(pairs), (3.4 * len(pairs) + 0.4, 3.5))
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
    save(figure, path)


def bland_altman(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], path: Path | str, units: str) -> None:
    """Draw error against the mean of prediction and target, with bias and limits of agreement (1.96 standard deviations).

    Args:
        pairs: Name to target and prediction, each (N,).
        path: PNG to write.
        units: Of the stain.

    Source:
        Bland and Altman, Lancet 1986;1:307.
    """
    figure, axes = new_figure(1, len(pairs), (3.8 * len(pairs) + 0.2, 3.3))
    limit = max(float(np.percentile(np.abs(p - t), 99.9)) for t, p in pairs.values())
    ends = [float(np.percentile((t + p) / 2, share)) for t, p in pairs.values() for share in (0.02, 99.98)]
    for axis, (name, (target, prediction)) in zip(axes[0], pairs.items(), strict=True):
        mean, difference = (target + prediction) / 2, prediction - target
        span = (min(ends), max(ends), -limit, limit)
        axis.hexbin(mean, difference, gridsize=70, bins="log", cmap="viridis", extent=span, mincnt=1, linewidths=0)
        bias, spread = float(difference.mean()), 1.96 * float(difference.std())
        for level, style in ((bias, "-"), (bias - spread, "--"), (bias + spread, "--")):
            axis.axhline(level, color="#cc3311", linewidth=0.8, linestyle=style)
        axis.set(xlabel=f"mean of both ({units})", ylabel=f"predicted - true ({units})", xlim=span[:2], ylim=span[2:])
        axis.set_title(f"{name}\nbias {bias:.2f}, limits {bias - spread:.1f} to {bias + spread:.1f}", fontsize=8)
    save(figure, path)


def bars(rows: Sequence[tuple[str, float, float, float]], path: Path | str, xlabel: str, title: str = "", first: str | None = None) -> None:
    """Draw horizontal bars with intervals, in the order given, from above.

    Args:
        rows: Name, value, and both ends of its interval (NaN for none).
        path: PNG to write.
        xlabel: What the value is.
        title: Above it.
        first: The bar to stress; None for none.
    """
    figure, axes = new_figure(1, 1, (6.4, 0.24 * len(rows) + 1.1))
    axis = axes[0][0]
    names = [row[0] for row in rows]
    values, low, high = np.array([row[1:] for row in rows], float).T
    axis.barh(range(len(rows)), values, color=["#1f5fa8" if name == first else "#9db7d4" for name in names], height=0.72)
    known = np.isfinite(low) & np.isfinite(high)
    spans = np.array([np.maximum(values - low, 0), np.maximum(high - values, 0)])
    axis.errorbar(values[known], np.flatnonzero(known), xerr=spans[:, known], fmt="none", ecolor="#333333", elinewidth=0.9, capsize=2)
    axis.set(yticks=range(len(rows)), xlabel=xlabel, title=title, ylim=(len(rows) - 0.4, -0.6))
    axis.set_yticklabels(names, fontsize=7)
    save(figure, path)


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
    figure, axes = new_figure(1, 1, (5.6, 3.6))
    axis = axes[0][0]
    for (label, points), colour in zip(lines.items(), _colours(len(lines)), strict=True):
        x, y, spread = np.array(sorted(points), float).T
        axis.errorbar(x, y, yerr=spread, marker="o", markersize=4, linewidth=1.2, capsize=2, color=colour, label=label)
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title, xscale="log" if log else "linear")
    if len(lines) > 1:
        axis.legend(fontsize=8)
    save(figure, path)


def coloured_points(panels: Mapping[str, np.ndarray], values: np.ndarray, path: Path | str, label: str) -> None:
    """Draw points coloured by a value, one panel a map.

    Args:
        panels: Title to points (N, 2).
        values: (N,).
        path: PNG to write.
        label: What the value is.
    """
    figure, axes = new_figure(1, len(panels), (4.2 * len(panels) + 0.6, 4.0))
    for axis, (title, points) in zip(axes[0], panels.items(), strict=True):
        drawn = axis.scatter(*points.T, c=values, s=4, cmap="viridis", linewidths=0)
        axis.set(xticks=[], yticks=[], title=title)
    figure.colorbar(drawn, ax=axes[0][-1], label=label, shrink=0.8)
    save(figure, path)


def _colours(count: int) -> list[Any]:
    from matplotlib import colormaps

    return [colormaps["turbo"](0.06 + 0.88 * index / max(count - 1, 1)) for index in range(count)]
