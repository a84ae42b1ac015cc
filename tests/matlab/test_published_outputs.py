"""Released outputs as volumes, against the released code's own loops."""

import zipfile

import nibabel
import numpy as np
import pytest
import scipy.io

from helpers.patch_file_writing import write_patch_file
from mrh_monai.data.grid import check_one_grid
from mrh_monai.errors import MRHWarning, OptionError, SubjectError
from mrh_monai.io.nibabel_files import write_analyze
from mrh_monai.io.volume_files import read_header
from mrh_monai.matlab.published_outputs import read_in_template_order, reconstruct_slices


def by_loops(predicted, fa, height, width):
    """One slice as the released `MRH_recon.m` does it, but with its last patch."""
    count, result = 0, np.zeros((height, width))
    for x in range(1, height - 1):
        for z in range(1, width - 1):
            result[x, z] = predicted[1, 1, 0, count] if fa[1, 1, 0, count] > 0 else 0
            count += 1
    return result


@pytest.mark.parametrize("version", ["v7", "v7.3"])
def test_patches_go_back_where_they_were_cut(tmp_path, rng, version):
    height, width, slices = 7, 5, 3
    count = (height - 2) * (width - 2)
    predicted = rng.normal(0, 1, (3, 3, 1, slices * count)).astype(np.float32)
    fa = rng.integers(0, 3, (3, 3, 1, slices * count)).astype(np.uint8)
    fa[..., -1] = 1
    volume = reconstruct_slices(write_patch_file(tmp_path / "YPred.mat", version, YPred=predicted, fa=fa), height, width)
    assert volume.shape == (height, slices, width)
    for index in range(slices):
        part = slice(index * count, (index + 1) * count)
        np.testing.assert_array_equal(volume[:, index], by_loops(predicted[..., part], fa[..., part], height, width).astype(np.float32))
    assert volume[-2, -1, -2] == predicted[1, 1, 0, -1]  # the patch that the released code leaves out


def test_wrong_sizes_and_files_are_said(tmp_path, rng):
    predicted = rng.normal(0, 1, (3, 3, 1, 15))
    path = write_patch_file(tmp_path / "YPred.mat", YPred=predicted)
    with pytest.warns(MRHWarning, match="the variable fa is missing"):
        assert np.count_nonzero(reconstruct_slices(path, 7, 5)) == 15
    with pytest.warns(MRHWarning), pytest.raises(SubjectError, match=r"a multiple of \(200 - 2\) x \(128 - 2\) = 24948 patches, found 15"):
        reconstruct_slices(path, 200, 128)
    with pytest.raises(OptionError, match="expected at least 3, found 2 and 128"):
        reconstruct_slices(path, 2, 128)
    with pytest.raises(SubjectError, match="expected the variable YPred, found only data"):
        reconstruct_slices(write_patch_file(tmp_path / "other.mat", data=predicted), 7, 5)
    (tmp_path / "text.mat").write_text("no MATLAB file")
    with pytest.raises(SubjectError, match="expected a MATLAB file of version 5 or 7.3, found a file of another kind"):
        reconstruct_slices(tmp_path / "text.mat", 7, 5)


def test_nan_in_predictions_become_0_and_are_said(tmp_path):
    predicted = np.ones((3, 3, 1, 15), np.float32)
    predicted[1, 1, 0, 4] = np.nan
    path = write_patch_file(tmp_path / "YPred.mat", YPred=predicted, fa=np.ones((3, 3, 1, 15), np.uint8))
    with pytest.warns(MRHWarning, match="1 values of YPred are NaN or Inf, and became 0"):
        volume = reconstruct_slices(path, 7, 5)
    assert volume.sum() == 14


def test_the_released_slice_lies_where_the_released_volume_has_it(shared, tmp_path):
    """Two released outputs of one network, in two formats: slice 140, counted from 1, agrees best and the right way round."""
    published = shared / "mouse_kit" / "published"
    path = published / "YPred_auto.mat"
    found = reconstruct_slices(path, 200, 128)
    content = scipy.io.loadmat(path)
    np.testing.assert_array_equal(found[:, 0], by_loops(content["YPred"], content["fa"], 200, 128).astype(np.float32))
    with zipfile.ZipFile(published / "MRH_autofluo_output.zip") as archive:
        archive.extractall(tmp_path)
    volume = read_in_template_order(tmp_path / "fluo_No-noisy_R3.img")
    assert volume.shape == (200, 280, 128)

    def agreement(other):
        return np.corrcoef(found[:, 0].ravel(), other.ravel())[0, 1]

    by_slice = [agreement(volume[:, y]) for y in range(130, 150)]
    assert 130 + int(np.argmax(by_slice)) == 139
    assert max(by_slice) > 0.95
    assert agreement(volume[:, 139]) > agreement(volume[::-1, 139]) + 0.003  # left and right differ little
    assert agreement(volume[:, 139]) > agreement(volume[:, 139, ::-1]) + 0.2


def test_released_volumes_come_in_the_templates_order(shared, tmp_path):
    for name, member, same in (
        ("MRH_autofluo_output", "fluo_No-noisy_R3", "af"),
        ("MRH_axon_output", "axonfrom6subj_C1", "nf_c1"),
        ("MRH_nissl_output", "pred_ns", "nissl"),
    ):
        with zipfile.ZipFile(shared / "mouse_kit" / "published" / f"{name}.zip") as archive:
            archive.extractall(tmp_path)
        expected = np.asarray(nibabel.load(shared / "mouse_kit" / "histology" / f"{same}.nii.gz").dataobj)
        np.testing.assert_array_equal(read_in_template_order(tmp_path / f"{member}.img"), expected)


def test_axes_can_be_named(tmp_path, rng):
    voxels = rng.integers(0, 200, (4, 5, 6)).astype(np.uint8)
    write_analyze(tmp_path / "odd.img", voxels, 1.0)
    np.testing.assert_array_equal(read_in_template_order(tmp_path / "odd.img", "1,2,0"), voxels.transpose(1, 2, 0))
    np.testing.assert_array_equal(read_in_template_order(tmp_path / "odd.img", "-1, 2, -0"), voxels.transpose(1, 2, 0)[::-1, :, ::-1])
    with pytest.raises(SubjectError, match=r"expected the shape of a released volume, .* found \(4, 5, 6\); name its axes with --axes"):
        read_in_template_order(tmp_path / "odd.img")
    for axes in ("1,2", "0,0,1", "x,y,z", "0,1,3", ""):
        with pytest.raises(OptionError, match="axes: expected the axes 0, 1 and 2"):
            read_in_template_order(tmp_path / "odd.img", axes)


def test_a_volume_in_another_order_is_told_what_puts_it_right(tmp_path):
    write_analyze(tmp_path / "a.img", np.ones((4, 5, 6), np.uint8), 1.0)
    write_analyze(tmp_path / "b.img", np.ones((6, 4, 5), np.uint8), 1.0)
    with pytest.raises(SubjectError, match="put its axes in order with `mrh reorder`"):
        check_one_grid([read_header(tmp_path / "a.img"), read_header(tmp_path / "b.img")])
