import pytest

from mrh_monai.errors import OptionError
from mrh_monai.subjects.file_geometry import FileGeometry
from mrh_monai.subjects.subject import Subject


@pytest.mark.parametrize("size", [(0.14, 0.14), (0.14, 0.14, 0), (1, 1, -1), (1, 1, float("nan")), "wide", 5])
def test_a_voxel_size_is_three_lengths(size):
    with pytest.raises(OptionError, match="voxel_size: expected three lengths in mm above 0"):
        Subject("s", ("a.nii",), voxel_size=size)


@pytest.mark.parametrize("axis", [3, -1, True, "1", 1.5])
def test_a_coronal_axis_is_an_array_axis(axis):
    with pytest.raises(OptionError, match="coronal_axis: expected 0, 1 or 2, found"):
        Subject("s", ("a.nii",), coronal_axis=axis)


def test_what_is_not_stated_stays():
    subject = Subject("s", ("a.nii",), voxel_size=(1, 1, 2), coronal_axis=2)
    assert subject.stated(FileGeometry()) == subject
    assert subject.stated(FileGeometry(coronal_axis=0)) == Subject("s", ("a.nii",), voxel_size=(1, 1, 2), coronal_axis=0)
    assert subject.stated(FileGeometry((1, 2, 1))) == Subject("s", ("a.nii",), voxel_size=(1, 2, 1), coronal_axis=2)
