"""The state of a training run that is being computed: saved after every epoch, and restored to resume the run exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.engines.evaluator import Evaluator
from monai.engines.trainer import Trainer
from torch.optim.lr_scheduler import LRScheduler

from mrh_monai.errors import CheckpointError, OptionError, cause_in_words
from mrh_monai.intervals import IntervalFitter
from mrh_monai.io import replacing
from mrh_monai.network import Sidecar, load_strictly
from mrh_monai.patches import PatchBatches
from mrh_monai.training.history import RunHistory
from mrh_monai.training.random_states import random_states, restore_random_states


@dataclass(frozen=True)
class TrainingRun:
    """What takes part in a training run.

    Attributes:
        network: Network that is trained.
        optimizer: Its optimizer.
        schedule: Its learning-rate schedule, which is stepped once an iteration.
        batches: Batches of the trainer, whose order depends on the epoch.
        evaluator: Engine that validates after each epoch; its metrics are ``val_rmse`` and ``val_r2``.
        sidecar: Description of the network; the recorder adds the best epoch and its scores.
        fit_intervals: Function that fits the interval head of the finished network, see `IntervalData.fit`; None for no intervals.
    """

    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    batches: PatchBatches
    evaluator: Evaluator
    sidecar: Sidecar
    fit_intervals: IntervalFitter | None = None

    def save(self, path: Path, epoch: int, history: RunHistory, resume_key: Mapping[str, Any]) -> None:
        """Write a checkpoint, whole or not at all.

        Args:
            path: The checkpoint.
            epoch: Number of the epoch that is complete.
            history: All epochs so far.
            resume_key: Settings that must be the same in a resumed run, see `plain_values`.
        """
        state = {
            "epoch": epoch,
            "settings": resume_key,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "record": history.state_dict(),
            "random": random_states(),
        }
        with replacing(path) as temporary:
            torch.save(state, temporary)

    def restore(self, path: Path, trainer: Trainer, history: RunHistory, resume_key: Mapping[str, Any]) -> None:
        """Restore the state of a checkpoint, so that the next epoch is computed as if the run had not been interrupted.

        Args:
            path: The checkpoint.
            trainer: Trainer of the run; it continues after the epoch of the checkpoint.
            history: Empty history, which is filled.
            resume_key: Settings that must be the same as those of the run that wrote the checkpoint.

        Raises:
            CheckpointError: The checkpoint is damaged.
            OptionError: The checkpoint was written by a run with other settings.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            saved = state["settings"]
        except Exception as error:  # torch passes on any exception of the unpickler
            remedy = "delete it and start the training again"
            raise CheckpointError(path, "a checkpoint of a training run", cause_in_words(error), remedy) from error
        for name in {**saved, **resume_key}:
            if saved.get(name) != resume_key.get(name):
                expected = f"{name} = {saved.get(name)}, with which it was written"
                remedy = "resume with the same options, or start a new training in another output_dir"
                raise OptionError(path, expected, f"{name} = {resume_key.get(name)}", remedy)
        load_strictly(self.network, state["network"], path)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        history.load_state_dict(state["record"])
        restore_random_states(state["random"])
        trainer.load_state_dict(
            {"epoch": state["epoch"], "max_epochs": trainer.state.max_epochs, "epoch_length": trainer.state.epoch_length}
        )


def plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in the form in which `torch.load` gives them back: numbers, text and lists; everything else as its representation.

    Example:
        >>> plain_values({"slices": ((0, 3),), "loss": torch.nn.L1Loss()})
        {'slices': [[0, 3]], 'loss': 'L1Loss()'}
    """
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, bool | int | float | str | None) else repr(value)
