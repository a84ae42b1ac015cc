import gzip

import itk
import nibabel
import numpy as np
import pytest

from helpers.subjects import write_nifti as save
from mrh_monai.errors import OutputError, SubjectError
from mrh_monai.io.volume_files import read_header, read_voxels, write_analyze, write_nifti

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


@pytest.mark.parametrize("ending", ["nrrd", "mha", "mhd"])
@pytest.mark.parametrize("kind", ["3D", "4D", "vector"])
def test_itk_formats_lie_where_nifti_does(tmp_path, rng, ending, kind):
    voxels = rng.integers(0, 99, (5, 4, 3, 2)[: 3 if kind == "3D" else 4]).astype(np.int16)
    image = itk.image_from_array(np.moveaxis(voxels, 3, 0).T.copy() if kind == "vector" else voxels.T.copy(), is_vector=kind == "vector")
    image.SetSpacing([0.1, 0.2, 0.3, 1][: image.GetImageDimension()])
    image.SetOrigin([5.0, 3.0, 1.0, 0][: image.GetImageDimension()])
    itk.imwrite(image, str(tmp_path / f"a.{ending}"))
    header = read_header(tmp_path / f"a.{ending}")
    assert (header.shape, header.channels, header.dtype) == ((5, 4, 3), 1 if kind == "3D" else 2, np.int16)
    np.testing.assert_allclose(header.affine, [[-0.1, 0, 0, -5], [0, -0.2, 0, -3], [0, 0, 0.3, 1], [0, 0, 0, 1]], atol=1e-9)
    np.testing.assert_array_equal(read_voxels(header), voxels.reshape(5, 4, 3, -1))


@pytest.mark.parametrize("ending", ["nrrd", "mha", "mhd"])
def test_oblique_itk_volumes_lie_where_itk_says(tmp_path, ending):
    image = itk.image_from_array(np.zeros((3, 4, 5), np.int16))
    image.SetDirection(itk.matrix_from_array(np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])))
    image.SetSpacing([0.1, 0.2, 0.3])
    image.SetOrigin([5.0, 3.0, 1.0])
    itk.imwrite(image, str(tmp_path / f"a.{ending}"))
    point = np.array(image.TransformIndexToPhysicalPoint([1, 2, 1]))
    found = read_header(tmp_path / f"a.{ending}").affine @ [1, 2, 1, 1]
    np.testing.assert_allclose(found[:3], point * [-1, -1, 1], atol=1e-6)


def test_complex_volumes_are_refused(tmp_path):
    with pytest.raises(SubjectError, match="magnitude values .*found voxels of type complex64"):
        read_header(save(tmp_path / "a.nii", np.zeros((3, 3, 3), np.complex64)))


def test_trailing_axes_of_length_1_are_dropped(tmp_path):
    header = read_header(save(tmp_path / "a.nii", np.zeros((5, 4, 3, 1, 1), np.uint8)))
    assert (header.shape, header.channels) == ((5, 4, 3), 1)
    assert read_voxels(header).shape == (5, 4, 3, 1)


def test_scaled_integers_are_read_as_numbers(tmp_path, rng):
    values = rng.uniform(0, 1, (5, 4, 3)).astype(np.float32)
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "a.nii")
    header = read_header(tmp_path / "a.nii")
    assert header.dtype == np.float32
    np.testing.assert_allclose(read_voxels(header)[..., 0], values, atol=1e-4)


@pytest.mark.parametrize("name", ["a.nii", "a.img", "a.mha"])
@pytest.mark.parametrize("kept", [0, 10, 0.5, -1])
def test_truncated_files_are_named(tmp_path, name, kept):
    voxels = np.arange(500, dtype=np.int16).reshape(10, 10, 5)
    if name == "a.nii":
        save(tmp_path / name, voxels)
    elif name == "a.img":
        write_analyze(tmp_path / name, voxels, 0.1)
    else:
        itk.imwrite(itk.image_from_array(voxels), str(tmp_path / name))
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * kept) if isinstance(kept, float) else kept])
    with pytest.raises(SubjectError, match=rf"{name}: expected .*, found .*; copy the file again"):
        read_voxels(read_header(tmp_path / name))


def test_truncated_gzip_is_named(tmp_path):
    whole = gzip.compress(save(tmp_path / "a.nii", np.random.default_rng(0).integers(0, 9999, (20, 20, 20)).astype(np.int16)).read_bytes())
    (tmp_path / "a.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SubjectError, match=r"a.nii.gz: expected 1 volumes of \(20, 20, 20\) voxels, found .*; copy"):
        read_voxels(read_header(tmp_path / "a.nii.gz"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "a.nii", "expected a file, found none"),
        (lambda p: p, "expected a volume file, found a folder"),
        (lambda p: (p / "a.txt").write_text("x") and p / "a.txt", r"found the ending '.txt'; convert it"),
        (lambda p: (p / "a.nii").write_bytes(b"no image at all" * 50) and p / "a.nii", "expected a readable .nii file"),
        (lambda p: save(p / "a.nii", np.zeros((5, 4), np.uint8)), "expected a 3D volume or 4D list"),
        (lambda p: save(p / "a.nii", np.zeros((5, 4, 3, 2, 2), np.uint8)), "expected a 3D volume or 4D list"),
        (lambda p: (p / "a.mha").write_text("nothing") and p / "a.mha", "expected a readable .mha file"),
    ],
)
def test_what_is_no_volume_is_refused(tmp_path, make, message):
    with pytest.raises(SubjectError, match=message):
        read_header(make(tmp_path))


def test_pair_without_voxels_is_named(tmp_path):
    write_analyze(tmp_path / "a.img", np.zeros((3, 3, 3), np.uint8), 0.1)
    (tmp_path / "a.img").unlink()
    with pytest.raises(SubjectError, match="a.img"):
        read_header(tmp_path / "a.hdr")


def test_output_must_be_nifti(tmp_path):
    with pytest.raises(OutputError, match="ending in .nii or .nii.gz"):
        write_nifti(tmp_path / "a.png", np.zeros((2, 2, 2), np.float32), np.eye(4))


@pytest.mark.parametrize("broken", [np.zeros((3, 4)), np.full((3, 4), np.nan)])
def test_an_affine_without_volume_is_refused(tmp_path, broken):
    image = nibabel.Nifti1Image(np.ones((3, 3, 3), np.int16), np.eye(4))
    image.header["srow_x"], image.header["srow_y"], image.header["srow_z"] = broken
    (tmp_path / "a.nii").write_bytes(image.header.binaryblock + bytes(4) + image.get_fdata().astype(np.int16).tobytes())
    with pytest.raises(SubjectError, match="a.nii: expected an affine that gives every voxel a place of its own"):
        read_header(tmp_path / "a.nii")
