import nibabel
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


def test_trailing_axes_of_length_1_are_dropped(tmp_path):
    header = read_header(save(tmp_path / "a.nii", np.zeros((5, 4, 3, 1, 1), np.uint8)))
    assert (header.shape, header.channels) == ((5, 4, 3), 1)
    assert read_voxels(header).shape == (5, 4, 3, 1)


@pytest.mark.parametrize("broken", [np.zeros((3, 4)), np.full((3, 4), np.nan)])
def test_an_affine_without_volume_is_refused(tmp_path, broken):
    image = nibabel.Nifti1Image(np.ones((3, 3, 3), np.int16), np.eye(4))
    image.header["srow_x"], image.header["srow_y"], image.header["srow_z"] = broken
    (tmp_path / "a.nii").write_bytes(image.header.binaryblock + bytes(4) + image.get_fdata().astype(np.int16).tobytes())
    with pytest.raises(SubjectError, match="a.nii: expected an affine that gives every voxel a place of its own"):
        read_header(tmp_path / "a.nii")
