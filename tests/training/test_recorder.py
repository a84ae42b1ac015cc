from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from helpers.random_weights import calibration_of, random_head, random_network, sidecar_of
from mrh_monai.errors import OutputError
from mrh_monai.network.checkpoint import load_network, save_checkpoint, with_intervals
from mrh_monai.network.interval_head import IntervalNetwork
from mrh_monai.network.sidecar import read_sidecar
from mrh_monai.output_files import list_output
from mrh_monai.training.recorder import RunRecorder, prepare_output
from mrh_monai.training.training_state import TrainingRun

RUN = ("model.pt", "model.json", "metrics.csv", "checkpoint.pt", "training_curve.png")


@pytest.fixture
def earlier_run(tmp_path):
    """An output folder and the bundle's weights, as a run leaves them."""
    network = random_network(channels=2)
    for folder in ("out", "models"):
        save_checkpoint(tmp_path / folder / "model.pt", network.state_dict(), sidecar_of(network, ["a", "b"]))
    for name in RUN[2:]:
        (tmp_path / "out" / name).touch()
        list_output(tmp_path / "out" / name, "training")
    return tmp_path / "out", tmp_path / "models" / "model.pt"


def test_prepare_output_clears_what_a_killed_run_left(earlier_run, tmp_path):
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    for name in ("out/.partial.x.model.pt", "models/.partial.y.model.pt"):
        (tmp_path / name).touch()
    prepare_output(*earlier_run)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", RUN)
def test_files_that_no_run_wrote_are_not_replaced(tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(OutputError, match=f"{name}: expected a free name"):
        prepare_output(tmp_path / "out", None)
    prepare_output(tmp_path / "out", None, overwrite=True)


@pytest.mark.parametrize("name", RUN[2:])
def test_a_result_that_was_changed_since_is_not_replaced(earlier_run, name):
    (earlier_run[0] / name).write_text("my notes")
    with pytest.raises(OutputError, match=f"{name}: expected a free name"):
        prepare_output(*earlier_run)


def test_imported_weights_are_not_replaced(earlier_run):
    out, weights = earlier_run
    network = random_network(channels=2)
    imported = replace(sidecar_of(network, ["a", "b"]), source={"imported": {"file": "net.mat"}})
    save_checkpoint(weights, network.state_dict(), imported)
    with pytest.raises(OutputError, match=r"model\.pt: expected a free name"):
        prepare_output(out, weights)
    prepare_output(out, weights, overwrite=True)


def test_weights_without_their_sidecar_are_not_replaced(earlier_run):
    out, weights = earlier_run
    weights.with_suffix(".json").write_text("{}")
    with pytest.raises(OutputError, match=r"model\.pt: expected a free name"):
        prepare_output(out, weights)


def test_a_file_that_the_run_reads_is_never_replaced(earlier_run):
    out, weights = earlier_run
    for parent in (out / "model.pt", weights):
        with pytest.raises(OutputError, match=r"model\.pt: expected an output that is not an input too"):
            prepare_output(out, weights, [parent], overwrite=True)


def test_a_training_with_small_batches_takes_few_threads(tmp_path, four_threads):
    threads = []

    class FakeTrainer:
        state = SimpleNamespace(epoch=0, max_epochs=1)

        def add_event_handler(self, *_):
            pass

        def run(self):
            threads.append(torch.get_num_threads())
            raise InterruptedError

    network = random_network(channels=2)
    batches = SimpleNamespace(process_batch_size=128)
    training = TrainingRun(network, None, None, batches, None, sidecar_of(network, ["a", "b"]))
    with pytest.raises(InterruptedError):
        RunRecorder(training, tmp_path, None, {}).run(FakeTrainer())
    assert threads == [2]
    assert torch.get_num_threads() == 4


def test_intervals_are_fitted_to_the_best_epoch(tmp_path):
    network, seen = random_network(channels=2), []

    def fit(given):
        seen.append(float(given.conv1.weight.detach().sum()))
        return random_head(8), calibration_of(1.0, 2.0)

    training = TrainingRun(network, None, None, None, None, sidecar_of(network, ["a", "b"]), fit)
    recorder = RunRecorder(training, tmp_path / "out", tmp_path / "bundle" / "model.pt", {})
    best = float(network.conv1.weight.detach().sum())
    for epoch, rmse in ((1, 3.0), (2, 4.0)):
        recorder.history.add({"epoch": epoch, "val_rmse": rmse, "val_r2": 0.5}, network.state_dict())
        with torch.no_grad():
            network.conv1.weight.add_(1.0)
    recorder._finish()
    assert seen == [best]
    for weights in (tmp_path / "out" / "model.pt", tmp_path / "bundle" / "model.pt"):
        found, sidecar = load_network(weights)
        assert len(sidecar.intervals.subjects) == 2
        assert isinstance(with_intervals(found, weights, sidecar), IntervalNetwork)
    # A run that wants no intervals ends without them.
    replaced = replace(training, fit_intervals=None)
    again = RunRecorder(replaced, tmp_path / "out", None, {})
    again.history = recorder.history
    again._finish()
    assert read_sidecar(tmp_path / "out" / "model.pt").intervals is None
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix == ".pt") == ["model.pt"]
