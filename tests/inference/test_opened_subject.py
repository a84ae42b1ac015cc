import os

import numpy as np
import pytest

from mrh_monai.data import VOLUMES, ReadingOptions, load_subject
from mrh_monai.errors import SubjectError
from mrh_monai.inference import opened_subject
from mrh_monai.inference.opened_subject import open_for_prediction
from mrh_monai.inference.prediction_record import input_state
from mrh_monai.protocol import MRH_NET
from mrh_monai.scaling import PublishedScaling, RobustScaling
from mrh_monai.subjects import SubjectArrays, find_subject

ROBUST = RobustScaling(250.0, (1.0,) * 67, (0.5,) * 67, (1.0,) * 67, 99.0)

# The constants of the scaling are made up, so that the signals of the subjects are unlike them.


@pytest.mark.parametrize("scaling", [ROBUST, PublishedScaling(255.0)])
def test_a_subject_on_disk_is_measured_as_one_in_memory(study, scaling):
    subject = find_subject(study / "subject01", target="targets/AF.img").within(((1, 4),))
    options = ReadingOptions(need_target=True)
    opened, loaded = open_for_prediction(subject, MRH_NET, scaling, options), load_subject(subject, MRH_NET, options)
    support = scaling.support(loaded.mask, options.patch)
    assert 0 < support.sum() <= loaded.mask.sum()
    np.testing.assert_array_equal(opened.support, support)
    for found, expected in zip(opened.coefficients, scaling.coefficients(loaded, support), strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(opened.slabs.slab(0, 6), loaded.slabs.slab(0, 6))
    for name in ("affine", "target", "scored"):
        np.testing.assert_array_equal(getattr(opened, name), getattr(loaded, name))
    assert (opened.subject, opened.kind) == (subject, VOLUMES)


def test_the_record_names_the_files_as_they_were_before_they_were_read(study, monkeypatch, tmp_path):
    """A file that changes while it is read must not pass for the file that was read."""
    subject = find_subject(study / "subject01")
    before = input_state(subject)
    read = opened_subject.open_subject
    old = subject.mask.stat().st_mtime_ns

    def read_and_touch(*arguments):
        os.utime(subject.mask, ns=(1, 1))
        return read(*arguments)

    monkeypatch.setattr(opened_subject, "open_subject", read_and_touch)
    try:
        opened = open_for_prediction(subject, MRH_NET, ROBUST, ReadingOptions())
    finally:
        os.utime(subject.mask, ns=(old, old))
    record = opened.record({"weights": "0"}, {"stain": "af"})
    assert list(record) == ["made_by", "inputs", "slices", "coronal_axis", "about"]
    assert (record["made_by"], record["inputs"], record["slices"]) == ({"weights": "0"}, before["inputs"], None)
    assert record["about"]["stain"] == "af"
    assert record["about"]["subject"] == "subject01"
    assert record["about"]["files"]["mask"] == str(subject.mask.resolve())


def test_the_record_of_arrays_names_no_files(study):
    loaded = load_subject(find_subject(study / "subject01"), MRH_NET)
    arrays = SubjectArrays(loaded.image, loaded.mask, loaded.affine, name="mouse", slices=((0, 2),))
    record = open_for_prediction(arrays, MRH_NET, ROBUST, ReadingOptions()).record({}, {})
    assert record == {"made_by": {}, "inputs": {}, "slices": [[0, 2]], "about": {"subject": "mouse", "coronal_axis": 1}}


def test_subjects_that_do_not_fit_are_refused(study, few):
    with pytest.raises(SubjectError, match=r"subject01: expected 3 channels \(qa to mt_off\), found 67"):
        open_for_prediction(find_subject(study / "subject01"), few, ROBUST, ReadingOptions())
