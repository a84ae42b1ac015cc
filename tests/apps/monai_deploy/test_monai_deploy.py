"""The MONAI Deploy application, as its users run it."""

import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from helpers.deploy_application import APP, OBLIQUE, needs_sdk
from helpers.subjects import write_nifti
from mrh_monai.io.files import sha256

pytestmark = [pytest.mark.deploy, needs_sdk, pytest.mark.filterwarnings("ignore:.*no gradient table")]


def run_app(*words, **environment):
    """Run the application as users do."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **{name: str(value) for name, value in environment.items()}}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


def assert_as_monai_run(out: Path, reference: Path, names: list[str]):
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    for name in names:
        files = [f"{name}_af{bound}.nii.gz" for bound in ("", "_lower", "_upper")]
        assert sorted(path.name for path in (out / name).iterdir()) == [f"{name}_af.json", *files]
        for file in files:
            found, expected = (nibabel.load(root / name / file) for root in (out, reference))
            voxels = np.asarray(found.dataobj)
            assert voxels.dtype == found.get_data_dtype() == np.float32
            assert np.abs(voxels).max() > 1
            np.testing.assert_allclose(voxels, np.asarray(expected.dataobj), rtol=0, atol=1e-4)
            np.testing.assert_array_equal(found.affine, expected.affine)
        record, other = (json.loads((root / name / f"{name}_af.json").read_text()) for root in (out, reference))
        for key in ("made_by", "slices", "bytes"):
            assert record[key] == other[key]


def test_a_folder_of_all_kinds_gives_what_monai_bundle_run_gives(bundle, inputs, reference, tmp_path):
    done = run_app(APP / "app.py", "-i", inputs, "-o", tmp_path / "out", "-m", bundle, "--device", "cpu")
    names = ["mouse", "rat", "subject03", "subject04"]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [str(tmp_path / "out" / name / f"{name}_af.nii.gz") for name in names]
    assert_as_monai_run(tmp_path / "out", reference, names)


def test_a_package_runs_the_folder_with_the_sdks_variables(bundle, inputs, reference, tmp_path):
    """Its models lie in folders of one folder."""
    shutil.copytree(bundle, tmp_path / "models" / "mrh_af")
    paths = {"INPUT": inputs / "subject04", "OUTPUT": tmp_path / "out", "MODEL": tmp_path / "models"}
    done = run_app(APP, **{f"HOLOSCAN_{name}_PATH": path for name, path in paths.items()})
    assert (done.returncode, done.stderr) == (0, "")
    assert_as_monai_run(tmp_path / "out", reference, ["subject04"])


@pytest.mark.parametrize(("given", "name"), [("subject03", "subject03"), ("mouse.nii.gz", "mouse"), ("rat.mrh.json", "rat")])
def test_one_subject_of_each_kind(call, bundle, inputs, reference, tmp_path, given, name):
    status, _, err = call("-i", inputs / given, "-o", tmp_path / "out", "-m", bundle, "--device", "cpu")
    assert (status, err) == (0, [])
    assert_as_monai_run(tmp_path / "out", reference, [name])


def test_one_wrong_subject_does_not_keep_the_others(call, bundle, inputs, reference, tmp_path):
    """One has a channel too few, one a file that ends too early, one lacks a file."""
    root = folder_with(tmp_path / "in", inputs / "subject03")
    for ending in ("img", "hdr"):
        (root / "copy0" / f"rigidaffine_Lddm_dwi5000.{ending}").unlink()
    of_66_channels(inputs, root)
    shutil.copy(inputs / "mouse.nii.gz", root)
    made(root / "cut.nii.gz", (inputs / "mouse.nii.gz").read_bytes()[:-1000])
    for name in ("mouse", "cut"):
        shutil.copy(inputs / "mouse_mask.nii.gz", root / f"{name}_mask.nii.gz")
    status, out, err = call("-i", root, "-o", tmp_path / "out", "-m", bundle, "--device", "cpu")
    assert (status, out, len(err)) == (1, [str(tmp_path / "out" / "mouse" / "mouse_af.nii.gz")], 3)
    assert "copy0: expected one file rigidaffine_[Ll]ddm_dwi5000.*, found no such file" in err[0]
    assert "cut.nii.gz: expected 67 volumes" in err[1]
    assert "few: expected 67 channels" in err[2]
    assert_as_monai_run(tmp_path / "out", reference, ["mouse"])


def test_a_failed_write_is_a_sentence_and_leaves_the_old_file(call, bundle, inputs, tmp_path):
    (tmp_path / "out" / "subject03" / "subject03_af.nii.gz").mkdir(parents=True)
    status, out, err = call("-i", inputs / "subject03", "-o", tmp_path / "out", "-m", bundle)
    assert (status, out, len(err)) == (1, [], 1)
    assert "subject03_af.nii.gz: expected a file to write, found a folder" in err[0]


def weights_as(bundle, folder, data, signed=False):
    """A copy of the bundle whose weights are something else, of which its sidecar may know."""
    shutil.copytree(bundle, folder)
    weights = folder / "models" / "model.pt"
    weights.write_bytes(data)
    if signed:
        sidecar = weights.with_suffix(".json")
        sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"sha256": sha256(weights)}))
    return folder


def made(path, content=b""):
    path.write_bytes(content)
    return path


def folder_with(folder, *sources):
    folder.mkdir()
    for source in sources:
        shutil.copytree(source, folder / f"copy{len(list(folder.iterdir()))}")
    return folder


def of_66_channels(inputs, folder):
    shutil.copy(inputs / "mouse_mask.nii.gz", folder / "few_mask.nii.gz")
    return write_nifti(folder / "few.nii", np.asarray(nibabel.load(inputs / "mouse.nii.gz").dataobj)[..., :66], OBLIQUE)


NO_WEIGHTS = shutil.ignore_patterns("model.*")
PICKLE = pickle.dumps({"a": io.BytesIO(b"x")}, protocol=2)
# Of the bundle, the inputs and an empty folder: what is typed otherwise, and what is said then.
WRONG = {
    "no input": (
        lambda b, i, t: {"-i": t / "nowhere"},
        "nowhere: expected a subject's folder, .* or a folder of these, found no such file; check the path",
    ),
    "empty folder": (
        lambda b, i, t: {"-i": folder_with(t / "in")},
        "in: expected a subject's folder, .* found a folder without any of them; check",
    ),
    "66 channels": (lambda b, i, t: {"-i": of_66_channels(i, t)}, "few: expected 67 channels"),
    "no mask": (lambda b, i, t: {"-i": i / "scan.nii"}, "scan.nii: expected its mask or its FA map beside it"),
    "patches": (lambda b, i, t: {"-i": made(t / "p.mat")}, "p.mat: expected a subject's folder, .* found a MAT file of patches; predict"),
    "no bundle": (lambda b, i, t: {"-m": folder_with(t / "m")}, "m: expected one bundle, found no configs/inference.yaml in it"),
    "two bundles": (
        lambda b, i, t: {"-m": folder_with(t / "m", b, b)},
        "m: expected one bundle, found copy0, copy1; name the folder of the bundle itself",
    ),
    "no model path": (lambda b, i, t: {"-m": t / "nowhere"}, "nowhere: expected a bundle folder, found no such folder"),
    "zip": (lambda b, i, t: {"-m": made(t / "x.zip", b"PK cut")}, "x.zip: expected a bundle folder, .* unpack it first: mrh unpack"),
    "a file": (lambda b, i, t: {"-m": b / "models" / "model.pt"}, "model.pt: expected a bundle folder, found a file; name the folder"),
    "no weights": (lambda b, i, t: {"-m": shutil.copytree(b, t / "b", ignore=NO_WEIGHTS)}, "model.pt: expected trained weights, found no"),
    "pickle": (
        lambda b, i, t: {"-m": weights_as(b, t / "b", PICKLE, signed=True)},
        "model.pt: expected a PyTorch state dict, found BadZipFile",
    ),
    "other weights": (
        lambda b, i, t: {"-m": weights_as(b, t / "b", b"x")},
        "model.pt: expected the weights that model.json .* found other weights",
    ),
    "output": (lambda b, i, t: {"-o": made(t / "file")}, "file: expected a folder that can be written, found FileExistsError"),
    "device": (lambda b, i, t: {"--device": "tpu"}, "device: expected .* found 'tpu'"),
    "layout": (
        lambda b, i, t: {"--layout": t / "no.yaml"},
        "no.yaml: expected a YAML file of file patterns, found no such file or directory",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_inputs_are_one_sentence_and_status_1(call, bundle, inputs, tmp_path, name):
    change, sentence = WRONG[name]
    words = {"-i": inputs / "subject03", "-m": bundle, "-o": tmp_path / "out", **change(bundle, inputs, tmp_path)}
    before = sorted(tmp_path.rglob("*"))
    status, out, err = call(*(word for pair in words.items() for word in pair))
    assert (status, out, len(err)) == (1, [], 1), err
    assert re.search(f"^error: .*{sentence}.*\\.$", err[0]), err[0]
    assert set(tmp_path.rglob("*")) - set(before) <= {tmp_path / "out"}


def test_a_sentence_is_the_whole_output_of_the_process(bundle, tmp_path):
    done = run_app(APP / "app.py", "-i", bundle, "-o", tmp_path / "out", "-m", bundle)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"error: {bundle}: expected a subject's folder")


def test_wrong_words_are_a_usage_error(call, capfd):
    with pytest.raises(SystemExit, match="2"):
        call("--wrong")
