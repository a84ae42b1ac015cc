"""Several processes on one machine, talking through gloo, give what one gives."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from helpers.bundle_runs import FEW_STEPS
from helpers.displaced_study import write_displaced_study
from helpers.paths import BUNDLE
from helpers.subjects import write_mrh_subject
from mrh_monai import distributed
from mrh_monai.errors import OptionError
from mrh_monai.io.volume_files import read_header, read_voxels

pytestmark = pytest.mark.distributed

# Trains in float64 on synthetic patches; prints nothing, and its first process saves the weights.
TRAIN = """
import os, sys
import numpy as np, torch
from mrh_monai import distributed
from mrh_monai.patches.augmentation import Augmentation
from mrh_monai.network.folded_network import fold
from mrh_monai.data.subject_in_memory import SubjectInMemory
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.patches.patch_batches import PatchBatches
from mrh_monai.patches.patch_dataset import PatchDataset
from mrh_monai.training.optimisation import OptimizerOptions, make_optimizer

name, mixup, out = sys.argv[1], float(sys.argv[2]), sys.argv[3]
if name == "many":
    distributed.join_processes("cpu")
rng = np.random.default_rng(0)
padded, target = rng.normal(size=(10, 9, 8, 4)), rng.normal(size=(8, 7, 6))
centres = np.column_stack([np.zeros(len(v := np.argwhere(target > -9)), np.int64), v])
subject = SubjectInMemory("s", padded.astype(np.float32), 1, np.ones(target.shape, bool), target.astype(np.float32), None, np.eye(4))
dataset = PatchDataset([subject], centres, [(np.ones(4, np.float32), np.zeros(4, np.float32))])
torch.manual_seed(0)
network = fold(MRHNet(4, 8, 2).double(), 3)
module = torch.nn.parallel.DistributedDataParallel(network) if name == "many" else network
optimizer = make_optimizer(network, OptimizerOptions("adamw", 0.002, 1.0))
batches = PatchBatches(dataset, 16, True, 0, 1, Augmentation(bool(mixup), mixup), share=distributed.share_of_this_process())
seen = []
for step, batch in enumerate(batches):
    if step == 20:
        break
    seen.append(len(batch["image"]))
    optimizer.zero_grad()
    (module(batch["image"].double()) - batch["label"].double()).abs().mean().backward()
    optimizer.step()
assert seen == [16 // distributed.share_of_this_process()[1]] * 20, seen
if distributed.is_first_process():
    torch.save(network.state_dict(), out)
distributed.leave_processes()
os._exit(0)  # on busy cores a thread of gloo can still end Python's own leaving with an error of C++, after all is written
"""

# What processes tell each other.
TALK = """
import torch
from mrh_monai import distributed
device = distributed.join_processes("cpu")
rank, count = distributed.share_of_this_process()
assert (device.type, count, distributed.is_first_process()) == ("cpu", 2, rank == 0)
assert distributed.gather_from_processes(10 * rank) == [0, 10]
assert distributed.decide_on_first_process(lambda: f"rank {rank}") == "rank 0"
volume = torch.zeros(5)
volume[rank::2] = torch.tensor([-0.0, float("nan"), 1e-45])[: len(volume[rank::2])]
whole = distributed.merge_volume_shares(volume)
expected = torch.tensor([-0.0, -0.0, float("nan"), float("nan"), 1e-45])
assert torch.equal(whole.view(torch.int32), expected.view(torch.int32)), whole
distributed.leave_processes()
"""


def torchrun(*words, processes=2, check=True, **environment):
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc_per_node={processes}",
        *map(str, words),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, check=False, env={**os.environ, "OMP_NUM_THREADS": "1", **environment}
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


def alone(*words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *map(str, words)], capture_output=True, text=True, timeout=240, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr


def bundle_run(bundle, config, **options):
    files = [
        str(bundle / "configs" / f"{name}.yaml") for name in ((config, f"multi_gpu_{config}") if options.pop("many", False) else (config,))
    ]
    words = ["-m", "monai.bundle", "run", "--bundle_root", bundle, "--config_file", str(files) if len(files) > 1 else files[0]]
    return [*words, *(word for name, value in {"device": "cpu", **options}.items() for word in (f"--{name}", value))]


def test_what_processes_tell_each_other(tmp_path):
    (tmp_path / "talk.py").write_text(TALK)
    torchrun(tmp_path / "talk.py")


def test_one_process_needs_no_others():
    assert distributed.share_of_this_process() == (0, 1)
    assert distributed.is_first_process()
    assert distributed.gather_from_processes("all") == ["all"]
    assert distributed.decide_on_first_process(lambda: 3) == 3
    volume = torch.ones(2)
    assert distributed.merge_volume_shares(volume) is volume
    distributed.leave_processes()


def test_joining_needs_torchrun(monkeypatch):
    with pytest.raises(
        OptionError, match="multi_gpu: expected processes that torchrun started, found a single process; start it with `torchrun"
    ):
        distributed.join_processes()
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"):
        monkeypatch.setenv(name, "0")
    with pytest.raises(OptionError, match="device: expected auto, cpu or cuda for several processes, found 'cuda:1'"):
        distributed.join_processes("cuda:1")


@pytest.mark.parametrize("mixup", [0, 0.4])
def test_half_batches_on_two_processes_are_whole_batches_on_one(tmp_path, mixup):
    """20 steps in float64, within 1e-10: gradients are averaged as one process would have them, and no patch is drawn twice."""
    (tmp_path / "train.py").write_text(TRAIN)
    alone(tmp_path / "train.py", "one", mixup, tmp_path / "one.pt")
    torchrun(tmp_path / "train.py", "many", mixup, tmp_path / "many.pt")
    one, many = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("one", "many"))
    assert list(one) == list(many)
    for name in one:
        torch.testing.assert_close(many[name], one[name], rtol=0, atol=1e-10)


SMALL = {"residual_blocks": 1, "patches": 600, "batch_size": 32, "validation_patches": 101, "align": "off", **FEW_STEPS}


@pytest.fixture(scope="module")
def trained(study, tmp_path_factory):
    """A bundle trained by two processes, its output folder, and what they said."""
    root = tmp_path_factory.mktemp("many")
    bundle = shutil.copytree(BUNDLE, root / "mrh_af", ignore=shutil.ignore_patterns("model.*"))
    options = {"datalist": study / "datalist.json", "output_dir": root / "out", "epochs": 3, **SMALL}
    _, said = torchrun(*bundle_run(bundle, "train", many=True, **options))
    return bundle, root / "out", said


def test_the_bundle_trains_on_two_processes(trained, study, tmp_path):
    bundle, out, said = trained
    assert said.count("epoch 3/3") == 1  # the first process speaks and writes
    assert len(list((out / "tensorboard").iterdir())) == 2
    other = shutil.copytree(BUNDLE, tmp_path / "mrh_af", ignore=shutil.ignore_patterns("model.*"))
    alone(*bundle_run(other, "train", datalist=study / "datalist.json", output_dir=tmp_path / "out", epochs=3, **SMALL))
    many, one = (np.genfromtxt(folder / "metrics.csv", delimiter=",", names=True) for folder in (out, tmp_path / "out"))
    for name in one.dtype.names:
        np.testing.assert_allclose(many[name][0], one[name][0], rtol=1e-4)  # later epochs drift apart in float32
    assert (bundle / "models" / "model.json").is_file()


def test_two_processes_resume_what_two_began(trained, study, tmp_path):
    bundle, out, _ = trained
    again = shutil.copytree(out, tmp_path / "out")
    options = {"datalist": study / "datalist.json", "output_dir": again, "epochs": 3, "resume": True, **SMALL}
    assert "training resumes after epoch 3" in torchrun(*bundle_run(bundle, "train", many=True, **options))[1]
    assert (again / "metrics.csv").read_bytes() == (out / "metrics.csv").read_bytes()


def test_two_processes_train_on_the_same_aligned_stains(tmp_path):
    """They do what one process does. That only the first one aligns is tested with the training data."""
    datalist = write_displaced_study(tmp_path / "study")
    bundle = shutil.copytree(BUNDLE, tmp_path / "mrh_af", ignore=shutil.ignore_patterns("model.*"))
    options = {**SMALL, "datalist": datalist, "epochs": 1, "align": "on"}
    _, said = torchrun(*bundle_run(bundle, "train", many=True, **options, output_dir=tmp_path / "many"))
    assert said.count("training stains were moved by") == 1
    alone(*bundle_run(bundle, "train", **options, output_dir=tmp_path / "one"))
    many, one = (np.genfromtxt(tmp_path / name / "metrics.csv", delimiter=",", names=True) for name in ("many", "one"))
    for name in one.dtype.names:
        np.testing.assert_allclose(many[name], one[name], rtol=1e-4)
    assert len(list((tmp_path / "many" / "alignment").glob("*.nii.gz"))) == 2


def test_batches_that_cannot_be_shared_out_are_refused(trained, study, tmp_path):
    options = {**SMALL, "datalist": study / "datalist.json", "output_dir": tmp_path, "batch_size": 31}
    status, said = torchrun(*bundle_run(trained[0], "train", many=True, **options), check=False)
    assert status != 0
    assert "error: batch_size: expected a multiple of the 2 processes that share it, found 31; give --batch_size 30." in said


@pytest.fixture(scope="module")
def cohort(trained, tmp_path_factory):
    """Three subjects to predict, and their predictions by one process."""
    root = tmp_path_factory.mktemp("cohort")
    images = [f"rigidaffine_{part}.img" for part in ("Lddm_dwi2000", "Lddm_dwi5000", "lddm_t2MTONOFF")]
    for index, name in enumerate("abc"):
        write_mrh_subject(root / name, seed=index)
    entries = [{"subject": n, "image": [f"{n}/{image}" for image in images], "mask": f"{n}/Masked_outline.img"} for n in "abc"]
    (root / "datalist.json").write_text(json.dumps({"test": entries}))
    alone(*bundle_run(trained[0], "inference", datalist=root / "datalist.json", output_dir=root / "one", batch_size=100))
    return root


def voxels(folder, name):
    """The stain and its two bounds."""
    return np.stack([read_voxels(read_header(folder / name / f"{name}_af{bound}.nii.gz")) for bound in ("", "_lower", "_upper")])


@pytest.mark.parametrize("shared", ["subjects", "slabs"])
def test_shared_predictions_are_those_of_one_process_to_the_bit(trained, cohort, tmp_path, shared):
    options = {"datalist": cohort / "datalist.json", "output_dir": tmp_path, "batch_size": 100, "shared": shared}
    torchrun(*bundle_run(trained[0], "inference", many=True, **options))
    for name in "abc":
        assert voxels(tmp_path, name).tobytes() == voxels(cohort / "one", name).tobytes()
        assert voxels(tmp_path, name).any()


def test_one_sick_subject_costs_itself_alone_and_the_same_command_does_the_rest(trained, cohort, tmp_path):
    work = shutil.copytree(cohort, tmp_path / "cohort")
    broken = work / "b" / "rigidaffine_Lddm_dwi5000.img"
    whole = broken.read_bytes()
    broken.write_bytes(bytes(len(whole)))
    command = bundle_run(trained[0], "inference", many=True, datalist=work / "datalist.json", output_dir=work / "out", batch_size=100)
    status, said = torchrun(*command, check=False)
    assert status != 0
    assert "b is left out: " in said
    assert "b/rigidaffine_Lddm_dwi5000.img: expected signal in channel dwi5000_b0_01, found only zeros" in said
    assert said.count("error: b: expected subjects that can be read") == 1
    broken.write_bytes(whole)
    finished = {path: path.stat().st_mtime_ns for path in (work / "out").rglob("*.nii.gz")}
    assert {path.parent.name for path in finished} == {"a", "c"}
    assert "2 of 3 subjects are finished" in torchrun(*command)[1]
    for name in "abc":
        assert voxels(work / "out", name).tobytes() == voxels(cohort / "one", name).tobytes()
    assert all(path.stat().st_mtime_ns == written for path, written in finished.items())
    assert "3 of 3 subjects are finished" in torchrun(*command)[1]


def test_scores_of_a_shared_cohort_are_refused(trained, study, tmp_path):
    bundle = trained[0]
    files = [str(bundle / "configs" / f"{name}.yaml") for name in ("inference", "evaluate", "multi_gpu_inference")]
    words = ["--bundle_root", bundle, "--config_file", str(files), "--datalist", study / "datalist.json", "--output_dir", tmp_path]
    _, said = torchrun("-m", "monai.bundle", "run", *words, "--device", "cpu", processes=1, check=False)
    assert "expected multi_gpu_inference.yaml without evaluate.yaml, found both; predict first" in said
