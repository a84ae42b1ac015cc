"""Empty figures, and saving them as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mrh_monai.io import replacing

if TYPE_CHECKING:  # matplotlib takes half a second to import, and is only needed once a figure is drawn.
    from matplotlib.figure import Figure


def new_figure(rows: int, columns: int, size: tuple[float, float], widths: Sequence[float] | None = None) -> tuple[Figure, np.ndarray]:
    """Return a figure, and its axes (rows, columns).

    Args:
        rows: Number of rows of axes.
        columns: Number of columns of axes.
        size: Width and height of the figure, inches.
        widths: Relative widths of the columns; None for equal ones.
    """
    # The figure is made without pyplot, which would choose a window system and keep every figure alive.
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes: np.ndarray = figure.subplots(rows, columns, squeeze=False, width_ratios=widths)
    return figure, axes


def save_png(figure: Figure, path: Path | str, dpi: int = 150) -> None:
    """Write a figure as a PNG file, whole or not at all.

    Args:
        figure: Figure from `new_figure`.
        path: PNG file to write.
        dpi: Pixels in an inch.

    Raises:
        OutputError: The file cannot be written.
    """
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi, format="png")


def distinct_colours(count: int) -> list[Any]:
    """Return a number of colours, from blue over green to red, for lines that must be easy to distinguish."""
    from matplotlib import colormaps

    return [colormaps["turbo"](0.06 + 0.88 * index / max(count - 1, 1)) for index in range(count)]
