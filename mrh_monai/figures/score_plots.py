"""Figures of scores: ROC curves, predictions against true values, agreement."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mrh_monai.figures.canvas import distinct_colours, new_figure, save_png


def roc_curves(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]], areas: Mapping[str, float], path: Path | str, title: str, highlighted: str
) -> None:
    """Draw ROC curves of several models. The legend names them by decreasing area under the curve, the highlighted one first.

    Args:
        curves: False- and true-positive rates of each model by its name, each (N,).
        areas: Area under the curve (AUC) of each model by its name.
        path: PNG file to write.
        title: Title of the figure.
        highlighted: Name of the model whose curve is drawn as a thick black line.

    Raises:
        OutputError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> rates = np.linspace(0, 1, 5)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     curves = {"network": (rates, rates**0.2), "FA": (rates, rates)}
        ...     roc_curves(curves, {"network": 0.83, "FA": 0.5}, f"{folder}/roc.png", "AF", highlighted="network")
        ...     print([path.name for path in Path(folder).iterdir()])
        ['roc.png']
    """
    figure, axes = new_figure(1, 1, (5.2 + 0.075 * max(map(len, curves)), 4.6))
    axis = axes[0][0]
    others = sorted((name for name in curves if name != highlighted), key=lambda name: -areas[name])
    colours = distinct_colours(len(others))
    axis.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=0.8)
    for name, colour in zip(others, colours, strict=True):
        axis.plot(*curves[name], color=colour, linewidth=1, label=f"{name}  {areas[name]:.3f}")
    axis.plot(*curves[highlighted], color="black", linewidth=2.4, label=f"{highlighted}  {areas[highlighted]:.3f}")
    axis.set(xlabel="false-positive rate", ylabel="true-positive rate", title=title, aspect="equal", xlim=(0, 1), ylim=(0, 1))
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(
        handles[-1:] + handles[:-1], labels[-1:] + labels[:-1], fontsize=7, loc="center left", bbox_to_anchor=(1.02, 0.5), title="AUC"
    )
    save_png(figure, path)


def predicted_against_true(
    pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], notes: Mapping[str, str], path: Path | str, units: str
) -> None:
    """Draw predicted against true values as densities, one panel for each model.

    Args:
        pairs: True and predicted values of each model by its name, each (N,), in the stain's units.
        notes: Text above the panel of each model, such as its R2, by its name.
        path: PNG file to write.
        units: Units of the stain.

    Raises:
        OutputError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> true = np.linspace(0, 255, 100)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     predicted_against_true({"network": (true, true + 5)}, {"network": "R2 1.00"}, f"{folder}/scatter.png", "8-bit")
        ...     print([path.name for path in Path(folder).iterdir()])
        ['scatter.png']
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
    save_png(figure, path)


def bland_altman(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], path: Path | str, units: str) -> None:
    """Draw the error against the mean of predicted and true value, with the bias and the limits of agreement (1.96 standard deviations).

    Args:
        pairs: True and predicted values of each model by its name, each (N,), in the stain's units.
        path: PNG file to write.
        units: Units of the stain.

    Raises:
        OutputError: The file cannot be written.

    Source:
        Bland and Altman, Lancet 1986;1:307.

    Example:
        >>> import tempfile
        >>> true = np.linspace(0, 255, 100)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     bland_altman({"network": (true, true + 5 * np.sin(true))}, f"{folder}/agreement.png", "8-bit")
        ...     print([path.name for path in Path(folder).iterdir()])
        ['agreement.png']
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
    save_png(figure, path)
