"""What MONAI's trainer lacks: a record of the run that keeps the best, stops early, resumes exactly, and ends in a finished bundle."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from ignite.metrics import Metric
from monai.engines import Evaluator, Trainer

from mrh_monai import distributed
from mrh_monai.errors import CheckpointError, OptionError
from mrh_monai.io import clear_partial, replacing, writable_folder, write_text
from mrh_monai.network import Sidecar, load_strictly, save_checkpoint
from mrh_monai.patches import PatchBatches
from mrh_monai.training.history import RunRecord

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"


def lower_is_better(current: float, best: float) -> bool:
    """Compare scores for MONAI's engines, whose first best score is -1."""
    return best < 0 or current < best


class CentreScore(Metric):
    """A score over the centre voxels of all patches of an epoch, those of other processes too, in the stain's own units.

    Args:
        score: From predictions (N,) and targets (N,) to a number, such as `mrh_monai.evaluation.scores.rmse`.
        target_max: What scaled targets are multiplied by.
    """

    def __init__(self, score: Callable[[np.ndarray, np.ndarray], float], target_max: float):
        self.score, self.target_max = score, target_max
        super().__init__(output_transform=lambda output: (output["pred"], output["label"]))

    def reset(self) -> None:
        """Forget all voxels."""
        self._pairs: list[torch.Tensor] = []

    def update(self, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Add a batch: prediction and label, each (B, 1, 3, 3)."""
        centre: Any = (slice(None), 0, *(n // 2 for n in output[0].shape[2:]))
        self._pairs.append(torch.stack([values[centre].detach().float().cpu() for values in output]))

    def compute(self) -> float:
        """The score of all voxels together."""
        pairs = torch.cat(distributed.gather(torch.cat(self._pairs, dim=1)), dim=1)
        prediction, target = (pairs * self.target_max).numpy()
        return self.score(prediction, target)


class OnlyLoss:
    """First of a trainer's handlers: of an iteration's output only the loss goes on to the others, in the form that MONAI's expect.

    A decollated batch would have that form, at the cost of a dictionary a patch. Predictions and labels are let go of a step earlier.
    """

    def attach(self, trainer: Any) -> None:
        """Listen to a trainer."""
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, trainer: Any) -> None:
        """``{"loss": ..., "pred": ..., ...}`` to ``[{"loss": ...}]``."""
        trainer.state.output = [{"loss": trainer.state.output["loss"]}]


class RunRecorder:
    """Writes a training run down after every epoch, so that it can be killed at any moment and goes on exactly.

    After each epoch `OUT/` holds `metrics.csv`, `model.pt` with its sidecar (the best so far)
    and `checkpoint.pt` (all state), each replaced whole. `run` drives the trainer and at the end puts the best weights into the bundle.

    Args:
        output_dir: OUT.
        network: Being trained.
        optimizer: Its optimizer.
        schedule: Its learning-rate schedule, stepped each iteration.
        batches: The trainer's batches, whose order follows the epoch.
        evaluator: Validates; its metrics are ``val_rmse`` and ``val_r2``.
        sidecar: Of the network; `source` is completed here.
        published_model: `models/model.pt` of the bundle; None to leave it alone.
        settings: What a resumed run must agree on.
        patience: Epochs without a gain after which to stop; None for never.
        resume: Whether to go on from `checkpoint.pt` where there is one.
        draw: Draws the finished run's rows into a PNG, with the stain's units, such as `mrh_monai.figures.brain_slices.training_curve`.
    """

    def __init__(
        self,
        output_dir: Path | str,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Any,
        batches: PatchBatches,
        evaluator: Evaluator,
        sidecar: Sidecar,
        published_model: Path | str | None,
        settings: Mapping[str, Any],
        patience: int | None = None,
        resume: bool = False,
        draw: Callable[[list[dict[str, Any]], Path, str], None] | None = None,
    ):
        self.output_dir = Path(output_dir)
        self.network, self.optimizer, self.schedule, self.batches = network, optimizer, schedule, batches
        self.evaluator, self.sidecar, self.published_model = evaluator, sidecar, published_model
        network_settings = {name: getattr(sidecar, name) for name in ("stain", "channels", "features", "patch_axes", "patch_radius")}
        self.settings = {key: _plain(value) for key, value in {**settings, **network_settings}.items()}
        self.resume, self.draw = resume, draw
        self.record = RunRecord(patience)
        self._loss, self._steps = torch.zeros(()), 0

    def _attach(self, trainer: Any) -> None:
        trainer.add_event_handler(Events.EPOCH_STARTED, self._epoch_started)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._iteration_completed)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)

    def run(self, trainer: Trainer) -> None:
        """Train from the start, or from the last checkpoint if asked to, and finish.

        Raises:
            CheckpointError: The checkpoint is broken.
            OptionError: It was written by a run with other settings.
        """
        path = self.output_dir / CHECKPOINT
        self._attach(trainer)  # behind all handlers of the config, validation among them
        if self.resume and path.is_file():
            self._load(path, trainer)
        elif self.resume:
            logger.info("no %s to resume from; training starts anew", path)
        elif distributed.is_first():
            path.unlink(missing_ok=True)  # only now that all else is sound; it is not to be resumed in this run's place
        if trainer.state.epoch < trainer.state.max_epochs and not self.record.exhausted:
            trainer.run()
        self._finish()

    def _epoch_started(self, trainer: Any) -> None:
        self.batches.epoch = trainer.state.epoch
        self._loss, self._steps = torch.zeros((), device=trainer.state.device), 0

    def _iteration_completed(self, trainer: Any) -> None:
        self._loss += trainer.state.output[0]["loss"].detach()
        self._steps += 1

    def _epoch_completed(self, trainer: Any) -> None:
        losses = distributed.gather(float(self._loss) / self._steps)
        loss = sum(losses) / len(losses)
        scores = self.evaluator.state.metrics
        if not math.isfinite(loss) or not math.isfinite(scores["val_rmse"]):
            raise OptionError("learning_rate", "a training loss that stays finite", f"{loss} in epoch {trainer.state.epoch}", "lower it")
        row = {"epoch": trainer.state.epoch, "train_loss": loss, "learning_rate": float(self.optimizer.param_groups[0]["lr"])}
        row |= {name: float(scores[name]) for name in ("val_rmse", "val_r2")}
        improved = self.record.add(row, self.network.state_dict())
        logger.info(
            "epoch %d/%d  loss %.5g  validation RMSE %.4g  R2 %.4f%s",
            row["epoch"], trainer.state.max_epochs, loss, row["val_rmse"], row["val_r2"], "  best" if improved else "",
        )  # fmt: skip
        if distributed.is_first():
            if improved:
                self._save_model(self.output_dir / "model.pt")
            write_text(self.output_dir / "metrics.csv", self.record.csv())
            self._save(trainer.state.epoch)
        if self.record.exhausted:
            logger.info("no gain in %d epochs; training stops", self.record.patience)
            trainer.terminate()

    def _save_model(self, path: Path | str) -> None:
        best = self.record.best
        source = {**self.sidecar.source, "epoch": best["epoch"], "val_rmse": best["val_rmse"], "val_r2": best["val_r2"]}
        save_checkpoint(path, self.record.best_weights, replace(self.sidecar, source=source))

    def _save(self, epoch: int) -> None:
        state = {
            "epoch": epoch,
            "settings": self.settings,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "record": self.record.state_dict(),
            "random": _random_states(),
        }
        with replacing(self.output_dir / CHECKPOINT) as temporary:
            torch.save(state, temporary)

    def _load(self, path: Path, trainer: Trainer) -> None:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            saved = state["settings"]
        except Exception as error:  # torch raises whatever the unpickler does
            raise CheckpointError(path, "a checkpoint of a training run", f"{type(error).__name__}", "delete it and train anew") from error
        for name in {**saved, **self.settings}:
            if saved.get(name) != self.settings.get(name):
                raise OptionError(
                    path, f"{name} = {saved.get(name)} as when it was written", f"{name} = {self.settings.get(name)}",
                    "resume with the same options, or train anew in another output_dir",
                )  # fmt: skip
        load_strictly(self.network, state["network"], path)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.record.load_state_dict(state["record"])
        _restore_random_states(state["random"])
        trainer.load_state_dict(
            {"epoch": state["epoch"], "max_epochs": trainer.state.max_epochs, "epoch_length": trainer.state.epoch_length}
        )
        logger.info("resumed behind epoch %d", state["epoch"])

    def _finish(self) -> None:
        if not distributed.is_first():
            return
        self._save_model(self.output_dir / "model.pt")
        if self.draw is not None:
            self.draw(self.record.rows, self.output_dir / "training_curve.png", self.sidecar.units)
        if self.published_model is not None:
            self._save_model(self.published_model)
        best = self.record.best
        logger.info("best epoch %d: validation RMSE %.4g %s, R2 %.4f", best["epoch"], best["val_rmse"], self.sidecar.units, best["val_r2"])
        logger.info("results in %s", self.output_dir)


def prepare(output_dir: Path | str, published_model: Path | str | None) -> None:
    """Before anything is loaded: try the folders that results go to, and clear them of what a killed run left half written.

    Of several processes the first does it.

    Args:
        output_dir: OUT.
        published_model: `models/model.pt` of the bundle; None to leave it alone.

    Raises:
        OutputError: A folder cannot be written.
    """
    if not distributed.is_first():
        return
    folders = [Path(output_dir)] + ([Path(published_model).parent] if published_model is not None else [])
    for folder in folders:
        clear_partial(writable_folder(folder))


def seed_everything(seed: int) -> None:
    """Set every random state that training draws from, and ask for deterministic convolutions."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def _random_states() -> dict[str, Any]:
    numpy_state: Any = np.random.get_state(legacy=False)
    numpy_state["state"]["key"] = torch.from_numpy(numpy_state["state"]["key"].astype(np.int64))
    return {
        "python": random.getstate(),
        "numpy": numpy_state,
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
    }


def _restore_random_states(states: Mapping[str, Any]) -> None:
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    inner = states["numpy"]["state"]
    np.random.set_state({**states["numpy"], "state": {**inner, "key": inner["key"].numpy().astype(np.uint32)}})
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])


def _plain(value: Any) -> Any:
    """Settings as `torch.load` gives them back: numbers, strings and lists; anything else, such as a loss, by its representation."""
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, bool | int | float | str | None) else repr(value)
