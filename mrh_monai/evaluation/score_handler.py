"""Scores of every subject that a bundle predicts, written when the evaluator is done."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from ignite.engine import Engine, Events

from mrh_monai.evaluation.scores import SCORES, score
from mrh_monai.io import as_json, write_text
from mrh_monai.output_files import check_outputs, writing

logger = logging.getLogger(__name__)
Batch = dict[str, Any]

# Scores that tables show and that need the voxels of a subject only.
LOGGED = tuple(each for each in SCORES if each.tabled and each.from_voxels is not None)


class ScoreSubjects:
    """Handler that scores predictions inside the mask, where the target is intact.

    It writes `OUTPUT/scores.json`: ``{subject: {rmse, nrmse, mae, r2, determination, ssim, psnr, voxels}}``.

    Predictions must be in the stain's units. So the handler comes after the postprocessing of the evaluator.

    Args:
        output_dir: Folder OUTPUT.
        overwrite: Whether a `scores.json` of another origin may be replaced.
        inputs: Files that the run reads, which are never replaced.
    """

    def __init__(self, output_dir: Path | str, overwrite: bool = False, inputs: Sequence[Path] = ()):
        self.inputs = inputs
        self.path, self.overwrite = Path(output_dir) / "scores.json", overwrite
        self.scores: dict[str, dict[str, float]] = {}

    def attach(self, engine: Engine) -> None:
        """Listen to an evaluator.

        Raises:
            OutputError: Another `scores.json` lies in the folder.
        """
        check_outputs("scores", [self.path], self.inputs, self.overwrite)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._iteration_completed)
        engine.add_event_handler(Events.COMPLETED, self._completed)

    def _iteration_completed(self, engine: Engine) -> None:
        batch, output = cast(Batch, engine.state.batch), cast(Batch, engine.state.output)
        values = (output["pred"], output["label"], batch["mask"], batch["scored"])
        prediction, target, mask, scored = (np.asarray(value[0].cpu()) for value in values)
        scores = score(prediction, target, (mask > 0) & (scored > 0))
        self.scores[batch["subject"]] = scores
        words = "  ".join(f"{each.title} {each.text(scores[each.key])}" for each in LOGGED)
        logger.info("%s  %s", batch["subject"], words)

    def _completed(self, engine: Engine) -> None:
        for each in LOGGED:
            engine.state.metrics[each.key] = float(np.mean([scores[each.key] for scores in self.scores.values()]))
        with writing("scores", [self.path], self.inputs, self.overwrite):
            write_text(self.path, as_json(self.scores) + "\n")
        logger.info("scores in %s", self.path)
