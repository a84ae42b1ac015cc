import json
import os
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import scipy.io

from mrh_monai.data.input_kinds import PATCH_FILE, VOLUMES
from mrh_monai.errors import OutputError
from mrh_monai.inference.prediction import Prediction, check_output
from mrh_monai.inference.prediction_record import bound_paths, read_record
from mrh_monai.inference.voxelwise import Bounds
from mrh_monai.io.files import sha256

RECORD = {"made_by": {"weights": "0"}, "inputs": {}, "slices": None, "about": {"stain": "af"}}


@pytest.fixture
def prediction(rng):
    stain = rng.uniform(1, 200, (4, 3, 5)).astype(np.float32)
    stain[0] = 0
    return Prediction(stain, np.diag([0.1, 0.2, 0.3, 1.0]), stain > 0, RECORD)


@pytest.mark.parametrize("name", ["af.nii.gz", "af.nii", "new/folders/af.nii.gz"])
def test_stain_and_record_are_saved_together(prediction, tmp_path, name):
    path = prediction.save(str(tmp_path / name))
    assert path == tmp_path / name
    image = nibabel.load(path)
    assert image.get_data_dtype() == np.float32
    np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), prediction.stain)
    np.testing.assert_allclose(image.affine, prediction.affine)
    assert read_record(path) == {**RECORD, "bytes": path.stat().st_size, "sha256": sha256(path)}
    assert sorted(file.name for file in path.parent.iterdir()) == sorted(["af.json", path.name])


def test_saving_again_replaces_both(prediction, tmp_path):
    path = prediction.save(tmp_path / "af.nii.gz")
    other = Prediction(prediction.stain * 2, prediction.affine, prediction.mask, {**RECORD, "made_by": {"weights": "1"}})
    other.save(path)
    np.testing.assert_array_equal(nibabel.load(path).get_fdata(dtype=np.float32), other.stain)
    assert read_record(path)["made_by"] == {"weights": "1"}
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_that_is_not_a_record_stays_and_nothing_is_written(prediction, tmp_path):
    """The sentence comes before any voxel is written."""
    (tmp_path / "datalist.json").write_text('{"test": []}')
    message = r"datalist\.json: expected a free name, or a file that the same command wrote, found another file"
    with pytest.raises(OutputError, match=message):
        prediction.save(tmp_path / "datalist.nii.gz")
    with pytest.raises(OutputError, match=message):
        check_output(tmp_path / "datalist.nii.gz", VOLUMES)
    assert [path.name for path in tmp_path.iterdir()] == ["datalist.json"]
    assert (tmp_path / "datalist.json").read_text() == '{"test": []}'


def test_no_record_is_left_where_the_stain_cannot_be_written(prediction, tmp_path, monkeypatch):
    """An old prediction stays as it was."""
    old = prediction.save(tmp_path / "old.nii.gz")
    before = old.read_bytes()
    real = os.replace

    def full(source, target):
        if str(target).endswith(".nii.gz"):
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr("os.replace", full)
    for path in (old, tmp_path / "new.nii.gz"):
        with pytest.raises(OutputError, match=r"\.nii\.gz: expected to write the file, found No space left on device"):
            prediction.save(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["old.json", "old.nii.gz"]
    assert (old.read_bytes(), read_record(old)["bytes"]) == (before, len(before))
    monkeypatch.undo()
    prediction.save(old)
    assert read_record(old)["bytes"] == len(before)


def test_a_file_of_another_origin_is_replaced_only_if_asked(prediction, tmp_path):
    path = tmp_path / "m7_af.nii.gz"
    path.write_bytes(b"the true stain")
    with pytest.raises(OutputError, match=r"m7_af\.nii\.gz: expected a free name"):
        prediction.save(path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"the true stain"]
    prediction.save(path, overwrite=True)
    assert read_record(path)["sha256"] == sha256(path)


@pytest.mark.parametrize("key", ["image", "target"])
def test_a_stain_never_replaces_a_file_of_its_subject(prediction, tmp_path, key):
    path = tmp_path / "s.nii.gz"
    path.write_bytes(b"scan")
    about = {"files": {"image": ["other.nii"], key: [str(path)] if key == "image" else str(path)}}
    with pytest.raises(OutputError, match=r"s\.nii\.gz: expected an output that is not an input too"):
        replace(prediction, record={**RECORD, "about": about}).save(path, overwrite=True)
    assert path.read_bytes() == b"scan"


@pytest.mark.parametrize("name", ["af.png", "af", "af.mat", "af.nii.gz/af.nii"])
def test_impossible_places_are_refused(prediction, tmp_path, name):
    prediction.save(tmp_path / "af.nii.gz")
    before = sorted(path.read_bytes() for path in tmp_path.iterdir())
    with pytest.raises(OutputError, match=r"expected (a name ending in \.nii or \.nii\.gz|a folder that can be written), found"):
        prediction.save(tmp_path / name)
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == before


def test_the_prediction_of_a_patch_file_is_a_mat_file(tmp_path):
    stain, mask = np.zeros((3, 2, 3), np.float32), np.zeros((3, 2, 3), bool)
    stain[1, :, 1], mask[1, :, 1] = [7, 8], True
    prediction = Prediction(stain, np.eye(4), mask, RECORD, PATCH_FILE)
    prediction.save(tmp_path / "YPred.mat")
    np.testing.assert_array_equal(scipy.io.loadmat(tmp_path / "YPred.mat")["YPred"].ravel(), [7, 8])
    assert json.loads((tmp_path / "YPred.json").read_text())["made_by"] == {"weights": "0"}
    with pytest.raises(OutputError, match=r"expected a name ending in \.mat"):
        prediction.save(tmp_path / "YPred.nii")


@pytest.fixture
def bounded(prediction):
    return replace(prediction, bounds=Bounds(prediction.stain * np.float32(0.5), prediction.stain * 2))


def test_bounds_are_saved_beside_the_stain(bounded, tmp_path):
    path = bounded.save(tmp_path / "m1.af.nii.gz")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m1.af.json", "m1.af.nii.gz", "m1.af_lower.nii.gz", "m1.af_upper.nii.gz"]
    for name, values in bounded.bounds._asdict().items():
        image = nibabel.load(bound_paths(path)[name])
        assert image.get_data_dtype() == np.float32
        np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), values)
        np.testing.assert_allclose(image.affine, bounded.affine)
        state = read_record(path)["bounds"][name]
        assert state == {"bytes": bound_paths(path)[name].stat().st_size, "sha256": sha256(bound_paths(path)[name])}
    bounded.save(path)  # its own files are replaced


def test_bounds_of_an_older_prediction_do_not_stay(bounded, prediction, tmp_path):
    path = bounded.save(tmp_path / "af.nii.gz")
    prediction.save(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["af.json", "af.nii.gz"]
    assert "bounds" not in read_record(path)


@pytest.mark.parametrize("written", [True, False])
def test_another_file_is_not_replaced_by_a_bound(bounded, prediction, tmp_path, written):
    if written:
        bounded.save(tmp_path / "af.nii.gz")
    other = tmp_path / "af_upper.nii.gz"
    other.write_bytes(b"my own")
    with pytest.raises(OutputError, match=r"af_upper\.nii\.gz: expected a free name, or a file that the same command wrote, found"):
        bounded.save(tmp_path / "af.nii.gz")
    prediction.save(tmp_path / "af.nii.gz", overwrite=True)  # it has no bounds
    assert other.read_bytes() == b"my own"
    assert not (tmp_path / "af_lower.nii.gz").exists()
    bounded.save(tmp_path / "af.nii.gz", overwrite=True)
    np.testing.assert_array_equal(nibabel.load(other).get_fdata(dtype=np.float32), bounded.bounds.upper)


@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize("files", [0, 1, 2, 3])
def test_a_killed_run_leaves_files_that_the_next_one_replaces(bounded, prediction, tmp_path, monkeypatch, files, older):
    path = tmp_path / "af.nii.gz"
    if older:
        replace(bounded, stain=bounded.stain + 1, bounds=Bounds(bounded.stain - 9, bounded.stain + 9)).save(path)
    real, moved = os.replace, []

    def killed(source, target):
        if str(target).endswith(".nii.gz") and str(Path(target).name) in ("af.nii.gz", "af_lower.nii.gz", "af_upper.nii.gz"):
            if len(moved) == files:
                os._exit(9)
            moved.append(target)
        real(source, target)

    child = os.fork()
    if child == 0:
        os.replace = killed
        bounded.save(path)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == (9 if files < 3 else 0)
    bounded.save(path)
    assert sorted(file.name for file in tmp_path.iterdir() if not file.name.startswith(".")) == sorted(
        ["af.json", "af.nii.gz", "af_lower.nii.gz", "af_upper.nii.gz"]
    )
    for name, values in {"": bounded.stain, "_lower": bounded.bounds.lower, "_upper": bounded.bounds.upper}.items():
        np.testing.assert_array_equal(nibabel.load(tmp_path / f"af{name}.nii.gz").get_fdata(dtype=np.float32), values)
    prediction.save(path)


def test_a_full_disk_leaves_nothing_behind(bounded, tmp_path, monkeypatch):
    real = os.replace

    def full(source, target):
        if str(target).endswith("af.nii.gz") and not Path(target).name.startswith("."):
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OutputError, match="No space left on device"):
        bounded.save(tmp_path / "af.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_bounds_of_patches_are_files_of_patches(tmp_path, rng):
    stain = rng.uniform(1, 2, (3, 6, 3)).astype(np.float32)
    prediction = Prediction(stain, np.eye(4), stain > 0, RECORD, PATCH_FILE, bounds=Bounds(stain - 1, stain + 1))
    prediction.save(tmp_path / "p_af.mat")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["p_af.json", "p_af.mat", "p_af_lower.mat", "p_af_upper.mat"]
