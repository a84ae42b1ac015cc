"""Recorder of a training run: it keeps the best epoch, stops early, resumes exactly, and puts the finished weights into the bundle."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.trainer import Trainer

from mrh_monai import distributed
from mrh_monai.alignment import check_alignment_files
from mrh_monai.devices import training_threads
from mrh_monai.errors import OptionError
from mrh_monai.io import clear_partial, writable_folder, write_text
from mrh_monai.network import Calibration, IntervalHead, head_path, is_checkpoint, read_sidecar, save_checkpoint, sidecar_path
from mrh_monai.output_files import check_outputs, list_output
from mrh_monai.training.history import RunHistory
from mrh_monai.training.training_data import ALIGNMENT
from mrh_monai.training.training_state import TrainingRun, plain_values

logger = logging.getLogger(__name__)

MODEL, METRICS, CHECKPOINT, CURVE = "model.pt", "metrics.csv", "checkpoint.pt", "training_curve.png"
DrawHistory = Callable[[list[dict[str, Any]], Path, str], None]


class RunRecorder:
    """Records a training run after every epoch, so that it can be killed at any moment and resumes exactly.

    After each epoch the output folder holds `metrics.csv`, `model.pt` with its sidecar (the best epoch so far) and `checkpoint.pt` (the
    whole state). Each file is replaced whole. `run` drives the trainer, and at the end puts the best weights into the bundle.

    Args:
        training: What takes part in the run.
        output_dir: Folder of the results.
        bundle_weights: `models/model.pt` of the bundle, where the finished weights go; None to leave the bundle unchanged.
        resume_key: Settings that a resumed run must agree on.
        patience: Number of epochs without a gain after which the run stops; None to run all epochs.
        resume: Whether to continue from `checkpoint.pt` if there is one.
        draw_history: Function that draws the rows of the finished run into a PNG, with the stain's units, such as
            `mrh_monai.figures.training_curve`; None for no drawing.
    """

    def __init__(
        self,
        training: TrainingRun,
        output_dir: Path | str,
        bundle_weights: Path | str | None,
        resume_key: Mapping[str, Any],
        patience: int | None = None,
        resume: bool = False,
        draw_history: DrawHistory | None = None,
    ):
        self.training, self.output_dir, self.bundle_weights = training, Path(output_dir), bundle_weights
        shape = {name: getattr(training.sidecar, name) for name in ("stain", "channels", "features", "patch_axes", "patch_radius")}
        self.resume_key = plain_values({**resume_key, **shape})
        self.resume, self.draw_history = resume, draw_history
        self.history = RunHistory(patience)
        self._loss, self._steps = torch.zeros(()), 0

    def run(self, trainer: Trainer) -> None:
        """Train from the start, or from the last checkpoint if the run is to be resumed, and finish.

        Raises:
            CheckpointError: The checkpoint is damaged.
            OptionError: The checkpoint was written by a run with other settings; or the loss is no longer finite.
        """
        path = self.output_dir / CHECKPOINT
        # After all handlers of the config, among them the validation.
        trainer.add_event_handler(Events.EPOCH_STARTED, self._epoch_started)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._iteration_completed)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)
        if self.resume and path.is_file():
            self.training.restore(path, trainer, self.history, self.resume_key)
            logger.info("training resumes after epoch %d", trainer.state.epoch)
        elif self.resume:
            logger.info("there is no %s to resume from; training starts from the beginning", path)
        elif distributed.is_first_process():
            # Only now, after all checks, is the older checkpoint removed, so that nobody resumes the older run instead of this one.
            path.unlink(missing_ok=True)
        epochs = trainer.state.max_epochs or 0
        if trainer.state.epoch < epochs and not self.history.exhausted:
            with training_threads(self.training.batches.process_batch_size):
                trainer.run()
        self._finish()

    def _epoch_started(self, trainer: Engine) -> None:
        self.training.batches.epoch = trainer.state.epoch
        self._loss, self._steps = torch.zeros((), device=trainer.state.device), 0  # type: ignore[attr-defined]  # MONAI's engines have one

    def _iteration_completed(self, trainer: Engine) -> None:
        output: Any = trainer.state.output
        self._loss += output[0]["loss"].detach()
        self._steps += 1

    def _epoch_completed(self, trainer: Engine) -> None:
        losses = distributed.gather_from_processes(float(self._loss) / self._steps)
        loss = sum(losses) / len(losses)
        scores = self.training.evaluator.state.metrics
        epoch = trainer.state.epoch
        if not math.isfinite(loss) or not math.isfinite(scores["val_rmse"]):
            raise OptionError(
                "learning_rate", "a training loss that stays finite", f"{loss} in epoch {epoch}", "give a lower learning rate"
            )
        rate = float(self.training.optimizer.param_groups[0]["lr"])
        row = {"epoch": epoch, "train_loss": loss, "learning_rate": rate}
        row |= {name: float(scores[name]) for name in ("val_rmse", "val_r2")}
        improved = self.history.add(row, self.training.network.state_dict())
        logger.info(
            "epoch %d/%d  loss %.5g  validation RMSE %.4g  R2 %.4f%s",
            epoch, trainer.state.max_epochs, loss, row["val_rmse"], row["val_r2"], "  best" if improved else "",
        )  # fmt: skip
        if distributed.is_first_process():
            if improved:
                self._save_model(self.output_dir / MODEL)
            write_text(self.output_dir / METRICS, self.history.csv())
            self.training.save(self.output_dir / CHECKPOINT, epoch, self.history, self.resume_key)
            for name in (METRICS, CHECKPOINT):
                list_output(self.output_dir / name, "training")
        if self.history.exhausted:
            logger.info("training stops, because the last %d epochs did not improve the validation RMSE", self.history.patience)
            trainer.terminate()

    def _save_model(self, path: Path | str, intervals: tuple[IntervalHead, Calibration] | None = None) -> None:
        sidecar, best = self.training.sidecar, self.history.best
        source = {**sidecar.source, "epoch": best["epoch"], "val_rmse": best["val_rmse"], "val_r2": best["val_r2"]}
        head, calibration = intervals or (None, None)
        save_checkpoint(path, self.history.best_weights, replace(sidecar, source=source, intervals=calibration), head)

    def _finish(self) -> None:
        if not distributed.is_first_process():
            return
        units = self.training.sidecar.units
        intervals = None
        if self.training.fit_intervals is not None:
            self.training.network.load_state_dict(self.history.best_weights)
            intervals = self.training.fit_intervals(self.training.network)
        self._save_model(self.output_dir / MODEL, intervals)
        if self.draw_history is not None:
            self.draw_history(self.history.rows, self.output_dir / CURVE, units)
            list_output(self.output_dir / CURVE, "training")
        if self.bundle_weights is not None:
            self._save_model(self.bundle_weights, intervals)
        best = self.history.best
        logger.info("best epoch %d: validation RMSE %.4g %s, R2 %.4f", best["epoch"], best["val_rmse"], units, best["val_r2"])
        logger.info("the results are in %s", self.output_dir)


def prepare_output(
    output_dir: Path | str, bundle_weights: Path | str | None, inputs: Iterable[Path | str] = (), overwrite: bool = False
) -> None:
    """Check that the results can be written and replace no other files, and remove the files that a killed run has left half written.

    A config does this before it loads anything. With several processes, only the first one does it.

    Args:
        output_dir: Folder of the results.
        bundle_weights: `models/model.pt` of the bundle, where the finished weights go; None to leave the bundle unchanged.
        inputs: Files that the run reads.
        overwrite: Whether files that are not those of an earlier run may be replaced.

    Raises:
        OutputError: A folder cannot be written; a result would replace a file that the run reads, or one that no run wrote.
    """
    if not distributed.is_first_process():
        return
    model = Path(output_dir) / MODEL
    inputs = list(inputs)
    check_outputs("training", [Path(output_dir) / name for name in (METRICS, CHECKPOINT, CURVE)], inputs, overwrite)
    check_alignment_files(Path(output_dir) / ALIGNMENT, inputs, overwrite)
    # Weights are known by their sidecar. Those that were imported cannot be trained again.
    for weights in (model, *([] if bundle_weights is None else [Path(bundle_weights)])):

        def is_trained(_: Path, weights: Path = weights) -> bool:
            return is_checkpoint(weights) and "imported" not in read_sidecar(weights).source

        check_outputs("weights", [weights, sidecar_path(weights), head_path(weights)], inputs, overwrite, is_trained)
    folders = [Path(output_dir)] + ([Path(bundle_weights).parent] if bundle_weights is not None else [])
    for folder in folders:
        clear_partial(writable_folder(folder))
