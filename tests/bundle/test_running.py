import csv
import logging
import random
import sys
import warnings

import pytest

from helpers.bundle_runs import SMALL, bundle_run
from helpers.subjects import arrays_of_datalist
from mrh_monai.bundle.running import train
from mrh_monai.errors import CheckpointError, DatalistError, OptionError
from mrh_monai.network.checkpoint import load_checkpoint
from mrh_monai.subjects import Datalist

pytestmark = pytest.mark.training


@pytest.fixture
def unchanged():
    """What a function of a library leaves as it was."""

    def state():
        return sys.excepthook, warnings.showwarning, logging.getLogger("ignite").level, list(sys.path)

    before = state()
    yield
    assert state() == before


@pytest.mark.usefixtures("unchanged")
def test_training_from_python_is_the_run_of_the_command_line(bundle_copy, study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {**SMALL, "epochs": 2, "slices": ((1, 5),)}
    result = train(bundle_copy, study / "datalist.json", tmp_path / "python", **options)
    rows = list(csv.DictReader(result.metrics.open()))
    best = min(rows, key=lambda row: float(row["val_rmse"]))
    assert (result.best_epoch, result.val_rmse, result.val_r2) == (int(best["epoch"]), float(best["val_rmse"]), float(best["val_r2"]))
    _, sidecar = load_checkpoint(result.weights)
    assert sidecar.source["epochs"] == 2
    assert (bundle_copy / "models" / "model.pt").read_bytes() == result.weights.read_bytes()
    with pytest.MonkeyPatch.context() as patch:  # the run of the command line installs its hooks
        patch.setattr(sys, "excepthook", sys.excepthook)
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        level = logging.getLogger("ignite").level
        path = list(sys.path)
        bundle_run(bundle_copy, "train.yaml", datalist=str(study / "datalist.json"), output_dir=str(tmp_path / "run"), **options)
        logging.getLogger("ignite").setLevel(level)
        sys.path[:] = path
    assert (tmp_path / "run" / "model.pt").read_bytes() == result.weights.read_bytes()


@pytest.mark.usefixtures("unchanged")
def test_a_datalist_of_files_or_arrays_trains_the_same_weights_as_its_json_file(bundle_copy, study, tmp_path):
    listed = Datalist.read(study / "datalist.json")
    given = {"json": study / "datalist.json", "files": listed, "arrays": arrays_of_datalist(listed)}
    weights = {name: train(bundle_copy, each, tmp_path / name, **SMALL).weights.read_bytes() for name, each in given.items()}
    assert weights["json"] == weights["files"] == weights["arrays"]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epoch": 3}, OptionError, "--epoch: expected an option of this bundle, found an unknown option; did you mean --epochs"),
        ({"bundle_root": "elsewhere"}, OptionError, "bundle_root: expected an option of the training, found one that this function sets"),
        ({"epochs": 0}, OptionError, "epochs: expected a whole number of at least 1, found 0"),
        ({"datalist": "none.json"}, DatalistError, "none.json: expected a datalist"),
        ({"pretrained": "none.pt"}, CheckpointError, "none.pt: expected the parent's trained weights"),
        (
            {"learning_rate": 1e30, "recipe": "released", "sampling": "random"},
            OptionError,
            "learning_rate: expected a training loss that stays finite",
        ),
        ({"bundle": "nowhere"}, OptionError, "nowhere: expected a bundle folder with configs/train.yaml"),
    ],
)
def test_an_error_comes_out_as_itself(bundle_copy, study, tmp_path, options, error, message):
    needed = {"bundle": bundle_copy, "datalist": study / "datalist.json", "output_dir": tmp_path / "out"}
    with pytest.raises(error, match=message) as caught:
        train(**{**needed, "pretrained": None, **SMALL, **options})
    assert caught.value.__cause__ is None


def test_random_states_are_those_of_the_seed(bundle_copy, study, tmp_path):
    """Documented: training sets the random states."""
    drawn = []
    for name in "ab":
        train(bundle_copy, study / "datalist.json", tmp_path / name, **{**SMALL, "epochs": 1}, seed=5)
        drawn.append(random.random())
    assert drawn[0] == drawn[1]
