import math

import torch

from mrh_monai.training.history import RunHistory


def row(epoch, rmse):
    return {"epoch": epoch, "train_loss": 1 / epoch, "learning_rate": 0.1, "val_rmse": rmse, "val_r2": 0.5}


def weights(value):
    return {"w": torch.tensor([float(value)])}


def test_the_best_epoch_has_the_lowest_rmse_and_its_own_weights():
    record = RunHistory()
    improved = [record.add(row(epoch, error), weights(epoch)) for epoch, error in enumerate([3.0, 1.0, 2.0, 1.0], start=1)]
    assert improved == [True, True, False, False]
    assert (record.best_epoch, record.best["val_rmse"], float(record.best_weights["w"])) == (2, 1.0, 2.0)


def test_best_weights_do_not_change_with_the_network():
    record, live = RunHistory(), weights(1)
    record.add(row(1, 1.0), live)
    live["w"].add_(5)
    assert float(record.best_weights["w"]) == 1


def test_patience_counts_epochs_without_a_gain():
    record = RunHistory(patience=2)
    stopped = []
    for epoch, error in enumerate([3.0, 4.0, 2.0, 2.0, 2.5], start=1):
        record.add(row(epoch, error), weights(epoch))
        stopped.append(record.exhausted)
    assert stopped == [False, False, False, False, True]
    assert not RunHistory(patience=None, rows=[row(1, 1.0)] * 99, best_epoch=1).exhausted


def test_state_restores_best_counter_and_csv():
    record = RunHistory(patience=2)
    for epoch, error in enumerate([1.0, 0.1 + 0.2], start=1):
        record.add(row(epoch, error), weights(epoch))
    again = RunHistory(patience=2)
    again.load_state_dict(record.state_dict())
    assert again.csv() == record.csv()
    assert "0.30000000000000004" in again.csv()
    assert (again.best_epoch, again.best_rmse, again.exhausted) == (record.best_epoch, record.best_rmse, record.exhausted)


def test_a_record_that_never_improves_keeps_nothing_of_nan():
    record = RunHistory()
    assert not record.add(row(1, math.nan), weights(1))
    assert record.best_epoch == 0
