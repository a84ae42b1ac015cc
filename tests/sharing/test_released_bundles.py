"""Bundles that earlier releases have packed are verified, unpacked and run for ever.

`tests/data/bundles-VERSION` has the three bundles of a release with tiny weights, a subject of a few voxels, and the stains that the
release predicted for it, all written by `helpers/release_bundles.py`. If one of these tests fails, correct the package, not the data.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

from helpers.paths import ROOT
from mrh_monai.io.volume_files import read_header, read_voxels
from mrh_monai.network.checkpoint import load_checkpoint
from mrh_monai.sharing.unpacking import unpack, verify

pytestmark = pytest.mark.sharing

RELEASES = sorted((ROOT / "tests" / "data").glob("bundles-*"))
ZIPS = [archive for release in RELEASES for archive in sorted(release.glob("*.zip"))]


def monai_run(config, *options):
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(config), *map(str, options), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_there_are_bundles_of_the_first_release():
    assert [archive.name for archive in ZIPS if archive.parent.name == "bundles-0.2.0"] == ["mrh_af.zip", "mrh_mbp.zip", "mrh_nf.zip"]


@pytest.mark.parametrize("archive", ZIPS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_bundle_of_an_earlier_release_is_ours_and_predicts_the_same(archive, tmp_path):
    version = archive.parent.name.removeprefix("bundles-")
    found = verify(archive)
    assert found.difference == (version, [], [])
    assert (found.sidecar.parent is None) == (archive.stem == "mrh_af")
    bundle = unpack(archive, tmp_path)
    datalist = archive.parent / "subject" / "datalist.json"
    monai_run(bundle / "configs" / "inference.yaml", "--datalist", datalist, "--output_dir", tmp_path / "out")
    stain = bundle.name.removeprefix("mrh_")
    predicted = read_voxels(read_header(tmp_path / "out" / "m1" / f"m1_{stain}.nii.gz"))[:, 0, :, 0].ravel()
    expected = np.array(json.loads((archive.parent / "stains.json").read_text())[bundle.name])
    assert (expected != 0).sum() > 10
    np.testing.assert_allclose(predicted, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert found.sidecar.sha256 in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_a_bundle_of_an_earlier_release_trains_from_a_zip(release, tmp_path):
    bundle = unpack(release / "mrh_nf.zip", tmp_path)
    options = ("--pretrained", release / "mrh_af.zip", "--network_def::features", 4, "--epochs", 1, "--validation_patches", 10)
    datalist = release / "subject" / "datalist.json"
    monai_run(bundle / "configs" / "train.yaml", "--datalist", datalist, "--output_dir", tmp_path / "out", "--patches", 40, *options)
    _, sidecar = load_checkpoint(bundle / "models" / "model.pt")
    assert sidecar.parent["sha256"] == verify(release / "mrh_af.zip").sidecar.sha256
    assert (sidecar.source["epoch"], sidecar.source["patches"]) == (1, 40)
