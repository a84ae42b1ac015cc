import gzip

import nibabel
import numpy as np
import pytest

from helpers.subjects import write_nifti as save
from mrh_monai.errors import OutputError, SubjectError
from mrh_monai.io.nibabel_files import write_analyze, write_nifti
from mrh_monai.io.volume_files import read_header, read_voxels

AFFINES = {
    "RAS": np.diag([0.1, 0.2, 0.3, 1.0]),
    "LAS": np.diag([-0.1, 0.2, 0.3, 1.0]),
    "LPS": np.diag([-0.1, -0.2, 0.3, 1.0]) + np.array([[0, 0, 0, 5], [0, 0, 0, -3], [0, 0, 0, 1], [0, 0, 0, 0]]),
    "oblique": np.array([[0.08, -0.06 * 2, 0, 1], [0.06, 0.08 * 2, 0, 2], [0, 0, 0.3, 3], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("frame", AFFINES)
def test_nifti_comes_back_as_written(tmp_path, rng, name, frame):
    voxels = rng.integers(-9, 9, (5, 4, 3)).astype(np.int16)
    write_nifti(tmp_path / name, voxels, AFFINES[frame])
    header = read_header(tmp_path / name)
    assert (header.shape, header.channels, header.dtype, header.has_affine) == ((5, 4, 3), 1, np.int16, True)
    np.testing.assert_allclose(header.affine, AFFINES[frame], atol=1e-6)
    np.testing.assert_array_equal(read_voxels(header)[..., 0], voxels)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
def test_analyze_comes_back_as_written_and_as_nibabel_reads_it(tmp_path, rng, dtype):
    voxels = rng.integers(0, 99, (5, 4, 3, 2)).astype(dtype)
    write_analyze(tmp_path / "a.img", voxels, 0.0625)
    np.testing.assert_array_equal(np.asarray(nibabel.load(tmp_path / "a.img").dataobj), voxels)
    for name in ("a.img", "a.hdr"):
        header = read_header(tmp_path / name)
        assert (header.shape, header.channels, header.dtype, header.has_affine) == ((5, 4, 3), 2, dtype, False)
        assert header.spacing == (0.0625,) * 3
        np.testing.assert_array_equal(read_voxels(header), voxels)


def test_scaled_integers_are_read_as_numbers(tmp_path, rng):
    values = rng.uniform(0, 1, (5, 4, 3)).astype(np.float32)
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "a.nii")
    header = read_header(tmp_path / "a.nii")
    assert header.dtype == np.float32
    np.testing.assert_allclose(read_voxels(header)[..., 0], values, atol=1e-4)


def test_truncated_gzip_is_named(tmp_path):
    whole = gzip.compress(save(tmp_path / "a.nii", np.random.default_rng(0).integers(0, 9999, (20, 20, 20)).astype(np.int16)).read_bytes())
    (tmp_path / "a.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SubjectError, match=r"a.nii.gz: expected 1 volumes of \(20, 20, 20\) voxels, found .*; copy"):
        read_voxels(read_header(tmp_path / "a.nii.gz"))


def test_pair_without_voxels_is_named(tmp_path):
    write_analyze(tmp_path / "a.img", np.zeros((3, 3, 3), np.uint8), 0.1)
    (tmp_path / "a.img").unlink()
    with pytest.raises(SubjectError, match="a.img"):
        read_header(tmp_path / "a.hdr")


def test_output_must_be_nifti(tmp_path):
    with pytest.raises(OutputError, match="ending in .nii or .nii.gz"):
        write_nifti(tmp_path / "a.png", np.zeros((2, 2, 2), np.float32), np.eye(4))
