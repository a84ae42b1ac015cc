from types import SimpleNamespace

import pytest

from helpers.complete_predictions import finish
from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.inference.cohort import CohortOutput, predict_each, share_of_cohort


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
            raise RuntimeError("applying transform") from SubjectError("b.nii", "numbers", "NaN", "correct the scan")
        return subject.name

    evaluator = Recorder()
    with pytest.raises(
        SubjectError, match="^b: expected subjects that can be read, found the errors above; correct them or remove them from the datalist"
    ):
        predict_each(evaluator, cohort[0], read, keep_going=True)
    assert evaluator.seen == ["a", "c"]
    evaluator = Recorder()
    with pytest.raises(RuntimeError, match="applying transform"):
        predict_each(evaluator, cohort[0], read, keep_going=False)
    assert evaluator.seen == ["a"]
    predict_each(evaluator, cohort[0][:1], read, keep_going=True)
    assert evaluator.seen == ["a", "a"]


def test_one_process_has_the_whole_cohort(cohort, few):
    subjects, out, made_by = cohort
    finish(subjects[2], out, made_by)
    rest = CohortOutput(out, "af", made_by), few
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
        share_of_cohort(subjects, CohortOutput(out, "af", made_by), few)
    with pytest.raises(SubjectError, match="c_image.nii: expected"):
        share_of_cohort(subjects[1:], CohortOutput(out, "af", made_by), few)


def test_an_error_of_the_program_is_not_taken_for_an_unreadable_subject(cohort):
    def read(subject):
        raise ValueError("a mistake of ours")

    with pytest.raises(ValueError, match="a mistake of ours"):
        predict_each(Recorder(), cohort[0], read, keep_going=True)
