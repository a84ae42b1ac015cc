import warnings
from dataclasses import replace

import numpy as np
import pytest

from helpers.subjects import write_nifti
from mrh_monai.data.checked_voxels import ReadingOptions, load_stains
from mrh_monai.data.input_kinds import load_subject
from mrh_monai.errors import MRHWarning, OptionError, SubjectError
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.subjects.folder_listing import find_subjects


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_inside_the_mask_is_refused_with_its_share_or_zeroed(parts, few, value):
    subject, image, _ = parts
    spoiled = image[..., 1:].copy()
    spoiled[2, 2, 2, 0] = spoiled[0, 0, 0, 1] = value
    write_nifti(subject.image[1], spoiled)
    with pytest.raises(
        SubjectError, match=r"mt.nii: expected numbers inside the mask in channel mt_on, found 1 NaN or Inf \(1.2%\).*--nan zero"
    ):
        load_subject(subject, few)
    with pytest.warns(MRHWarning, match=r"mt.nii: 1 NaN or Inf inside the mask in 1 channel \(1.2% of the voxels there\) were set to 0"):
        zeroed = load_subject(subject, few, ReadingOptions(nan="zero")).image
    assert zeroed[2, 2, 2, 1] == zeroed[0, 0, 0, 2] == 0
    with pytest.raises(OptionError, match="nan: expected refuse or zero, found 'skip'"):
        load_subject(subject, few, ReadingOptions(nan="skip"))


def test_nan_outside_the_mask_does_not_matter(parts, few):
    subject, image, _ = parts
    spoiled = image[..., 0].copy()
    spoiled[0] = np.nan
    write_nifti(subject.image[0], spoiled)
    assert not load_subject(subject, few).image[0, ..., 0].any()


def test_all_zero_channel_is_named(parts, few):
    parts[1][1:5, ..., 1] = 0
    write_nifti(parts[0].image[1], parts[1][..., 1:])
    with pytest.raises(SubjectError, match=r"mt.nii: expected signal in channel mt_on, found only zeros in the mask"):
        load_subject(parts[0], few)


def test_missing_target_is_refused_only_where_needed(parts, few):
    subject = replace(parts[0], target=None)
    assert load_subject(subject, few).target is None
    with pytest.raises(SubjectError, match="s: expected a target, found no target in the datalist"):
        load_subject(subject, few, ReadingOptions(need_target=True))


def test_files_listed_twice_and_dark_targets_are_refused(parts, few):
    subject = parts[0]
    with pytest.raises(SubjectError, match="s: expected every image file once, found mt.nii twice"):
        load_subject(replace(subject, image=(subject.image[1], subject.image[1])), few)
    write_nifti(subject.target, np.zeros((6, 5, 4), np.uint8))
    with pytest.raises(SubjectError, match=r"stain.nii: expected a stain inside the mask, found only zeros"):
        load_subject(subject, few, ReadingOptions(need_target=True))


def test_swapped_mt_pair_warns(parts, few):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_subject(parts[0], few)
    write_nifti(parts[0].image[1], parts[1][..., :0:-1])
    with pytest.warns(MRHWarning, match="s: MT on is brighter than MT off .* look swapped"):
        load_subject(parts[0], few)


def test_stains_of_one_grid_are_loaded_with_their_mask(parts):
    subject, image, mask = parts
    stain, inside = load_stains([subject.target], subject.mask)
    np.testing.assert_allclose(stain, image[..., 0] * 100)
    np.testing.assert_array_equal(inside, mask == 1)


def test_fa_can_be_the_support_even_where_there_is_a_mask(study):
    subject = find_subjects(study)[0]
    by_mask, by_fa = (
        load_subject(subject, MRH_NET, ReadingOptions(need_fa=True)),
        load_subject(subject, MRH_NET, ReadingOptions(support="fa")),
    )
    np.testing.assert_array_equal(by_fa.mask, by_mask.fa > 0)
    assert by_fa.mask.sum() > by_mask.mask.sum()
    with pytest.raises(SubjectError, match="expected a mask, or an FA map instead, found no mask and no FA map"):
        load_subject(replace(subject, fa=None), MRH_NET, ReadingOptions(support="fa"))
    with pytest.raises(OptionError, match="support: expected mask or fa, found 'brain'"):
        load_subject(subject, MRH_NET, ReadingOptions(support="brain"))


def test_a_target_that_is_constant_inside_the_mask_is_refused(parts, few):
    subject, image, _ = parts
    write_nifti(subject.target, np.full(image.shape[:3], 7, np.float32))
    with pytest.raises(SubjectError, match="stain.nii: expected a stain inside the mask, found 7 everywhere"):
        load_subject(subject, few, ReadingOptions(need_target=True))
    write_nifti(subject.target, np.zeros(image.shape[:3], np.float32))
    with pytest.raises(SubjectError, match="stain.nii: expected a stain inside the mask, found only zeros"):
        load_subject(subject, few, ReadingOptions(need_target=True))
