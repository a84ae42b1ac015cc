"""Figure of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mrh_monai.figures.canvas import new_figure, save_png


def best_epoch(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the row of the best epoch of a training: the first with the smallest validation RMSE.

    Args:
        rows: One mapping for each epoch, with ``val_rmse``.

    Example:
        >>> best_epoch([{"epoch": 1, "val_rmse": 9.0}, {"epoch": 2, "val_rmse": "7.5"}])["epoch"]
        2
    """
    return min(rows, key=lambda row: float(row["val_rmse"]))


def training_curve(rows: Sequence[Mapping[str, Any]], path: Path | str, units: str) -> None:
    """Draw training loss and validation RMSE against the epoch, and mark the best epoch.

    Args:
        rows: One mapping for each epoch, with ``epoch``, ``train_loss``, ``val_rmse`` (in the stain's units) and ``val_r2``.
        path: PNG file to write.
        units: Units of the stain.

    Raises:
        OutputError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> rows = [{"epoch": n, "train_loss": 1 / n, "val_rmse": 10 / n, "val_r2": 0.9} for n in (1, 2, 3)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     training_curve(rows, f"{folder}/curve.png", "8-bit autofluorescence")
        ...     print([path.name for path in Path(folder).iterdir()])
        ['curve.png']
    """
    figure, axes = new_figure(1, 2, (9, 3.4))
    epochs = [row["epoch"] for row in rows]
    best = best_epoch(rows)
    left, right = axes[0]
    left.plot(epochs, [row["train_loss"] for row in rows], color="#555555")
    left.set(xlabel="epoch", ylabel="training loss", yscale="log", title="Training")
    right.plot(epochs, [row["val_rmse"] for row in rows], color="#1f5fa8")
    right.plot(best["epoch"], best["val_rmse"], "o", color="#1f5fa8")
    for axis in (left, right):
        axis.xaxis.get_major_locator().set_params(integer=True)
    right.set(xlabel="epoch", ylabel=f"RMSE ({units})", title=f"Validation: best at epoch {best['epoch']}, R2 {best['val_r2']:.3f}")
    save_png(figure, path)
