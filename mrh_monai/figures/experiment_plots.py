"""Figures of experiments: bars with intervals, curves, maps of points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mrh_monai.figures.canvas import distinct_colours, new_figure, save_png


def bars(
    rows: Sequence[tuple[str, float, float, float]], path: Path | str, xlabel: str, title: str = "", highlighted: str | None = None
) -> None:
    """Draw horizontal bars with intervals, in the given order from top to bottom.

    Args:
        rows: Name, value, lower end and upper end of the interval for each bar; the ends are NaN where there is no interval.
        path: PNG file to write.
        xlabel: Label of the axis of the values.
        title: Title of the figure.
        highlighted: Name of the bar in a dark colour; None to draw all bars alike.

    Raises:
        OutputError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     bars([("network", 0.71, 0.68, 0.74), ("FA", 0.2, 0.1, 0.3)], f"{folder}/r2.png", "R2", highlighted="network")
        ...     print([path.name for path in Path(folder).iterdir()])
        ['r2.png']
    """
    figure, axes = new_figure(1, 1, (6.4, 0.24 * len(rows) + 1.1))
    axis = axes[0][0]
    names = [row[0] for row in rows]
    values, low, high = np.array([row[1:] for row in rows], float).T
    axis.barh(range(len(rows)), values, color=["#1f5fa8" if name == highlighted else "#9db7d4" for name in names], height=0.72)
    known = np.isfinite(low) & np.isfinite(high)
    spans = np.array([np.maximum(values - low, 0), np.maximum(high - values, 0)])
    axis.errorbar(values[known], np.flatnonzero(known), xerr=spans[:, known], fmt="none", ecolor="#333333", elinewidth=0.9, capsize=2)
    axis.set(yticks=range(len(rows)), xlabel=xlabel, title=title, ylim=(len(rows) - 0.4, -0.6))
    axis.set_yticklabels(names, fontsize=7)
    save_png(figure, path)


def curves(
    lines: Mapping[str, Sequence[tuple[float, float, float]]],
    path: Path | str,
    xlabel: str,
    ylabel: str,
    title: str = "",
    log: bool = False,
) -> None:
    """Draw one line for each setting of an experiment, with the spread of its repetitions.

    Args:
        lines: Points of each setting by its label: x, mean and standard deviation over the repetitions.
        path: PNG file to write.
        xlabel: Label of the horizontal axis.
        ylabel: Label of the vertical axis.
        title: Title of the figure.
        log: Whether the horizontal axis is logarithmic.

    Raises:
        OutputError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     curves({"5 blocks": [(1000, 0.5, 0.02), (8000, 0.6, 0.01)]}, f"{folder}/size.png", "patches", "R2", log=True)
        ...     print([path.name for path in Path(folder).iterdir()])
        ['size.png']
    """
    figure, axes = new_figure(1, 1, (5.6, 3.6))
    axis = axes[0][0]
    for (label, points), colour in zip(lines.items(), distinct_colours(len(lines)), strict=True):
        x, y, spread = np.array(sorted(points), float).T
        axis.errorbar(x, y, yerr=spread, marker="o", markersize=4, linewidth=1.2, capsize=2, color=colour, label=label)
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title, xscale="log" if log else "linear")
    if len(lines) > 1:
        axis.legend(fontsize=8)
    save_png(figure, path)


def coloured_points(panels: Mapping[str, np.ndarray], values: np.ndarray, path: Path | str, label: str) -> None:
    """Draw points that are coloured by a value, one panel for each map.

    Args:
        panels: Points (N, 2) of each map by its title.
        values: (N,) values of the points, the same in every panel.
        path: PNG file to write.
        label: Label of the colour bar.

    Raises:
        OutputError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> points = np.array([[0.0, 0.0], [1.0, 0.5], [0.5, 1.0]])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     coloured_points({"t-SNE": points}, np.array([0.0, 10.0, 20.0]), f"{folder}/map.png", "stain")
        ...     print([path.name for path in Path(folder).iterdir()])
        ['map.png']
    """
    figure, axes = new_figure(1, len(panels), (4.2 * len(panels) + 0.6, 4.0))
    for axis, (title, points) in zip(axes[0], panels.items(), strict=True):
        drawn = axis.scatter(*points.T, c=values, s=4, cmap="viridis", linewidths=0)
        axis.set(xticks=[], yticks=[], title=title)
    figure.colorbar(drawn, ax=axes[0][-1], label=label, shrink=0.8)
    save_png(figure, path)
