import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.subjects import write_nifti
from mrh_monai.data.subject import Subject
from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.inference.prediction_record import (
    fingerprint,
    forget,
    made_of,
    predict_each,
    prediction_path,
    share_of_cohort,
    unfinished,
    write_record,
)
from mrh_monai.io.volume_files import write_analyze


@pytest.fixture
def cohort(tmp_path):
    subjects = []
    for name in "abc":
        paths = [write_nifti(tmp_path / f"{name}_{kind}.nii", np.ones((3, 3, 3, count))) for kind, count in (("image", 3), ("mask", 1))]
        subjects.append(Subject(name, (paths[0],), paths[1]))
    for name in ("model.pt", "model.json"):
        (tmp_path / name).write_bytes(name.encode())
    return subjects, tmp_path / "out", fingerprint(tmp_path / "model.pt", precision="float32", nan=None)


def finish(subject, out, made_by):
    path = prediction_path(out, subject, "af")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"prediction")
    write_record(path, made_of(subject), made_by)
    return path


def names(cohort, **changes):
    subjects, out, made_by = cohort
    return [s.name for s in unfinished(subjects, out, "af", {**made_by, **changes})]


def test_what_is_finished_is_left_alone(cohort):
    assert names(cohort) == ["a", "b", "c"]
    finish(cohort[0][1], *cohort[1:])
    assert names(cohort) == ["a", "c"]


def test_other_weights_options_files_and_slices_are_another_prediction(cohort, tmp_path):
    subjects, out, made_by = cohort
    path = finish(subjects[0], out, made_by)
    assert "a" in names(cohort, weights="another")
    assert "a" in names(cohort, precision="bf16")
    assert [s.name for s in unfinished([replace(subjects[0], slices=((0, 2),))], out, "af", made_by)] == ["a"]
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
    before = made_of(subject)
    os.utime(tmp_path / "a.hdr", ns=(1, 1))
    assert made_of(subject) != before


def test_a_path_is_the_same_however_it_is_spelt(cohort, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    subject = cohort[0][0]
    relative = replace(subject, image=(Path(subject.image[0].name),), mask=Path(subject.mask.name))
    assert made_of(relative) == made_of(subject)


class Recorder:
    """Stands in for an evaluator."""

    def __init__(self):
        self.state, self.seen = SimpleNamespace(epoch_length=None), []

    def run(self):
        assert self.state.epoch_length == len(self.data_loader) == 1
        self.seen += self.data_loader


def test_one_subject_that_cannot_be_read_does_not_keep_the_others_waiting(cohort):
    def read(subject):
        if subject.name == "b":
            raise RuntimeError("applying transform") from SubjectError("b.nii", "numbers", "none", "mend it")
        return subject.name

    evaluator = Recorder()
    with pytest.raises(SubjectError, match="^b: expected subjects that can be read, found what is said above; mend them or take them off"):
        predict_each(evaluator, cohort[0], read, keep_going=True)
    assert evaluator.seen == ["a", "c"]
    evaluator = Recorder()
    with pytest.raises(RuntimeError, match="applying transform"):
        predict_each(evaluator, cohort[0], read, keep_going=False)
    assert evaluator.seen == ["a"]
    predict_each(evaluator, cohort[0][:1], read, keep_going=True)
    assert evaluator.seen == ["a", "a"]


def test_a_prediction_that_is_being_replaced_is_not_finished(cohort):
    path = finish(cohort[0][0], *cohort[1:])
    forget(path)
    assert "a" in names(cohort)
    finish(cohort[0][0], *cohort[1:])
    path.unlink()
    assert "a" in names(cohort)
    (path.parent / "a_af.json").write_text("{")
    assert "a" in names(cohort)


def test_a_file_of_patches_becomes_a_mat_file(cohort, tmp_path):
    assert prediction_path(tmp_path, Subject("p", (tmp_path / "p.mat",)), "af") == tmp_path / "p" / "p_af.mat"
    assert prediction_path(tmp_path, cohort[0][0], "af") == tmp_path / "a" / "a_af.nii.gz"


def test_one_process_has_the_whole_cohort(cohort, few):
    subjects, *rest = cohort
    finish(subjects[2], *rest)
    rest = (rest[0], "af", rest[1], few)
    assert share_of_cohort(subjects, *rest) == share_of_cohort(subjects, *rest, "slabs") == subjects[:2]
    assert share_of_cohort(subjects, *rest, redo=True) == subjects
    with pytest.raises(OptionError, match="shared: expected subjects or slabs, found 'voxels'"):
        share_of_cohort(subjects, *rest, "voxels")


def test_a_broken_file_is_named_before_anything_is_predicted(cohort, few):
    subjects, out, made_by = cohort
    finish(subjects[0], out, made_by)
    for subject in subjects[::2]:
        subject.image[0].write_bytes(subject.image[0].read_bytes()[:-8])
    with pytest.raises(SubjectError, match="a_image.nii: expected"):  # changed, and so not finished any more
        share_of_cohort(subjects, out, "af", made_by, few)
    with pytest.raises(SubjectError, match="c_image.nii: expected"):
        share_of_cohort(subjects[1:], out, "af", made_by, few)
