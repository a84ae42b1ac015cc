"""The operators of the MONAI Deploy application, one by one."""

import json
import shutil
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

from helpers.deploy_application import OBLIQUE, needs_sdk
from mrh_monai.errors import MRHError, MRHWarning, SubjectError
from mrh_monai.inference import Prediction

pytestmark = [pytest.mark.deploy, needs_sdk, pytest.mark.filterwarnings("ignore:.*no gradient table")]


def test_without_cudas_runtime_the_remedy_is_named(app, monkeypatch):
    import cuda.pathfinder
    from runtime import prepare

    def find(name):
        raise cuda.pathfinder.DynamicLibNotFoundError(name)

    monkeypatch.setattr(cuda.pathfinder, "load_nvidia_dynamic_lib", find)
    with pytest.raises(MRHError, match="Holoscan: expected the CUDA 13 runtime .* install apps/monai_deploy/requirements.txt"):
        prepare()


def test_the_subjects_of_a_folder(app, inputs, subjects):
    from subject_reader import subjects_in

    assert subjects_in(inputs) == (subjects, [])


def test_folders_without_images_are_left_out_aloud_and_hidden_files_in_silence(app, inputs, tmp_path):
    from subject_reader import subjects_in

    shutil.copytree(inputs / "subject03", tmp_path / "subject03")
    (tmp_path / "targets").mkdir()
    (tmp_path / "._scan.nii.gz").write_bytes(b"of a file system")
    with pytest.warns(MRHWarning, match="targets: a folder without rigidaffine") as warned:
        found, wrong = subjects_in(tmp_path)
    assert (len(warned), [subject.name for subject in found], wrong) == (1, ["subject03"], [])


def test_two_subjects_of_one_name_would_share_a_result(app, inputs, tmp_path):
    from subject_reader import subjects_in

    shutil.copytree(inputs / "subject03", tmp_path / "mouse")
    for name in ("mouse.nii.gz", "mouse_mask.nii.gz"):
        shutil.copy(inputs / name, tmp_path / name)
    found, wrong = subjects_in(tmp_path)
    assert [subject.name for subject in found] == ["mouse"]
    assert [type(error) for error in wrong] == [SubjectError]
    assert "mouse.nii.gz: expected a subject name of its own, found mouse, which" in str(wrong[0])


def test_the_bundle_operator_sends_on_or_reports(app, capsys):
    from bundle_operator import BundleOperator
    from failures import Failures

    def predict(subject):
        if subject == "bad":
            raise SubjectError("bad", "a", "b", "c")
        return f"stain of {subject}"

    failures, sent = Failures(), []
    operator = SimpleNamespace(_bundle=SimpleNamespace(predict=predict), _failures=failures)
    for subject in ("good", "bad"):
        op_input = SimpleNamespace(receive={"subject": subject}.__getitem__)
        BundleOperator.compute(operator, op_input, SimpleNamespace(emit=lambda *what: sent.append(what)), None)
    assert (sent, failures.count) == ([(("good", "stain of good"), "stain")], 1)
    assert capsys.readouterr().err == "error: bad: expected a, found b; c.\n"


def test_the_writer_keeps_numbers_and_grid_and_forgets_an_older_record(app, subjects, tmp_path, capsys):
    from failures import Failures
    from nifti_writer import NiftiWriter, StainFiles

    voxels = np.random.default_rng(0).uniform(0, 0.9, (3, 4, 5)).astype(np.float32)
    record = {"inputs": {"inputs": {}, "slices": None}, "made_by": {"weights": "w"}, "about": {}}
    name = subjects[0].name
    saved = tmp_path / name / f"{name}_nf.json"
    saved.parent.mkdir()
    saved.write_text(json.dumps(record | {"made_by": {"weights": "old"}}))
    prediction = Prediction(voxels, OBLIQUE, np.ones((3, 4, 5), bool), record)
    operator = SimpleNamespace(_place=StainFiles(tmp_path, "nf"), _failures=Failures())
    NiftiWriter.compute(operator, SimpleNamespace(receive={"stain": (subjects[0], prediction)}.__getitem__), None, None)
    image = nibabel.load(saved.with_suffix(".nii.gz"))
    assert (operator._failures.count, capsys.readouterr().out) == (0, f"{image.get_filename()}\n")
    np.testing.assert_array_equal(np.asarray(image.dataobj), voxels)
    np.testing.assert_allclose(image.affine, OBLIQUE, atol=1e-6)
    assert json.loads(saved.read_text())["made_by"] == {"weights": "w"}


def test_a_file_that_is_not_a_prediction_stays_and_is_named_before_anything_is_computed(app, subjects, tmp_path, capsys):
    from failures import Failures
    from nifti_writer import StainFiles

    name = subjects[0].name
    truth = tmp_path / name / f"{name}_nf.nii.gz"
    truth.parent.mkdir()
    truth.write_bytes(b"the true stain")
    failures = Failures()
    assert StainFiles(tmp_path, "nf").free_for(subjects[:2], failures) == subjects[1:2]
    assert f"{truth.name}: expected a free name" in capsys.readouterr().err
    assert StainFiles(tmp_path, "nf", overwrite=True).free_for(subjects[:2], failures) == subjects[:2]
    assert failures.count == 1
