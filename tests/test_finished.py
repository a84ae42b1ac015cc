import os
from dataclasses import replace

import numpy as np
import pytest
from conftest import write_nifti

from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.finished import fingerprint, forget, prediction_path, share_of_cohort, unfinished, write_record
from mrh_monai.subjects import Subject


@pytest.fixture
def cohort(tmp_path):
    subjects = []
    for name in "abc":
        paths = [write_nifti(tmp_path / f"{name}_{kind}.nii", np.ones((3, 3, 3, count))) for kind, count in (("image", 3), ("mask", 1))]
        subjects.append(Subject(name, (paths[0],), paths[1]))
    (tmp_path / "model.pt").write_bytes(b"weights")
    return subjects, tmp_path / "out", fingerprint(tmp_path / "model.pt", precision="float32", nan=None)


def finish(subject, out, made_by):
    path = prediction_path(out, subject, "af")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"prediction")
    write_record(path, subject, made_by)
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
