"""A run that is killed and resumed ends exactly as one that was left alone."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from helpers.bundle_runs import FEW_STEPS
from helpers.displaced_study import write_displaced_study
from helpers.paths import BUNDLE

pytestmark = pytest.mark.training

RESULTS = ("model.pt", "model.json", "metrics.csv")
# A constant, high learning rate makes the validation restless: patience ends the run early, and a resumed one in the same epoch.
OPTIONS = {
    "residual_blocks": 1,
    "patches": 600,
    "epochs": 30,
    "batch_size": 16,
    "validation_patches": 100,
    "align": "off",
    "device": "cpu",
    "learning_rate": 0.008,
    "recipes::fast::patience": 2,
    "recipes::fast::schedule": "drop",
    **FEW_STEPS,
}
# Runs the bundle, and dies by SIGKILL in the middle of one of its writes if told to.
DRIVER = """
import io, json, os, signal, sys
options, death = json.loads(sys.argv[1]), json.loads(sys.argv[2])
if death:
    import mrh_monai.io.files
    replace, left = os.replace, [death["write"]]
    def dying(source, target):
        if os.path.basename(target) == death["file"]:
            left[0] -= 1
            if not left[0]:
                if death["half"]:
                    os.truncate(source, os.path.getsize(source) // 2)
                else:
                    replace(source, target)
                os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
    os.replace = dying
from monai.bundle import run
run(**options)
"""


needs_sigkill = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal that ends a process at once")


@pytest.fixture(scope="module")
def setting(study, tmp_path_factory):
    """A copy of the bundle, and the results of a run that is left alone."""
    folder = tmp_path_factory.mktemp("resume")
    bundle = folder / "mrh_af"
    shutil.copytree(BUNDLE, bundle, ignore=shutil.ignore_patterns("model.*"))
    options = {
        "bundle_root": str(bundle),
        "config_file": str(bundle / "configs" / "train.yaml"),
        "datalist": str(study / "datalist.json"),
        **OPTIONS,
    }
    assert start({**options, "output_dir": str(folder / "whole")}).wait(300) == 0
    return options, folder / "whole"


def start(options, death=None):
    return subprocess.Popen([sys.executable, "-c", DRIVER, json.dumps(options), json.dumps(death)], stdout=subprocess.DEVNULL)


def check(out, whole):
    for name in RESULTS:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert not list(out.glob(".partial.*"))


def test_the_run_stops_early_and_not_at_its_best(setting):
    rows = (setting[1] / "metrics.csv").read_text().splitlines()[1:]
    best = json.loads((setting[1] / "model.json").read_text())["source"]["epoch"]
    assert len(rows) < OPTIONS["epochs"]
    assert best == len(rows) - 2


@needs_sigkill
def test_killed_inside_writes(setting, tmp_path):
    """Half-way through the checkpoint, right behind it, and half-way through the best model and the CSV."""
    options, whole = setting
    options = {**options, "output_dir": str(tmp_path), "resume": True}
    for file, write, half in (("checkpoint.pt", 2, True), ("model.pt", 1, True), ("checkpoint.pt", 1, False), ("metrics.csv", 2, True)):
        process = start(options, {"file": file, "write": write, "half": half})
        assert process.wait(300) == -signal.SIGKILL
    assert start(options).wait(300) == 0
    check(tmp_path, whole)


def test_killed_at_random_moments(setting, tmp_path):
    """Each run dies some time after it has begun to train, which shows in a new TensorBoard file."""
    options, whole = setting
    options = {**options, "output_dir": str(tmp_path), "resume": "true"}
    seed = int.from_bytes(os.urandom(4))
    print("seed of the moments:", seed)
    moments = random.Random(seed)
    for _ in range(4):
        before = set(tmp_path.glob("tensorboard/*"))
        process = start(options)
        deadline = time.monotonic() + 120
        while set(tmp_path.glob("tensorboard/*")) == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.6))
        process.kill()
        process.wait(60)
    assert start(options).wait(300) == 0
    check(tmp_path, whole)


@needs_sigkill
def test_a_new_run_does_not_leave_an_older_checkpoint_to_be_resumed(setting, tmp_path):
    options, whole = setting
    shutil.copytree(whole, tmp_path / "out")
    options = {**options, "output_dir": str(tmp_path / "out"), "epochs": 31}
    assert start(options, {"file": "model.pt", "write": 1, "half": True}).wait(300) == -signal.SIGKILL
    assert not (tmp_path / "out" / "checkpoint.pt").exists()


def test_resuming_a_finished_run_changes_nothing(setting, tmp_path):
    options, whole = setting
    shutil.copytree(whole, tmp_path / "out")
    assert start({**options, "output_dir": str(tmp_path / "out"), "resume": True}).wait(300) == 0
    check(tmp_path / "out", whole)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": 1}, "checkpoint.pt: expected seed = 0, with which it was written, found seed = 1; resume with the same options"),
        ({"patch_axes": [0, 1]}, "checkpoint.pt: expected "),
        (None, "checkpoint.pt: expected a checkpoint of a training run, found"),
    ],
)
def test_checkpoints_of_other_runs_and_broken_ones_are_refused(setting, tmp_path, change, sentence):
    options, whole = setting
    shutil.copytree(whole, tmp_path / "out")
    if change is None:
        path = tmp_path / "out" / "checkpoint.pt"
        path.write_bytes(path.read_bytes()[:1000])
    changed = json.dumps({**options, **(change or {}), "output_dir": str(tmp_path / "out"), "resume": True})
    done = subprocess.run([sys.executable, "-c", DRIVER, changed, "null"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert sentence in done.stderr.strip().splitlines()[-1]


@needs_sigkill
def test_a_run_on_aligned_stains_resumes_with_the_same_stains(setting, tmp_path):
    """The displacements are read from the folder of the results, and not sought again."""
    datalist = write_displaced_study(tmp_path / "study")
    options = {**setting[0], "datalist": str(datalist), "epochs": 3, "align": "on"}
    assert start({**options, "output_dir": str(tmp_path / "whole")}).wait(300) == 0
    options = {**options, "output_dir": str(tmp_path / "out"), "resume": True}
    assert start(options, {"file": "checkpoint.pt", "write": 2, "half": True}).wait(300) == -signal.SIGKILL
    assert start(options).wait(300) == 0
    check(tmp_path / "out", tmp_path / "whole")
    whole, again = ({path.name for path in (tmp_path / name / "alignment").glob("[!.]*")} for name in ("whole", "out"))
    assert whole == again
    assert {"subject01.nii.gz", "alignment.json", "arrows.png"} < again
    control = tmp_path / "out" / "alignment" / "control_points.npz"
    with np.load(control) as stored:
        others = {name: 0 * points for name, points in stored.items()}
    np.savez(control, **others)
    assert start(options).wait(300) != 0  # the stains of the damaged file are not those of the checkpoint
    assert "training stains were moved by" in json.loads((tmp_path / "out" / "model.json").read_text())["source"]["alignment"]
