import numpy as np
import pytest

from helpers.subjects import SHAPE, write_mrh_subject
from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.io.nibabel_files import write_analyze
from mrh_monai.subjects.folder_listing import find_subjects
from mrh_monai.subjects.subject import Subject, in_slices
from mrh_monai.subjects.subject_search import find_subject


def test_one_target_may_serve_all_subjects_but_a_subjects_own_comes_first(tmp_path):
    for name in ("a", "b"):
        write_mrh_subject(tmp_path / name)
    (tmp_path / "b" / "targets" / "AF.img").rename(tmp_path / "b" / "targets" / "other.img")
    write_analyze(tmp_path / "targets" / "AF.img", np.zeros(SHAPE, np.uint8), 0.0625)
    assert [s.target.parent.parent.name for s in find_subjects(tmp_path, target="targets/AF.img")] == ["a", tmp_path.name]


def test_incomplete_folders_are_named(tmp_path):
    with pytest.raises(SubjectError, match="expected sub-folders with rigidaffine.*--layout"):
        find_subjects(tmp_path)
    write_mrh_subject(tmp_path / "a")
    (tmp_path / "a" / "Masked_outline.img").unlink()
    (tmp_path / "a" / "Masked_outline.hdr").unlink()
    with pytest.raises(SubjectError, match=r"a: expected one file Masked_outline.*found no such file"):
        find_subjects(tmp_path)
    with pytest.raises(SubjectError, match="expected a subject's folder, found no such folder"):
        find_subject(tmp_path / "b")
    with pytest.raises(SubjectError, match="the target nope.img in the folder or beside it"):
        find_subject(write_mrh_subject(tmp_path / "c"), target="nope.img")


def test_slices_are_intersected():
    subject = Subject("s", (), slices=((0, 1), (3, 5)))
    assert subject.within(None) is subject
    assert subject.within(((0, 4),)).slices == ((0, 1), (3, 4))
    assert Subject("s", ()).within(((0, 4),)).slices == ((0, 4),)
    with pytest.raises(OptionError, match="slices of s among"):
        subject.within(((1, 2),))
    assert in_slices(3, None).all()
    assert in_slices(6, subject.slices).tolist() == [True, False, False, True, True, False]
