from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.subjects import arrays_of, turned, write_nifti
from mrh_monai.data.checked_voxels import ReadingOptions
from mrh_monai.data.grid import read_headers
from mrh_monai.data.input_kinds import load_subject, open_subject
from mrh_monai.errors import MRHWarning, SubjectError
from mrh_monai.subjects.subject_arrays import write_arrays


@pytest.mark.parametrize("slices", [None, ((1, 3),)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_files_in_any_order_of_axes_give_the_same_numbers(parts, few, tmp_path, axis, slices):
    subject = replace(parts[0], slices=slices, coronal_axis=1)
    other = turned(subject, axis, tmp_path)
    one, two = (load_subject(each, few) for each in (subject, other))
    for name in ("image", "mask", "target", "affine", "level_values"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), name)
    assert one.axes == (0, 1, 2)
    arrays = load_subject(replace(arrays_of(other), coronal_axis=axis), few)
    for name in ("image", "mask", "target", "affine", "level_values"):
        np.testing.assert_array_equal(getattr(one, name), getattr(arrays, name), name)
    assert arrays.axes == two.axes
    slabs = [open_subject(each, few).slabs for each in (subject, other)]
    for start, stop, reach in ((0, 5, 0), (1, 3, 1), (4, 5, 1)):
        a, b = (torch.as_tensor(np.asarray(each.slab(start, stop, reach))) for each in slabs)
        assert torch.equal(a, b)


def test_slices_are_counted_along_that_axis(few, tmp_path, parts):
    other = replace(turned(replace(parts[0], coronal_axis=1), 2, tmp_path), slices=((0, 6),))
    with pytest.raises(SubjectError, match=r"slices within 0 and 5 \(stop excluded\) along array axis 2, which is coronal, found \[0, 6\]"):
        read_headers(other, few)


def test_slices_without_the_brain_are_answered_with_those_that_have_it(few, tmp_path, parts):
    mask = np.zeros((6, 5, 4), np.uint8)
    mask[:, 3:] = 1
    write_nifti(parts[0].mask, mask)
    other = replace(turned(replace(parts[0], coronal_axis=1), 2, tmp_path), slices=((0, 2),))
    message = r"mask\.nii: expected voxels inside the mask in slices \[\[0, 2\]\], found a mask in slices 3 to 4 of array axis 2, which is"
    for read in (load_subject, open_subject):
        with pytest.raises(SubjectError, match=message):
            read(other, few)


def test_a_hot_voxel_is_named_by_its_place_in_the_file(few, tmp_path, parts):
    subject, image, _ = parts
    stain = image[..., 0] * 100
    stain[2, 4, 1] = 1e5
    write_nifti(subject.target, stain)
    other = turned(replace(subject, coronal_axis=1), 2, tmp_path)
    for each in (other, arrays_of(other)):
        with pytest.warns(MRHWarning, match=r"the stain has 100000 at voxel \(2, 1, 4\)"):
            load_subject(each, few, ReadingOptions(need_target=True))


def test_arrays_follow_their_affine(few, tmp_path, parts):
    other = arrays_of(turned(replace(parts[0], coronal_axis=1), 2, tmp_path))
    assert other.coronal_axis is None
    np.testing.assert_array_equal(load_subject(other, few).image, load_subject(parts[0], few).image)
    np.testing.assert_array_equal(load_subject(write_arrays(other, tmp_path / "written"), few).image, load_subject(parts[0], few).image)
