"""A MONAI Label server on this machine, what it serves, and what `monai.bundle run` makes of the same."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest

from helpers.label_server import ENVIRONMENT, IMAGES, OBLIQUE, start
from helpers.paths import BUNDLE, ROOT
from helpers.random_weights import with_random_weights
from helpers.subjects import write_nifti
from mrh_monai.io.volume_files import read_header, read_voxels


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """All three bundles with networks of random weights, and one without weights."""
    root = tmp_path_factory.mktemp("bundles")
    for seed, name in enumerate(("mrh_af", "mrh_nf", "mrh_mbp")):
        with_random_weights(ROOT / "bundles" / name, root, seed, multipliers=(1.0, 2.0))
    shutil.copytree(BUNDLE, root / "untrained", ignore=shutil.ignore_patterns("model.*"))
    return root


def entry(name, image, mask):
    return {"subject": name, "image": [str(path) for path in image], "mask": str(mask)}


@pytest.fixture(scope="module")
def scans(study, tmp_path_factory):
    """A folder of what the datastore takes and what it does not, and the datalist of the good ones beside it."""
    root = tmp_path_factory.mktemp("label")
    folder = root / "scans"
    names = [f"rigidaffine_{part}.img" for part in ("Lddm_dwi2000", "Lddm_dwi5000", "lddm_t2MTONOFF")]
    shutil.copytree(study / "subject04", folder / "subject04")
    shutil.copytree(study / "subject03", folder / "subject03", ignore=shutil.ignore_patterns("*MTONOFF*"))
    stack = np.concatenate([read_voxels(read_header(study / "subject02" / name)) for name in names], axis=-1)
    mask = read_voxels(read_header(study / "subject02" / "Masked_outline.img"))[..., 0]
    stack, mask = stack.transpose(0, 2, 1, 3), mask.transpose(0, 2, 1)
    for name, voxels in (("stack", stack), ("short", stack[..., :66])):
        write_nifti(folder / f"{name}.nii.gz", voxels, OBLIQUE)
        write_nifti(folder / f"{name}_mask.nii.gz", mask, OBLIQUE)
    write_nifti(folder / "stack_fa.nii.gz", mask, OBLIQUE)
    write_nifti(folder / "bare.nii.gz", stack, OBLIQUE)
    (folder / "notes.txt").write_text("no scan")
    elsewhere = Path(os.path.relpath(study / "subject01", folder))
    manifest = entry("mouse12", [elsewhere / name for name in names], elsewhere / "Masked_outline.img")
    (folder / "split.mrh.json").write_text(json.dumps(manifest))
    good = [
        entry("split", [study / "subject01" / name for name in names], study / "subject01" / "Masked_outline.img"),
        entry("stack", [folder / "stack.nii.gz"], folder / "stack_mask.nii.gz"),
        entry("subject04", [study / "subject04" / name for name in names], study / "subject04" / "Masked_outline.img"),
    ]
    (root / "datalist.json").write_text(json.dumps({"test": good}))
    return folder


@pytest.fixture(scope="module")
def runs(bundles, scans, tmp_path_factory):
    """What `monai.bundle run` writes, by name; begun, while the server starts."""
    out, datalist, begun = tmp_path_factory.mktemp("expected"), scans.parent / "datalist.json", {}
    for name, bundle, more in (("af", "mrh_af", ()), ("nf", "mrh_nf", ()), ("sliced", "mrh_af", ("--slices", "2:4"))):
        root = bundles / bundle
        command = [sys.executable, "-m", "monai.bundle", "run", "--bundle_root", root, "--config_file", root / "configs" / "inference.yaml"]
        command += ["--datalist", datalist, "--output_dir", out / name, "--report", "False", *more]
        words, pipe = [str(word) for word in command], subprocess.PIPE
        begun[out / name] = subprocess.Popen(words, env=ENVIRONMENT, stdout=pipe, stderr=subprocess.STDOUT)
    yield begun
    for process in begun.values():
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def expected(runs):
    """(run, image) to what `monai.bundle run` writes."""
    volumes = {}
    for out, process in runs.items():
        printed, _ = process.communicate(timeout=150)
        assert process.returncode == 0, printed.decode()
        volumes |= {(out.name, image): nibabel.load(next((out / image).glob("*_[an]f.nii.gz"))) for image in IMAGES}
    return volumes


@pytest.fixture(scope="module")
def server(runs, bundles, scans, tmp_path_factory):
    """Address of a server, which ends with the tests of this file."""
    import requests  # an environment without MONAI Label may lack it

    root = tmp_path_factory.mktemp("server")
    log = root / "server.log"
    process, address = start(root / "app", scans, log, "--conf", "bundles", bundles)
    try:
        for _ in range(240):
            assert process.poll() is None, log.read_text()
            try:
                requests.get(f"{address}/info/", timeout=30)
                break
            except requests.ConnectionError:
                time.sleep(0.5)
        else:
            pytest.fail(log.read_text())
        yield address
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert "REACHED OUT" not in log.read_text()
    finally:
        process.kill()
