import warnings
from dataclasses import replace

import numpy as np
import pytest

from helpers.subjects import write_nifti
from mrh_monai.data.subject import Subject, find_subjects
from mrh_monai.data.subject_voxels import load_stains, load_subject, load_subjects, read_headers
from mrh_monai.errors import MRHWarning, OptionError, SubjectError
from mrh_monai.io.volume_files import read_header, read_voxels, write_analyze
from mrh_monai.protocol.mr_protocol import MRH_NET

FLIPPED = np.diag([-0.1, 0.1, 0.1, 1])


@pytest.fixture
def parts(tmp_path, rng):
    """A NIfTI subject of three channels: two files, a mask and a target."""
    image = rng.uniform(1, 2, (6, 5, 4, 3)).astype(np.float32)
    image[..., 1:] = np.sort(image[..., 1:])
    write_nifti(tmp_path / "s" / "qa.nii.gz", image[..., 0])
    write_nifti(tmp_path / "s" / "mt.nii", image[..., 1:])
    mask = np.zeros((6, 5, 4), np.uint8)
    mask[1:5] = 1
    write_nifti(tmp_path / "s" / "mask.nii", mask)
    write_nifti(tmp_path / "s" / "stain.nii", image[..., 0] * 100)
    folder = tmp_path / "s"
    subject = Subject("s", (folder / "qa.nii.gz", folder / "mt.nii"), folder / "mask.nii", target=folder / "stain.nii")
    return subject, image, mask


def test_files_are_joined_along_channels_as_stored(parts, few):
    subject, image, mask = parts
    loaded = load_subject(subject, few, need_target=True)
    np.testing.assert_array_equal(loaded.image, image)
    np.testing.assert_array_equal(loaded.mask, mask == 1)
    np.testing.assert_allclose(loaded.target, image[..., 0] * 100)
    np.testing.assert_allclose(loaded.affine, np.diag([0.1, 0.1, 0.1, 1]), atol=1e-6)
    outside = loaded.padded.copy()
    outside[1:-1, 1:-1, 1:-1] = 0
    assert not outside.any()


def test_integers_stay_integers_and_all_subjects_share_one_memory(study):
    subjects = load_subjects(find_subjects(study, target="targets/AF.img"), MRH_NET, need_target=True)
    assert len(subjects) == 4
    assert {s.padded.dtype for s in subjects} == {np.dtype(np.int16)}
    assert all(s.padded.base is subjects[0].padded.base for s in subjects)
    files = [
        read_voxels(read_header(study / "subject02" / f"rigidaffine_{n}.img")) for n in ("Lddm_dwi2000", "Lddm_dwi5000", "lddm_t2MTONOFF")
    ]
    np.testing.assert_array_equal(subjects[1].image, np.concatenate(files, axis=-1))


def test_missing_file_is_named(parts, few):
    parts[0].image[1].unlink()
    with pytest.raises(SubjectError, match=r"mt.nii: expected a file, found none"):
        read_headers(parts[0], few)


def test_wrong_channel_count_is_named(parts):
    with pytest.raises(SubjectError, match=r"s: expected 67 channels .*, found 3 in qa.nii.gz, mt.nii"):
        read_headers(parts[0], MRH_NET)


@pytest.mark.parametrize(
    ("key", "voxels", "affine", "message"),
    [
        ("mask", np.ones((6, 5, 3), np.uint8), None, r"mask.nii: expected shape \(6, 5, 4\) as in qa.nii.gz, found \(6, 5, 3\)"),
        ("mask", np.ones((6, 5, 4), np.uint8), np.diag([0.2, 0.1, 0.1, 1]), r"mask.nii: expected voxels of \(0.1, 0.1, 0.1\) mm"),
        ("mt", np.ones((6, 5, 4, 2), np.float32), FLIPPED, r"mt.nii: expected the affine of qa.nii.gz, found one that differs by 0.2 mm"),
        ("mask", np.ones((6, 5, 4, 2), np.uint8), None, "mask.nii: expected one 3D volume as mask, found 2 volumes"),
    ],
)
def test_files_on_another_grid_are_named(parts, few, key, voxels, affine, message):
    write_nifti(parts[0].mask.parent / f"{key}.nii", voxels, affine)
    with pytest.raises(SubjectError, match=message):
        load_subject(parts[0], few)


def test_grids_are_compared_before_voxels_are_read(parts, few, monkeypatch):
    monkeypatch.setattr("mrh_monai.data.subject_voxels.read_voxels", lambda header: pytest.fail("read too early"))
    write_nifti(parts[0].mask, np.ones((6, 5, 3), np.uint8))
    with pytest.raises(SubjectError, match="mask.nii"):
        load_subject(parts[0], few)


def test_analyze_is_compared_by_shape_and_voxel_size_alone(parts, few):
    path = parts[0].mask.parent / "mask.img"
    write_analyze(path, parts[2], 0.1)
    assert load_subject(replace(parts[0], mask=path), few).mask.sum() == parts[2].sum()
    write_analyze(path, parts[2], 0.2)
    with pytest.raises(SubjectError, match="voxels of"):
        load_subject(replace(parts[0], mask=path), few)


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
    zeroed = load_subject(subject, few, nan="zero").image
    assert zeroed[2, 2, 2, 1] == zeroed[0, 0, 0, 2] == 0
    with pytest.raises(OptionError, match="nan: expected refuse or zero, found 'skip'"):
        load_subject(subject, few, nan="skip")


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
    write_nifti(parts[0].mask, parts[2] * 255)
    with pytest.raises(SubjectError, match=r"mask.nii: expected a mask of 0 and 1, found the values 0, 255; threshold"):
        load_subject(parts[0], few)
    write_nifti(parts[0].mask, parts[2] * 0)
    with pytest.raises(SubjectError, match=r"mask.nii: expected voxels inside the mask, found none"):
        load_subject(parts[0], few)


def test_fa_above_zero_stands_in_for_a_mask(parts, few):
    subject = replace(parts[0], mask=None, fa=parts[0].mask)
    np.testing.assert_array_equal(load_subject(subject, few).mask, parts[2] == 1)
    with pytest.raises(SubjectError, match="a mask, or an FA map in its place"):
        load_subject(replace(parts[0], mask=None), few)


def test_missing_target_is_refused_only_where_needed(parts, few):
    subject = replace(parts[0], target=None)
    assert load_subject(subject, few).target is None
    with pytest.raises(SubjectError, match="s: expected a target, found none in the datalist"):
        load_subject(subject, few, need_target=True)


def test_voxels_of_targets_and_fa_maps_are_read_only_where_needed(parts, few):
    target = write_nifti(parts[0].mask.parent / "stain.nii.gz", np.random.default_rng(0).random((6, 5, 4)))
    target.write_bytes(target.read_bytes()[:-200])
    subject = replace(parts[0], target=target, fa=target)
    loaded = load_subject(subject, few)
    assert loaded.target is loaded.fa is None
    for need in ("need_target", "need_fa"):
        with pytest.raises(SubjectError, match=r"stain.nii.gz: expected 1 volumes"):
            load_subject(subject, few, **{need: True})


@pytest.mark.parametrize("key", ["fa", "target"])
def test_their_headers_are_compared_all_the_same(parts, few, key):
    other = write_nifti(parts[0].mask.parent / "other.nii", np.ones((6, 5, 3), np.uint8))
    with pytest.raises(SubjectError, match=r"other.nii: expected shape \(6, 5, 4\)"):
        load_subject(replace(parts[0], **{key: other}), few)
    with pytest.raises(SubjectError, match=r"gone.nii: expected a file, found none"):
        load_subject(replace(parts[0], **{key: other.with_name("gone.nii")}), few)


def test_impossible_axes_are_refused(parts, few):
    for axes in ((0,), (0, 0), (2, 0), (0, 3)):
        with pytest.raises(OptionError, match="patch_axes: expected two or three different axes"):
            load_subject(parts[0], few, axes=axes)


def test_files_listed_twice_and_dark_targets_are_refused(parts, few):
    subject = parts[0]
    with pytest.raises(SubjectError, match="s: expected every image file once, found mt.nii twice"):
        load_subject(replace(subject, image=(subject.image[1], subject.image[1])), few)
    write_nifti(subject.target, np.zeros((6, 5, 4), np.uint8))
    with pytest.raises(SubjectError, match=r"stain.nii: expected a stain inside the mask, found only zeros"):
        load_subject(subject, few, need_target=True)


def test_memory_runs_along_the_patches_last_axis(parts, few):
    for axes in ((0, 1), (0, 2), (1, 2), (0, 1, 2)):
        loaded = load_subject(parts[0], few, axes=axes)
        np.testing.assert_array_equal(loaded.image, parts[1])
        assert loaded.padded.strides[axes[-1]] == 3 * loaded.padded.itemsize


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
    by_mask, by_fa = load_subject(subject, MRH_NET, need_fa=True), load_subject(subject, MRH_NET, support="fa")
    np.testing.assert_array_equal(by_fa.mask, by_mask.fa > 0)
    assert by_fa.mask.sum() > by_mask.mask.sum()
    with pytest.raises(SubjectError, match="expected a mask, or an FA map in its place, found neither"):
        load_subject(replace(subject, fa=None), MRH_NET, support="fa")
    with pytest.raises(OptionError, match="support: expected mask or fa, found 'brain'"):
        load_subject(subject, MRH_NET, support="brain")


def test_the_target_mask_says_where_the_target_is_sound(parts, few):
    subject, _, mask = parts
    sound = np.zeros_like(mask)
    sound[2:, 1:] = 1
    folder = subject.mask.parent
    write_nifti(folder / "sound.nii", sound)
    torn = replace(subject, target_mask=folder / "sound.nii")
    loaded = load_subject(torn, few, need_target=True)
    np.testing.assert_array_equal(loaded.scored, (mask > 0) & (sound > 0))
    np.testing.assert_array_equal(loaded.mask, mask > 0)  # what is predicted stays
    assert load_subject(torn, few).target_mask is None
    np.testing.assert_array_equal(load_subject(subject, few, need_target=True).scored, mask > 0)
    for values, message in (
        (sound * 2, "sound.nii: expected a mask of 0 and 1"),
        (1 - mask, "sound.nii: expected voxels with a sound target inside the mask, found none"),
        (sound[1:], "sound.nii: expected shape"),
    ):
        write_nifti(folder / "sound.nii", values.astype(np.uint8))
        with pytest.raises(SubjectError, match=message):
            load_subject(torn, few, need_target=True)
    with pytest.raises(SubjectError, match="expected a target beside its target_mask, found none"):
        load_subject(replace(torn, target=None), few)


def test_a_target_that_is_constant_inside_the_mask_is_refused(parts, few):
    subject, image, _ = parts
    write_nifti(subject.target, np.full(image.shape[:3], 7, np.float32))
    with pytest.raises(SubjectError, match="stain.nii: expected a stain inside the mask, found 7 everywhere"):
        load_subject(subject, few, need_target=True)
    write_nifti(subject.target, np.zeros(image.shape[:3], np.float32))
    with pytest.raises(SubjectError, match="stain.nii: expected a stain inside the mask, found only zeros"):
        load_subject(subject, few, need_target=True)
