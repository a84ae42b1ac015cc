import math

import pytest
import torch
from torch.utils.tensorboard import SummaryWriter  # noqa: F401  (the bundle logs to TensorBoard)

from mrh_monai.metrics import r2, rmse
from mrh_monai.training import CentreScore, RunRecord, lower_is_better


def row(epoch, rmse):
    return {"epoch": epoch, "train_loss": 1 / epoch, "learning_rate": 0.1, "val_rmse": rmse, "val_r2": 0.5}


def weights(value):
    return {"w": torch.tensor([float(value)])}


def test_the_best_epoch_has_the_lowest_rmse_and_its_own_weights():
    record = RunRecord()
    improved = [record.add(row(epoch, error), weights(epoch)) for epoch, error in enumerate([3.0, 1.0, 2.0, 1.0], start=1)]
    assert improved == [True, True, False, False]
    assert (record.best_epoch, record.best["val_rmse"], float(record.best_weights["w"])) == (2, 1.0, 2.0)


def test_best_weights_do_not_change_with_the_network():
    record, live = RunRecord(), weights(1)
    record.add(row(1, 1.0), live)
    live["w"].add_(5)
    assert float(record.best_weights["w"]) == 1


def test_patience_counts_epochs_without_a_gain():
    record = RunRecord(patience=2)
    stopped = []
    for epoch, error in enumerate([3.0, 4.0, 2.0, 2.0, 2.5], start=1):
        record.add(row(epoch, error), weights(epoch))
        stopped.append(record.exhausted)
    assert stopped == [False, False, False, False, True]
    assert not RunRecord(patience=None, rows=[row(1, 1.0)] * 99, best_epoch=1).exhausted


def test_state_restores_best_counter_and_csv():
    record = RunRecord(patience=2)
    for epoch, error in enumerate([1.0, 0.1 + 0.2], start=1):
        record.add(row(epoch, error), weights(epoch))
    again = RunRecord(patience=2)
    again.load_state_dict(record.state_dict())
    assert again.csv() == record.csv()
    assert "0.30000000000000004" in again.csv()
    assert (again.best_epoch, again.best_rmse, again.exhausted) == (record.best_epoch, record.best_rmse, record.exhausted)


def test_a_record_that_never_improves_keeps_nothing_of_nan():
    record = RunRecord()
    assert not record.add(row(1, math.nan), weights(1))
    assert record.best_epoch == 0


@pytest.mark.parametrize("score", [rmse, r2])
@pytest.mark.parametrize("size", [3, 5])
def test_centre_score_is_of_the_centre_voxels_in_the_stains_units(score, size):
    p, t = torch.rand(20, 1, size, size), torch.rand(20, 1, size, size)
    metric = CentreScore(score, target_max=200.0)
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
