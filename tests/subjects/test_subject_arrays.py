"""Subjects as arrays."""

import nibabel
import numpy as np
import pytest
import torch

from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.subjects.subject_arrays import SubjectArrays, real_array

IMAGE, MASK = np.ones((4, 3, 4, 67)), np.ones((4, 3, 4))


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (np.zeros((4, 4)), "subject, affine: expected an affine that gives every voxel a place of its own, found .* singular"),
        (np.full((4, 4), np.nan), "singular or not finite; correct the affine"),
        (np.ones((4, 4)), "singular"),
        ([["a"] * 4] * 4, "subject, affine: expected magnitude values"),
        ([1, 2], r"affine \(2,\); put the channels last"),
    ],
)
def test_affines_that_place_nothing_are_refused(affine, message):
    with pytest.raises(SubjectError, match=message):
        SubjectArrays(IMAGE, MASK, affine)


def test_whatever_numpy_takes_as_an_array_is_converted():
    made = SubjectArrays(torch.ones(4, 3, 4, 2), MASK.astype(bool).tolist(), np.eye(4).tolist())
    assert (made.image.dtype, made.mask.dtype, made.affine.shape) == (np.float32, bool, (4, 4))
    wide = SubjectArrays(IMAGE.astype(np.longdouble), MASK.astype(">i2"), np.eye(4, dtype=int))
    assert (wide.image.dtype, wide.mask.dtype, wide.affine.dtype) == (np.float64, np.int16, np.float64)
    assert wide.mask.dtype.isnative


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (nibabel.Nifti1Image(MASK, np.eye(4)), "found a Nifti1Image; give a NumPy array of numbers"),
        (IMAGE > 0, "found values of type bool"),
        (IMAGE * 1j, "found values of type complex128; give the magnitude"),
        ([[1, 2], [3]], "expected an array, found a list"),
    ],
)
def test_what_holds_no_real_numbers_is_refused(values, found):
    with pytest.raises(SubjectError, match=f"m7, image: .*{found}"):
        real_array(values, "m7, image")


@pytest.mark.parametrize("slices", ["0:5", 5, [(0, 1, 2)], [(0.5, 2)], [None]])
def test_slices_that_are_no_ranges_are_refused(slices):
    with pytest.raises(OptionError, match=r"slices: expected ranges \(start, stop\), found .* give pairs of whole numbers"):
        SubjectArrays(IMAGE, MASK, np.eye(4)).within(slices)
