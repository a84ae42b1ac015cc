"""MONAI's experiment tracking, with the bundles' own config."""

import csv
import shutil

import pytest

from helpers.bundle_runs import SMALL, bundle_run
from helpers.paths import BUNDLE

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("undo_hooks")]


def test_monais_tracking_follows_training(study, tmp_path):
    """`--tracking mlflow` keeps a run's losses and scores in a SQLite store beside its other results, which stay."""
    mlflow = pytest.importorskip("mlflow")
    bundle, out = tmp_path / "mrh_af", tmp_path / "out"
    shutil.copytree(BUNDLE, bundle, ignore=shutil.ignore_patterns("model.*"))
    options = {**SMALL, "epochs": 2, "datalist": str(study / "datalist.json"), "output_dir": str(out)}
    bundle_run(bundle, "train.yaml", tracking="mlflow", **options)
    assert (out / "mlruns.db").is_file()
    client = mlflow.MlflowClient(f"sqlite:///{out / 'mlruns.db'}")
    (run_found,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    rows = list(csv.DictReader((out / "metrics.csv").open()))
    for name in ("val_rmse", "val_r2"):
        tracked = [metric.value for metric in client.get_metric_history(run_found.info.run_id, name)]
        assert tracked == pytest.approx([float(row[name]) for row in rows])
    steps = [metric.step for metric in client.get_metric_history(run_found.info.run_id, "train_loss")]
    assert len(steps) == 2 * 60
    assert list((out / "tensorboard").glob("events.*"))
