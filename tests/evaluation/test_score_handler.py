import json

import numpy as np
import pytest
import torch
from ignite.engine import Engine

from mrh_monai.evaluation.score_handler import ScoreSubjects
from mrh_monai.evaluation.scores import score

SHAPE = (16, 14, 12)


def predicted(rng, name):
    """A batch of one subject, and what an evaluator makes of it."""
    target = rng.uniform(0, 250, SHAPE)
    volumes = {
        "label": target,
        "pred": target + rng.normal(0, 20, SHAPE),
        "mask": rng.random(SHAPE) > 0.2,
        "scored": rng.random(SHAPE) > 0.1,
    }
    return {"subject": name} | {key: torch.from_numpy(volume)[None] for key, volume in volumes.items()}


def test_scores_of_every_subject_are_written_and_their_means_are_the_engines_metrics(rng, tmp_path):
    batches = [predicted(rng, name) for name in ("s1", "s2")]
    evaluator = Engine(lambda engine, batch: batch)
    ScoreSubjects(tmp_path).attach(evaluator)
    state = evaluator.run(batches)
    written = json.loads((tmp_path / "scores.json").read_text())
    assert list(written) == ["s1", "s2"]
    for batch in batches:
        prediction, target, mask, scored = (batch[key][0].numpy() for key in ("pred", "label", "mask", "scored"))
        assert written[batch["subject"]] == pytest.approx(score(prediction, target, mask & scored))
    for name in ("rmse", "r2", "ssim"):
        assert state.metrics[name] == pytest.approx(np.mean([scores[name] for scores in written.values()]))
