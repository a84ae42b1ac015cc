import itk
import numpy as np
import pytest

from helpers.subjects import write_nifti as save
from mrh_monai.errors import SubjectError
from mrh_monai.io.nibabel_files import write_analyze
from mrh_monai.io.volume_files import read_header, read_voxels

AFFINES = {
    "RAS": np.diag([0.1, 0.2, 0.3, 1.0]),
    "LAS": np.diag([-0.1, 0.2, 0.3, 1.0]),
    "LPS": np.diag([-0.1, -0.2, 0.3, 1.0]) + np.array([[0, 0, 0, 5], [0, 0, 0, -3], [0, 0, 0, 1], [0, 0, 0, 0]]),
    "oblique": np.array([[0.08, -0.06 * 2, 0, 1], [0.06, 0.08 * 2, 0, 2], [0, 0, 0.3, 3], [0, 0, 0, 1]]),
}


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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "a.nii", "expected a volume file, found no such file"),
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
