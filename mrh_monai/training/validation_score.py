"""The numbers that MONAI's engines report and compare: scores over the centre voxels of patches, and the loss of a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric

from mrh_monai import distributed


def lower_is_better(current: float, best: float) -> bool:
    """Return whether a score is better than the best one so far, for the engines of MONAI, whose first best score is -1.

    Example:
        >>> lower_is_better(3.0, best=-1), lower_is_better(3.0, best=2.0)
        (True, False)
    """
    return best < 0 or current < best


class CentreScore(Metric):
    """A score over the centre voxels of all patches of an epoch, in the stain's own units. Patches of other processes count too.

    Args:
        score: Function from predictions (N,) and targets (N,) to a number, such as `mrh_monai.evaluation.rmse`.
        target_range: Number by which scaled predictions and targets are multiplied, in the stain's units.

    Example:
        >>> score = CentreScore(lambda prediction, target: float(abs(prediction - target).mean()), target_range=200.0)
        >>> score.update((torch.full((4, 1, 3, 3), 0.5), torch.full((4, 1, 3, 3), 0.25)))
        >>> score.compute()
        50.0
    """

    def __init__(self, score: Callable[[np.ndarray, np.ndarray], float], target_range: float):
        self.score, self.target_range = score, target_range
        super().__init__(output_transform=lambda output: (output["pred"], output["label"]))

    def reset(self) -> None:
        """Remove the voxels of the epoch before."""
        self._pairs: list[torch.Tensor] = []

    def update(self, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Add a batch: prediction and label, each (B, 1, 3, 3)."""
        centre: Any = (slice(None), 0, *(n // 2 for n in output[0].shape[2:]))
        self._pairs.append(torch.stack([values[centre].detach().float().cpu() for values in output]))

    def compute(self) -> float:
        """Return the score of all voxels together."""
        pairs = torch.cat(distributed.gather_from_processes(torch.cat(self._pairs, dim=1)), dim=1)
        prediction, target = (pairs * self.target_range).numpy()
        return self.score(prediction, target)


class KeepOnlyLoss:
    """The first handler of a trainer: it keeps only the loss of a step's output, in the form that MONAI's other handlers expect.

    A decollated batch would have that form too, but MONAI would make a dictionary for every patch. Predictions and labels are also freed
    one step earlier.
    """

    def attach(self, trainer: Engine) -> None:
        """Call this handler after every step of a trainer."""
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, trainer: Engine) -> None:
        """Change ``{"loss": ..., "pred": ..., ...}`` to ``[{"loss": ...}]``."""
        state: Any = trainer.state
        state.output = [{"loss": state.output["loss"]}]
