"""What a function may be given for a subject."""

import numpy as np
import pytest

from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.subjects.given_subject import as_subject
from mrh_monai.subjects.subject_arrays import SubjectArrays
from mrh_monai.subjects.subject_search import find_subject

IMAGE, MASK = np.ones((4, 3, 4, 67)), np.ones((4, 3, 4))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"subject": IMAGE}, r"image array: expected a mask and an affine with it, found no mask and affine; give SubjectArrays\(image"),
        ({"subject": IMAGE, "mask": MASK}, "found no affine; give .* affine=np.eye"),
        ({"subject": IMAGE, "affine": np.eye(4)}, "found no mask; give"),
        (
            {"subject": "folder", "mask": MASK},
            "expected `mask` and `affine` only with an image array, found a mask or an affine with",
        ),
        ({"subject": SubjectArrays(IMAGE, MASK, np.eye(4)), "affine": np.eye(4)}, "leave `mask` and `affine` out"),
        (
            {"subject": IMAGE, "mask": "mask.nii.gz", "affine": np.eye(4)},
            "mask: expected magnitude values .* found values of type <U",
        ),
    ],
)
def test_arrays_need_mask_and_affine_and_files_have_their_own(given, message):
    with pytest.raises(SubjectError, match=message):
        as_subject(**given)


@pytest.mark.parametrize("given", [None, 5, [IMAGE], ["m1"], {"image": IMAGE}])
def test_anything_else_is_no_subject(given):
    with pytest.raises(OptionError, match=r"subject: expected a path, a Subject, .* found a \w+; give one subject"):
        as_subject(given)


def test_subjects_stand_for_themselves(study):
    subject = find_subject(study / "subject01")
    arrays = SubjectArrays(IMAGE, MASK, np.eye(4))
    assert as_subject(subject) is subject
    assert as_subject(arrays) is arrays
    assert as_subject(study / "subject01") == subject
    made = as_subject(IMAGE, MASK, np.eye(4))
    assert (made.name, made.slices, made.image is IMAGE, made.mask is MASK) == ("subject", None, True, True)
