from dataclasses import replace

import numpy as np
import pytest

from helpers.subjects import write_mrh_subject, write_nifti
from mrh_monai.data.checked_voxels import ReadingOptions
from mrh_monai.data.input_kinds import load_subject
from mrh_monai.data.masks import checked_mask, with_target_masks
from mrh_monai.errors import MRHWarning, SubjectError
from mrh_monai.io.volume_files import read_header, read_voxels
from mrh_monai.subjects.datalist import Datalist


@pytest.fixture
def torn(parts):
    """A subject whose stain is NaN in a corner of the mask."""
    subject, image, _ = parts
    stain = image[..., 0] * 100
    stain[1:3, :2] = np.nan
    write_nifti(subject.target, stain)
    return subject, np.isfinite(stain)


def test_the_finite_voxels_of_a_stain_are_its_target_mask(torn, few, tmp_path):
    subject, finite = torn
    (found,) = with_target_masks([subject], tmp_path)
    assert found.target_mask == tmp_path / "s_target_mask.nii.gz"
    np.testing.assert_array_equal(read_voxels(read_header(found.target_mask))[..., 0], finite)
    loaded = load_subject(found, few, ReadingOptions(need_target=True))
    np.testing.assert_array_equal(loaded.scored, loaded.mask & finite)


def test_a_stain_of_numbers_needs_no_mask(parts, tmp_path):
    subject = parts[0]
    assert with_target_masks([subject, replace(subject, target=None)], tmp_path) == [subject, replace(subject, target=None)]
    assert list(tmp_path.glob("*_target_mask*")) == []


def test_the_verb_lists_the_masks(call, tmp_path):
    for name in ("m1", "m2"):
        write_mrh_subject(tmp_path / name)
    stain = np.ones((16, 6, 14), np.float32)
    stain[3] = np.nan
    write_nifti(tmp_path / "m1" / "stain.nii", stain)
    write_nifti(tmp_path / "m2" / "stain.nii", np.ones((16, 6, 14), np.float32))
    words = ("--target", "stain.nii", "--target-mask", "auto", "--train", "1", "-o", tmp_path / "lists" / "d.json")
    assert call("datalist", tmp_path, *words)[0] == 0
    listed = Datalist.read(tmp_path / "lists" / "d.json")
    assert listed.training[0].target_mask.resolve() == tmp_path / "lists" / "m1_target_mask.nii.gz"
    assert listed.test[0].target_mask is None


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


def test_slices_confine_the_mask(parts, few):
    subject = replace(parts[0], slices=((0, 1), (3, 5)))
    assert load_subject(subject, few).mask.any(axis=(0, 2)).tolist() == [True, False, False, True, True]
    with pytest.raises(SubjectError, match=r"s: expected slices within 0 and 5 .*found \[3, 6\]"):
        load_subject(replace(parts[0], slices=((3, 6),)), few)


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


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0, 1e-4, 2e-4, 3e-4, 4e-4, 0.5, 0.7, 1], "0, 0.0001, 0.5, 0.7, ..."),
        ([0, np.inf], "0, inf"),
        ([-1, 0], "-1, 0"),
        ([0, 1, 255], "0, 1, 255"),
    ],
)
def test_the_values_that_are_wrong_are_shown(values, shown):
    with pytest.raises(SubjectError, match=f"expected a mask of 0 and 1, found the values {shown};"):
        checked_mask(np.array(values, np.float64), "mask.nii")
