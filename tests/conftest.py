"""Tiny subjects on disk, and where larger data may lie."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from mrh_monai.io.volume_files import write_analyze
from mrh_monai.protocol.mr_protocol import MRH_NET, Channel, MRProtocol

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "bundles" / "mrh_af"
SHAPE = (16, 6, 14)


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


def write_mrh_subject(folder: Path, seed: int = 0, shape: tuple[int, int, int] = SHAPE, dtype=np.int16) -> Path:
    """A subject in MRH-Net's layout whose stain is a simple function of its images."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.2, 1, shape)
    weights = np.random.default_rng(99).uniform(0.3, 1, len(MRH_NET))
    weights[65], weights[66] = 0.5, 1.0
    image = 8000 * truth[..., None] * weights + rng.normal(0, 100, (*shape, len(MRH_NET)))
    mask = np.zeros(shape, np.uint8)
    mask[1:-1, :, 1:-1] = 1
    for name, part in (("Lddm_dwi2000", slice(0, 32)), ("Lddm_dwi5000", slice(32, 64)), ("lddm_t2MTONOFF", slice(64, 67))):
        write_analyze(folder / f"rigidaffine_{name}.img", image[..., part].astype(dtype), 0.0625)
    write_analyze(folder / "rigidaffine_Lddm_fa.img", (truth * 200).astype(np.uint8), 0.0625)
    write_analyze(folder / "Masked_outline.img", mask, 0.0625)
    write_analyze(folder / "targets" / "AF.img", (truth * 250 * mask).astype(np.uint8), 0.0625)
    return folder


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


def write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """A NIfTI file by nibabel itself, independent of the package's own writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([0.1, 0.1, 0.1, 1]) if affine is None else affine), path)
    return path


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
