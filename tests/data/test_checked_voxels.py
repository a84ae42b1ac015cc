import warnings
from dataclasses import replace

import numpy as np
import pytest

from helpers.subjects import write_nifti
from mrh_monai.data.checked_voxels import ReadingOptions, checked_mask, load_stains
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


def test_masks_must_be_0_or_1_and_not_empty(parts, few):
    shades = parts[2] * 255
    shades[1, 1, 1] = 128
    write_nifti(parts[0].mask, shades)
    with pytest.raises(SubjectError, match=r"mask.nii: expected a mask of 0 and 1, found the values 0, 128, 255; apply a threshold"):
        load_subject(parts[0], few)
    write_nifti(parts[0].mask, parts[2] * 0)
    with pytest.raises(SubjectError, match=r"mask.nii: expected voxels inside the mask, found an empty mask"):
        load_subject(parts[0], few)


@pytest.mark.parametrize("jitter", [0, 1e-6, -1e-4, 9e-4])
def test_values_near_0_and_1_are_a_mask(parts, few, jitter):
    write_nifti(parts[0].mask, (parts[2] * (1.0 + jitter) + np.where(parts[2], 0, jitter)).astype(np.float32))
    np.testing.assert_array_equal(load_subject(parts[0], few).mask, parts[2] == 1)


@pytest.mark.parametrize("value", [255, 2, 1000.5])
def test_one_value_beside_0_is_a_mask_with_a_warning(parts, few, value):
    write_nifti(parts[0].mask, (parts[2] * value).astype(np.float32))
    with pytest.warns(MRHWarning, match=rf"mask.nii: a mask of 0 and {value} instead of 0 and 1; the voxels of {value} count as inside"):
        np.testing.assert_array_equal(load_subject(parts[0], few).mask, parts[2] == 1)


@pytest.mark.parametrize(
    ("values", "shown"), [([0, 1, 1.002], "0, 1, 1.00199997"), ([-1, 0], "-1, 0"), ([0, 1, 2], "0, 1, 2"), ([2, 3], "2, 3")]
)
def test_other_values_are_shown_in_full(values, shown):
    volume = np.resize(np.array(values, np.float32), (3, 3, 3))
    with pytest.raises(SubjectError, match=f"mask.nii: expected a mask of 0 and 1, found the values {shown};"):
        checked_mask(volume, "mask.nii")


def test_fa_above_zero_stands_in_for_a_mask(parts, few):
    subject = replace(parts[0], mask=None, fa=parts[0].mask)
    np.testing.assert_array_equal(load_subject(subject, few).mask, parts[2] == 1)
    with pytest.raises(SubjectError, match="a mask, or an FA map instead"):
        load_subject(replace(parts[0], mask=None), few)


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


def test_slices_confine_the_mask(parts, few):
    subject = replace(parts[0], slices=((0, 1), (3, 5)))
    assert load_subject(subject, few).mask.any(axis=(0, 2)).tolist() == [True, False, False, True, True]
    with pytest.raises(SubjectError, match=r"s: expected slices within 0 and 5 .*found \[3, 6\]"):
        load_subject(replace(parts[0], slices=((3, 6),)), few)


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


def test_the_target_mask_says_where_the_target_is_intact(parts, few):
    subject, _, mask = parts
    intact = np.zeros_like(mask)
    intact[2:, 1:] = 1
    folder = subject.mask.parent
    write_nifti(folder / "intact.nii", intact)
    torn = replace(subject, target_mask=folder / "intact.nii")
    loaded = load_subject(torn, few, ReadingOptions(need_target=True))
    np.testing.assert_array_equal(loaded.scored, (mask > 0) & (intact > 0))
    np.testing.assert_array_equal(loaded.mask, mask > 0)  # what is predicted stays
    assert load_subject(torn, few).target_mask is None
    np.testing.assert_array_equal(load_subject(subject, few, ReadingOptions(need_target=True)).scored, mask > 0)
    for values, message in (
        (intact * 2 + mask, "intact.nii: expected a mask of 0 and 1"),
        (1 - mask, "intact.nii: expected voxels with an intact target inside the mask, found no such voxel"),
        (intact[1:], "intact.nii: expected shape"),
    ):
        write_nifti(folder / "intact.nii", values.astype(np.uint8))
        with pytest.raises(SubjectError, match=message):
            load_subject(torn, few, ReadingOptions(need_target=True))
    with pytest.raises(SubjectError, match="expected a target beside its target_mask, found no target"):
        load_subject(replace(torn, target=None), few)


def test_a_target_that_is_constant_inside_the_mask_is_refused(parts, few):
    subject, image, _ = parts
    write_nifti(subject.target, np.full(image.shape[:3], 7, np.float32))
    with pytest.raises(SubjectError, match="stain.nii: expected a stain inside the mask, found 7 everywhere"):
        load_subject(subject, few, ReadingOptions(need_target=True))
    write_nifti(subject.target, np.zeros(image.shape[:3], np.float32))
    with pytest.raises(SubjectError, match="stain.nii: expected a stain inside the mask, found only zeros"):
        load_subject(subject, few, ReadingOptions(need_target=True))
