"""Scores of every subject that an evaluator predicts, written when it is done."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Events

from mrh_monai.evaluation.scores import as_json, score
from mrh_monai.io import write_text

logger = logging.getLogger(__name__)


class ScoreSubjects:
    """Handler that scores predictions inside the mask, where the target is sound.

    It writes `OUT/scores.json`: ``{subject: {rmse, nrmse, mae, r2, determination, ssim, psnr, voxels}}``.

    Predictions must be back in the stain's units, that is behind the evaluator's postprocessing.

    Args:
        output_dir: OUT.
    """

    def __init__(self, output_dir: Path | str):
        self.path = Path(output_dir) / "scores.json"
        self.scores: dict[str, dict[str, float]] = {}

    def attach(self, engine: Any) -> None:
        """Listen to an evaluator."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._iteration_completed)
        engine.add_event_handler(Events.COMPLETED, self._completed)

    def _iteration_completed(self, engine: Any) -> None:
        batch, output = engine.state.batch, engine.state.output
        values = (output["pred"], output["label"], batch["mask"], batch["scored"])
        prediction, target, mask, scored = (np.asarray(value[0].cpu()) for value in values)
        scores = score(prediction, target, (mask > 0) & (scored > 0))
        self.scores[batch["subject"]] = scores
        logger.info("%s  RMSE %.4g  R2 %.4f  SSIM %.4f", batch["subject"], scores["rmse"], scores["r2"], scores["ssim"])

    def _completed(self, engine: Any) -> None:
        for name in ("rmse", "r2", "ssim"):
            engine.state.metrics[name] = float(np.mean([scores[name] for scores in self.scores.values()]))
        write_text(self.path, as_json(self.scores) + "\n")
        logger.info("scores in %s", self.path)
