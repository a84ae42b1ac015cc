import pytest
import torch

from mrh_monai.evaluation.scores import r2, rmse
from mrh_monai.training.validation_score import CentreScore, lower_is_better


@pytest.mark.parametrize("score", [rmse, r2])
@pytest.mark.parametrize("size", [3, 5])
def test_centre_score_is_of_the_centre_voxels_in_the_stains_units(score, size):
    p, t = torch.rand(20, 1, size, size), torch.rand(20, 1, size, size)
    metric = CentreScore(score, target_range=200.0)
    for start in (0, 8, 16):
        metric.update((p[start : start + 8], t[start : start + 8]))
    c = size // 2
    assert metric.compute() == pytest.approx(score(200 * p[:, 0, c, c].numpy(), 200 * t[:, 0, c, c].numpy()), rel=1e-5)
    metric.reset()
    metric.update((p[:8], t[:8]))
    assert metric.compute() == pytest.approx(score(200 * p[:8, 0, c, c].numpy(), 200 * t[:8, 0, c, c].numpy()), rel=1e-5)


def test_lower_is_better_beats_monais_first_score():
    assert lower_is_better(5.0, -1)
    assert lower_is_better(4.0, 5.0)
    assert not lower_is_better(5.0, 4.0)
