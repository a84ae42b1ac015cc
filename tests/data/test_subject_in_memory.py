from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from helpers.subjects import arrays_of, write_nifti
from mrh_monai.data.checked_voxels import ReadingOptions
from mrh_monai.data.input_kinds import load_subject, load_subjects
from mrh_monai.errors import MRHWarning, OptionError, SubjectError
from mrh_monai.io.volume_files import read_header, read_voxels
from mrh_monai.patch_geometry import PatchGeometry
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.subjects.folder_listing import find_subjects


def test_files_are_joined_along_channels_as_stored(parts, few):
    subject, image, mask = parts
    loaded = load_subject(subject, few, ReadingOptions(need_target=True))
    np.testing.assert_array_equal(loaded.image, image)
    np.testing.assert_array_equal(loaded.mask, mask == 1)
    np.testing.assert_allclose(loaded.target, image[..., 0] * 100)
    np.testing.assert_allclose(loaded.affine, np.diag([0.1, 0.1, 0.1, 1]), atol=1e-6)
    outside = loaded.padded.copy()
    outside[1:-1, 1:-1, 1:-1] = 0
    assert not outside.any()


def test_integers_stay_integers_and_all_subjects_share_one_memory(study):
    subjects = load_subjects(find_subjects(study, target="targets/AF.img"), MRH_NET, ReadingOptions(need_target=True))
    assert len(subjects) == 4
    assert {s.padded.dtype for s in subjects} == {np.dtype(np.int16)}
    assert all(s.padded.base is subjects[0].padded.base for s in subjects)
    files = [
        read_voxels(read_header(study / "subject02" / f"rigidaffine_{n}.img")) for n in ("Lddm_dwi2000", "Lddm_dwi5000", "lddm_t2MTONOFF")
    ]
    np.testing.assert_array_equal(subjects[1].image, np.concatenate(files, axis=-1))


def test_voxels_of_targets_and_fa_maps_are_read_only_where_needed(parts, few):
    target = write_nifti(parts[0].mask.parent / "stain.nii.gz", np.random.default_rng(0).random((6, 5, 4)))
    target.write_bytes(target.read_bytes()[:-200])
    subject = replace(parts[0], target=target, fa=target)
    loaded = load_subject(subject, few)
    assert loaded.target is loaded.fa is None
    for need in ("need_target", "need_fa"):
        with pytest.raises(SubjectError, match=r"stain.nii.gz: expected 1 volumes"):
            load_subject(subject, few, ReadingOptions(**{need: True}))


def test_memory_runs_along_the_patches_last_axis(parts, few):
    for axes in ((0, 1), (0, 2), (1, 2), (0, 1, 2)):
        loaded = load_subject(parts[0], few, ReadingOptions(patch=PatchGeometry(axes=axes)))
        np.testing.assert_array_equal(loaded.image, parts[1])
        assert loaded.padded.strides[axes[-1]] == 3 * loaded.padded.itemsize


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
@pytest.mark.parametrize("slices", [None, ((1, 2), (3, 5))])
@pytest.mark.parametrize("patch", [PatchGeometry(), PatchGeometry((0, 1, 2), 2)])
def test_arrays_give_the_same_subject_as_files(parts, few, dtype, slices, patch):
    subject, image, mask = parts
    values = np.round(image * 1000).astype(dtype)
    for path, voxels in zip(subject.image, (values[..., 0], values[..., 1:]), strict=True):
        write_nifti(path, voxels)
    intact = write_nifti(subject.mask.parent / "intact.nii", np.roll(mask, 1, axis=0))
    subject = replace(subject, slices=slices, target_mask=intact)
    options = ReadingOptions(need_target=True, patch=patch)
    from_files, from_arrays = load_subject(subject, few, options), load_subject(arrays_of(subject, dtype), few, options)
    assert from_arrays.padded.dtype == from_files.padded.dtype == dtype
    assert from_arrays.padded.strides == from_files.padded.strides
    for field in fields(from_files):
        if field.name == "placement":  # arrays have no header
            assert (from_files.placement.is_placed, from_arrays.placement) == (True, None)
            continue
        np.testing.assert_array_equal(getattr(from_arrays, field.name), getattr(from_files, field.name), err_msg=field.name)
    for name in ("image", "brain", "scored", "level_values"):
        np.testing.assert_array_equal(getattr(from_arrays, name), getattr(from_files, name), err_msg=name)


@pytest.mark.parametrize("kind", ["int16", ">i2", ">f4", "float64", "uint8"])
def test_arrays_keep_their_type_in_the_byte_order_of_the_machine(parts, few, kind):
    """Arrays of big-endian files keep their byte order, which torch refuses."""
    arrays = arrays_of(parts[0], ">f4")
    given = replace(arrays, image=np.round(arrays.image * 100).astype(kind), target=arrays.target.astype(">f4"))
    loaded = load_subject(given, few, ReadingOptions(need_target=True))
    assert loaded.padded.dtype == np.dtype(kind).newbyteorder("=")
    np.testing.assert_array_equal(loaded.image, given.image)
    assert torch.as_tensor(loaded.padded).shape == (8, 7, 6, 3)
    assert torch.as_tensor(loaded.target).shape == (6, 5, 4)


def test_a_target_of_arrays_is_read_only_where_needed(parts, few):
    arrays = arrays_of(parts[0])
    assert load_subject(arrays, few).target is None
    with pytest.raises(SubjectError, match=r"s: expected a target of shape \(6, 5, 4\), found no target; give the stain as `target`"):
        load_subject(replace(arrays, target=None), few, ReadingOptions(need_target=True))


def test_arrays_are_not_changed(parts, few):
    arrays = arrays_of(parts[0])
    arrays.image[0, 0, 0, 0] = np.nan  # outside the mask
    before = arrays.image.copy()
    loaded = load_subject(arrays, few)
    assert loaded.image[0, 0, 0, 0] == 0
    np.testing.assert_array_equal(arrays.image, before)
    assert not np.shares_memory(loaded.padded, arrays.image)


def spoiled(array, value, place=(2, 2, 2)):
    array = array.astype(np.float32)
    array[place] = value
    return array


SHAPES = r"s: expected an image \(X, Y, Z, C\), a mask \(X, Y, Z\) and an affine \(4, 4\), found image"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {"image": a.image[..., 0]}, SHAPES + r" \(6, 5, 4\), mask \(6, 5, 4\) and affine \(4, 4\); put the channels last"),
        (lambda a: {"image": np.moveaxis(a.image, 3, 0)}, SHAPES + r" \(3, 6, 5, 4\)"),
        (lambda a: {"mask": a.mask[:5]}, SHAPES + r" \(6, 5, 4, 3\), mask \(5, 5, 4\)"),
        (lambda a: {"mask": a.mask[..., None]}, SHAPES),
        (lambda a: {"affine": np.eye(3)}, SHAPES + r".* affine \(3, 3\)"),
        (lambda a: {"image": a.image[..., :2]}, r"s: expected 3 channels \(qa to mt_off\), found 2; list every image"),
        (
            lambda a: {"image": a.image.astype(complex)},
            "s, image: expected magnitude values .* found values of type complex128",
        ),
        (lambda a: {"image": a.image > 1}, "s, image: expected magnitude values .* found values of type bool"),
        (lambda a: {"image": spoiled(a.image, np.nan, (2, 2, 2, 1))}, r"s, image: expected numbers .* mt_on, found 1 NaN or Inf \(1.2%\)"),
        (lambda a: {"image": a.image * [1, 1, 0]}, "s, image: expected signal in channel mt_off, found only zeros in the mask"),
        (lambda a: {"mask": spoiled(a.mask, 7)}, "s, mask: expected a mask of 0 and 1, found the values 0, 1, 7; apply a threshold"),
        (lambda a: {"mask": spoiled(a.mask, np.nan)}, "s, mask: expected a mask of 0 and 1, found the values 0, 1, nan"),
        (lambda a: {"mask": a.mask * 0}, "s, mask: expected voxels inside the mask, found an empty mask"),
        (lambda a: {"mask": a.mask * (np.arange(5) > 1)[:, None], "slices": ((0, 2),)}, r"inside the mask in slices \[\[0, 2\]\]"),
        (lambda a: {"slices": ((3, 9),)}, r"s: expected slices within 0 and 5 \(stop excluded\) along array axis 1, .*, found \[3, 9\]"),
        (lambda a: {"target": a.target[:3]}, r"expected a target of shape \(6, 5, 4\), found a target of shape \(3, 5, 4\)"),
        (
            lambda a: {"target": spoiled(a.target, np.inf)},
            "s, target: expected numbers inside the mask, found 1 NaN or Inf .*; name the intact voxels in a target_mask",
        ),
        (lambda a: {"target": a.target * 0 + 7}, "s, target: expected a stain inside the mask, found 7 everywhere"),
        (lambda a: {"target_mask": spoiled(a.mask, 2)}, "s, target_mask: expected a mask of 0 and 1, found the values 0, 1, 2"),
        (
            lambda a: {"target_mask": a.mask[1:]},
            r"s: expected a target_mask of shape \(6, 5, 4\), found a target_mask of shape \(5",
        ),
        (
            lambda a: {"target_mask": 1 - a.mask},
            "s, target_mask: expected voxels with an intact target inside the mask, found no such voxel",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_one_sentence(parts, few, change, message):
    arrays = arrays_of(parts[0])
    with pytest.raises(SubjectError, match=message) as raised:
        load_subject(replace(arrays, **change(arrays)), few, ReadingOptions(need_target=True))
    assert "\n" not in str(raised.value)


def test_nan_in_arrays_become_zero_where_asked_for(parts, few):
    arrays = arrays_of(parts[0])
    given = replace(arrays, image=spoiled(arrays.image, np.nan, (2, 2, 2, 1)))
    with pytest.warns(MRHWarning, match="s, image: 1 NaN or Inf inside the mask"):
        assert load_subject(given, few, ReadingOptions(nan="zero")).image[2, 2, 2, 1] == 0


def test_slices_of_arrays_are_intersected(parts, few):
    arrays = replace(arrays_of(parts[0]), slices=((0, 1), (3, 5)))
    assert arrays.within(None) is arrays
    assert arrays.within(((0, 4),)).slices == ((0, 1), (3, 4))
    assert replace(arrays, slices=None).within(((0, 4),)).slices == ((0, 4),)
    with pytest.raises(OptionError, match="slices of s among"):
        arrays.within(((1, 2),))
