import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.complete_predictions import finish
from mrh_monai.errors import OutputError
from mrh_monai.inference.cohort import CohortOutput
from mrh_monai.inference.prediction_record import (
    announce,
    bound_paths,
    check_prediction_output,
    fingerprint,
    input_state,
    is_finished,
    prediction_path,
    read_record,
    record_path,
    recorded_bounds,
    write_record,
)
from mrh_monai.io.files import sha256
from mrh_monai.io.nibabel_files import write_analyze
from mrh_monai.subjects import Subject, SubjectArrays


def names(cohort, **changes):
    subjects, out, made_by = cohort
    return [s.name for s in CohortOutput(out, "af", {**made_by, **changes}).unfinished(subjects)]


def test_what_is_finished_is_left_alone(cohort):
    assert names(cohort) == ["a", "b", "c"]
    finish(cohort[0][1], *cohort[1:])
    assert names(cohort) == ["a", "c"]


def test_other_weights_options_files_and_slices_are_another_prediction(cohort, tmp_path):
    subjects, out, made_by = cohort
    path = finish(subjects[0], out, made_by)
    assert "a" in names(cohort, weights="another")
    assert "a" in names(cohort, precision="bf16")
    assert [s.name for s in CohortOutput(out, "af", made_by).unfinished([replace(subjects[0], slices=((0, 2),))])] == ["a"]
    os.utime(subjects[0].image[0], ns=(1, 1))
    assert "a" in names(cohort)
    finish(subjects[0], out, made_by)
    assert "a" not in names(cohort)
    path.write_bytes(b"other")
    assert "a" in names(cohort)


def test_another_sidecar_is_another_network(cohort, tmp_path):
    """Scaling and units stand there."""
    (tmp_path / "model.json").write_text("{}")
    assert fingerprint(tmp_path / "model.pt", precision="float32", nan=None) != cohort[2]


def test_both_files_of_a_pair_count(tmp_path):
    write_analyze(tmp_path / "a.img", np.ones((3, 3, 3)), 0.1)
    subject = Subject("a", (tmp_path / "a.img",))
    before = input_state(subject)
    os.utime(tmp_path / "a.hdr", ns=(1, 1))
    assert input_state(subject) != before


def test_a_path_is_the_same_however_it_is_spelt(cohort, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    subject = cohort[0][0]
    relative = replace(subject, image=(Path(subject.image[0].name),), mask=Path(subject.mask.name))
    assert input_state(relative) == input_state(subject)


def test_a_prediction_that_is_being_replaced_is_not_finished(cohort):
    path = finish(cohort[0][0], *cohort[1:])
    announce(path, read_record(path), {})
    assert "a" in names(cohort)
    finish(cohort[0][0], *cohort[1:])
    path.unlink()
    assert "a" in names(cohort)
    (path.parent / "a_af.json").write_text("{")
    assert "a" in names(cohort)


def test_a_file_of_patches_becomes_a_mat_file(cohort, tmp_path):
    assert prediction_path(tmp_path, Subject("p", (tmp_path / "p.mat",)), "af") == tmp_path / "p" / "p_af.mat"
    assert prediction_path(tmp_path, cohort[0][0], "af") == tmp_path / "a" / "a_af.nii.gz"


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".mat"])
def test_a_record_lies_beside_its_prediction_under_its_name(tmp_path, ending):
    assert record_path(tmp_path / f"m1.af{ending}") == tmp_path / "m1.af.json"


@pytest.mark.parametrize("text", ["{", "[]", "3", "{}", '{"test": []}', "\x00"])
def test_a_prediction_is_refused_whose_record_would_replace_another_file(tmp_path, text):
    other, prediction = tmp_path / "af.json", tmp_path / "af.nii.gz"
    other.write_text(text)
    assert read_record(prediction) is None
    with pytest.raises(OutputError, match=r"af\.json: expected a free name, .* found another file, .*; name another output, or replace it"):
        check_prediction_output(prediction)
    check_prediction_output(prediction, overwrite=True)


def test_only_predictions_are_replaced(cohort):
    """A file with its record is a prediction, until somebody changes it; a process killed between the two may go on."""
    path = finish(cohort[0][0], *cohort[1:])
    check_prediction_output(path)
    written = path.read_bytes()
    for change in (written + b"1", bytes(len(written))):  # another size; the same size, other content
        path.write_bytes(change)
        with pytest.raises(OutputError, match=r"a_af\.nii\.gz: expected a free name, or a file that the same command wrote, found another"):
            check_prediction_output(path)
        check_prediction_output(path, overwrite=True)
    announce(path, read_record(path), {})
    check_prediction_output(path)
    record_path(path).unlink()
    with pytest.raises(OutputError):
        check_prediction_output(path)


def test_a_record_without_a_checksum_proves_nothing(cohort):
    """All uncompressed predictions of one grid have the same size."""
    path = finish(cohort[0][0], *cohort[1:])
    record = {key: value for key, value in read_record(path).items() if key != "sha256"}
    record_path(path).write_text(json.dumps(record))
    with pytest.raises(OutputError):
        check_prediction_output(path)


def test_a_prediction_without_its_bounds_is_not_finished(cohort):
    path = finish(cohort[0][0], *cohort[1:])
    for name, file in bound_paths(path).items():
        file.write_text(name)
    write_record(path, read_record(path), bounds=True)
    assert "a" not in names(cohort)
    bound_paths(path)["upper"].write_text("cut")
    assert "a" in names(cohort)
    bound_paths(path)["upper"].unlink()
    assert "a" in names(cohort)


def test_a_file_that_came_after_a_killed_run_is_not_its_own(cohort):
    path = finish(cohort[0][0], *cohort[1:])
    announce(path, read_record(path), {})
    check_prediction_output(path)  # the older prediction still lies there
    path.write_bytes(b"the true stain")
    with pytest.raises(OutputError):
        check_prediction_output(path)


def test_an_input_is_never_replaced(cohort):
    path = finish(cohort[0][0], *cohort[1:])
    with pytest.raises(
        OutputError, match=r"a_af\.nii\.gz: expected an output that is not an input too, found a file that this command reads"
    ):
        check_prediction_output(path, [path], overwrite=True)


def test_a_record_holds_what_the_prediction_was_made_of(cohort):
    subjects, out, made_by = cohort
    path = finish(replace(subjects[0], slices=((0, 2),)), out, made_by)
    record = read_record(path)
    assert list(record) == ["made_by", "inputs", "slices", "bytes", "sha256", "about"]
    assert (record["made_by"], record["slices"], record["bytes"], record["about"]) == (made_by, [[0, 2]], len(b"prediction"), {})
    files = (subjects[0].image[0], subjects[0].mask)
    assert record["inputs"] == {str(file): [file.stat().st_size, file.stat().st_mtime_ns] for file in files}
    assert record["sha256"] == sha256(path)


def test_options_are_kept_as_text(cohort, tmp_path):
    made_by = fingerprint(tmp_path / "model.pt", precision="bf16", nan=None)
    assert made_by == {**made_by, "precision": "bf16", "nan": "None"}
    assert [len(made_by[key]) for key in ("weights", "sidecar")] == [64, 64]


def test_arrays_have_no_files_and_are_predicted_again(tmp_path):
    """A record does not tell one array from another."""
    subject = SubjectArrays(np.ones((2, 2, 2, 3)), np.ones((2, 2, 2)), np.eye(4), name="a", slices=((0, 1),))
    assert input_state(subject) == {"inputs": {}, "slices": [[0, 1]]}
    path = finish(subject, tmp_path, {"weights": "0"})
    assert path == tmp_path / "a" / "a_af.nii.gz"
    assert not is_finished(path, subject, {"weights": "0"})


@pytest.mark.parametrize("bounds", [None, 3, [], {"lower": 3}, {"lower": None, "upper": "a"}, {"other": {}}])
def test_what_a_record_says_of_bounds_may_be_damaged(cohort, bounds):
    path = finish(cohort[0][0], *cohort[1:])
    record_path(path).write_text(json.dumps(read_record(path) | {"bounds": bounds}))
    assert recorded_bounds(read_record(path)) == {}
    check_prediction_output(path, bounds=True)
    bound_paths(path)["lower"].write_text("my own")
    with pytest.raises(OutputError, match=r"a_af_lower\.nii\.gz: expected a free name"):
        check_prediction_output(path, bounds=True)
    check_prediction_output(path)  # nothing would be written there
