"""The history of a training run, and what follows from it: the best epoch, the early stop, the CSV."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from mrh_monai.io import as_csv


@dataclass
class RunHistory:
    """The epochs of a training run, the best of them, and whether the run should stop.

    Attributes:
        patience: Number of epochs without a gain after which the run stops; None to run all epochs.
        rows: One row for each epoch, with the columns of `metrics.csv`.
        best_epoch: Number of the epoch with the lowest validation RMSE, the first of equal ones; 0 before the first epoch.
        best_rmse: Validation RMSE of that epoch.
        best_weights: State dict of that epoch, on the CPU.

    Example:
        >>> history = RunHistory(patience=2)
        >>> [history.add({"epoch": epoch, "val_rmse": rmse}, {}) for epoch, rmse in ((1, 5.0), (2, 4.0), (3, 4.5), (4, 4.2))]
        [True, True, False, False]
        >>> history.best["epoch"], history.exhausted
        (2, True)
    """

    patience: int | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_rmse: float = math.inf
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def add(self, row: dict[str, Any], weights: Mapping[str, torch.Tensor]) -> bool:
        """Add an epoch, and return whether it is the best so far.

        Args:
            row: Number of the epoch, loss, learning rate and validation scores, by column.
            weights: State dict of the network after the epoch; it is copied if the epoch is the best.
        """
        self.rows.append(row)
        if row["val_rmse"] < self.best_rmse:
            self.best_epoch, self.best_rmse = row["epoch"], row["val_rmse"]
            self.best_weights = {key: value.detach().to("cpu", copy=True) for key, value in weights.items()}
        return bool(self.best_epoch == row["epoch"])

    @property
    def best(self) -> dict[str, Any]:
        """The row of the best epoch."""
        return self.rows[self.best_epoch - 1]

    @property
    def exhausted(self) -> bool:
        """Whether the patience has run out."""
        return self.patience is not None and len(self.rows) - self.best_epoch >= self.patience

    def csv(self) -> str:
        """Return all rows as CSV; numbers keep every digit."""
        return as_csv(self.rows)

    def state_dict(self) -> dict[str, Any]:
        """Return everything except the patience, for a checkpoint."""
        return {key: value for key, value in vars(self).items() if key != "patience"}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        vars(self).update(state)
