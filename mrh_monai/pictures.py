"""Pictures: the training curve, and slices side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    # Figures are made without pyplot, which would choose a window system and keep them alive.
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _save(figure: Any, path: Path | str) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
