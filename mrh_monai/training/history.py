"""The history of a training run, and what follows from it: the best epoch, the early stop, the CSV."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from mrh_monai.io import as_csv


@dataclass
class RunRecord:
    """The history of a run, and what follows from it: which epoch is the best, and whether to go on.

    Attributes:
        patience: Epochs without a gain after which to stop; None for never.
        rows: One a epoch, the columns of `metrics.csv`.
        best_epoch: With the lowest validation RMSE; the first of equals; 0 before any.
        best_rmse: Its RMSE.
        best_weights: Its weights, on the CPU.
    """

    patience: int | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_rmse: float = math.inf
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def add(self, row: dict[str, Any], weights: Mapping[str, torch.Tensor]) -> bool:
        """Add an epoch; True if it is the best so far."""
        self.rows.append(row)
        if row["val_rmse"] < self.best_rmse:
            self.best_epoch, self.best_rmse = row["epoch"], row["val_rmse"]
            self.best_weights = {key: value.detach().to("cpu", copy=True) for key, value in weights.items()}
        return self.best_epoch == row["epoch"]

    @property
    def best(self) -> dict[str, Any]:
        """The row of the best epoch."""
        return self.rows[self.best_epoch - 1]

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and len(self.rows) - self.best_epoch >= self.patience

    def csv(self) -> str:
        """All rows as CSV; numbers keep every digit."""
        return as_csv(self.rows)

    def state_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        return {key: value for key, value in vars(self).items() if key != "patience"}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        vars(self).update(state)
