import pickle
import subprocess
import sys

import pytest

from mrh_monai.errors import MRHError, SubjectError, error_sentence, root_cause


def test_message_names_place_expected_found_and_remedy():
    error = SubjectError("a.nii", "a 3D volume", "2 axes", "stack the slices")
    assert str(error) == "a.nii: expected a 3D volume, found 2 axes; stack the slices."


def test_survives_pickling():
    error = pickle.loads(pickle.dumps(SubjectError("a", "b", "c", "d")))
    assert isinstance(error, SubjectError)
    assert str(error) == "a: expected b, found c; d."


def test_root_cause_is_our_error_however_deep():
    try:
        try:
            raise SubjectError("a", "b", "c", "d")
        except SubjectError as inner:
            raise RuntimeError("outer") from inner
    except RuntimeError as outer:
        assert isinstance(root_cause(outer), MRHError)
        assert error_sentence(outer) == "error: a: expected b, found c; d."


def test_other_errors_become_one_line():
    assert "unexpected ValueError: two lines" in error_sentence(ValueError("two\nlines"))


@pytest.mark.parametrize(("debug", "lines"), [(False, 1), (True, 3)])
def test_hook_prints_one_sentence_and_keeps_status_1(debug, lines):
    code = f"from mrh_monai.errors import *; print_errors_as_sentences({debug})\nraise SubjectError('a', 'b', 'c', 'd')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) >= lines
    assert ("Traceback" in done.stderr) is debug
