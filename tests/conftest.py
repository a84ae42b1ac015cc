"""Fixtures of several rooms: tiny subjects on disk, bundles that hold small networks, and where larger data may lie."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.paths import BUNDLE, ROOT
from helpers.random_weights import with_random_weights
from helpers.subjects import write_mrh_subject
from mrh_monai.data import ReadingOptions, load_subjects
from mrh_monai.network.checkpoint import save_checkpoint
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.network.sidecar import Sidecar
from mrh_monai.protocol.channel import Channel
from mrh_monai.protocol.mr_protocol import MRProtocol
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.scaling import RobustScaling
from mrh_monai.subjects import Datalist


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the real data, absent on most machines."""
    folder = Path(os.environ.get("MRH_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder.name} beside the checkout (or under MRH_SHARED)")
    return folder


@pytest.fixture(scope="session")
def kit_subject(shared, tmp_path_factory) -> Path:
    """A subject on real anatomy with simulated MR signals, four coronal slices. Read only."""
    root = tmp_path_factory.mktemp("kit")
    script = shared / "mouse_kit" / "make_subjects.py"
    command = [sys.executable, str(script), str(root), "--subjects", "1", "--slices", "136", "140"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return root / "subject01"


@pytest.fixture
def bundle_copy(tmp_path) -> Path:
    """The AF bundle without weights."""
    return Path(shutil.copytree(BUNDLE, tmp_path / "mrh_af", ignore=shutil.ignore_patterns("model.*")))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def few() -> MRProtocol:
    """A protocol of three channels with the magnetization-transfer pair."""
    return MRProtocol((Channel("qa", 1000.0, (1.0, 0.0, 0.0)), Channel("mt_on"), Channel("mt_off")))


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Path:
    """Four subjects in MRH-Net's layout and a datalist of two to train, one to validate, one to test. Read only."""
    root = tmp_path_factory.mktemp("study")
    entries = []
    for index in range(4):
        name = f"subject{index + 1:02d}"
        write_mrh_subject(root / name, seed=index)
        images = [f"{name}/rigidaffine_{part}.img" for part in ("Lddm_dwi2000", "Lddm_dwi5000", "lddm_t2MTONOFF")]
        entries.append(
            {
                "subject": name, "image": images, "mask": f"{name}/Masked_outline.img", "fa": f"{name}/rigidaffine_Lddm_fa.img",
                "target": f"{name}/targets/AF.img",
            }
        )  # fmt: skip
    datalist = {"training": entries[:2], "validation": entries[2:3], "test": entries[3:]}
    (root / "datalist.json").write_text(json.dumps(datalist))
    return root


@pytest.fixture
def untrained_bundle(bundle_copy):
    """The AF bundle with the weights of an untrained network of one block."""
    root = bundle_copy
    scaling = RobustScaling(250.0, (1.0,) * 67, (0.5,) * 67, (1.0,) * 67, 99.0)
    save_checkpoint(
        root / "models" / "model.pt", MRHNet(residual_blocks=1).state_dict(), Sidecar("af", "u", MRH_NET.names, 1, 64, [0, 2], 1, scaling)
    )
    return root


@pytest.fixture(scope="session")
def study_bundle(study, tmp_path_factory):
    """The AF bundle with a network of random weights and a scaling fitted to the study. Read only."""
    training = load_subjects(Datalist.read(study / "datalist.json").training, MRH_NET, ReadingOptions(need_target=True))
    return with_random_weights(BUNDLE, tmp_path_factory.mktemp("bundle"), scaling=RobustScaling.fit(training, weights=MRH_NET.weights))


@pytest.fixture
def undo_hooks(monkeypatch):
    """A bundle's config installs hooks for its process, which here is pytest's."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    level = logging.getLogger("ignite").level
    yield
    logging.getLogger("ignite").setLevel(level)


@pytest.fixture
def call(monkeypatch, capsys):
    """Run a verb in this process; its status, standard output and standard error."""
    from mrh_monai.cli.app import main

    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["mrh", *map(str, words)])
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def four_threads():
    """PyTorch computes with four threads, however many cores there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)
