import itk
import numpy as np
import pytest

from helpers.subjects import write_nifti as save
from mrh_monai.errors import SubjectError
from mrh_monai.io.volume_files import read_header, read_voxels

AFFINES = {
    "RAS": np.diag([0.1, 0.2, 0.3, 1.0]),
    "LAS": np.diag([-0.1, 0.2, 0.3, 1.0]),
    "LPS": np.diag([-0.1, -0.2, 0.3, 1.0]) + np.array([[0, 0, 0, 5], [0, 0, 0, -3], [0, 0, 0, 1], [0, 0, 0, 0]]),
    "oblique": np.array([[0.08, -0.06 * 2, 0, 1], [0.06, 0.08 * 2, 0, 2], [0, 0, 0.3, 3], [0, 0, 0, 1]]),
}


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
