"""What can be done with volumes, patch files and arrays: each kind against the functions of its own module."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest
import scipy.io

from helpers.patch_file_writing import write_patch_file
from mrh_monai.data.checked_voxels import ReadingOptions
from mrh_monai.data.input_kinds import ARRAYS, PATCH_FILE, VOLUMES, input_kind, load_subject, load_subjects, need_grid, open_subject
from mrh_monai.data.slabs import FileSlabs, PaddedImage
from mrh_monai.errors import OutputError, SubjectError
from mrh_monai.subjects import SubjectArrays
from mrh_monai.subjects.subject import Subject


@pytest.fixture
def kinds(parts, few, tmp_path, rng):
    """The same study three times: volumes, arrays, and a patch file with other voxels."""
    subject, image, mask = parts
    arrays = SubjectArrays(image, mask, np.diag([0.1, 0.1, 0.1, 1]), target=image[..., 0] * 100, name="arrays")
    data = np.sort(rng.uniform(1, 2, (3, 3, 3, 5)), axis=2)
    path = write_patch_file(tmp_path / "patches.mat", data=data, label=data[:, :, :1] * 90)
    return {"volumes": subject, "arrays": arrays, "patches": Subject("patches", (path,))}


def test_a_subject_is_of_one_kind(kinds):
    assert [input_kind(subject) for subject in kinds.values()] == [VOLUMES, ARRAYS, PATCH_FILE]
    assert [kind.has_grid for kind in (VOLUMES, ARRAYS, PATCH_FILE)] == [True, True, False]
    assert [kind.result_ending for kind in (VOLUMES, ARRAYS, PATCH_FILE)] == [".nii.gz", ".nii.gz", ".mat"]
    assert [kind.description for kind in (VOLUMES, ARRAYS, PATCH_FILE)] == ["volumes", "NumPy arrays", "a patch file"]


@pytest.mark.parametrize("name", ["volumes", "arrays", "patches"])
def test_opened_subjects_hold_the_numbers_of_loaded_ones(kinds, few, name):
    options = ReadingOptions(need_target=True)
    loaded, opened = load_subject(kinds[name], few, options), open_subject(kinds[name], few, options)
    assert isinstance(opened.slabs, FileSlabs if name == "volumes" else PaddedImage)
    assert opened.name == loaded.name == kinds[name].name
    np.testing.assert_array_equal(opened.slabs.slab(0, 5), loaded.slabs.slab(0, 5))
    for key in ("mask", "affine", "level_values", "target", "scored", "largest"):
        np.testing.assert_array_equal(getattr(opened, key), getattr(loaded, key))
    opened.close()


def test_subjects_are_loaded_together_in_their_order(kinds, few, tmp_path):
    for name in ("volumes", "arrays", "patches"):
        pair = [kinds[name], replace(kinds[name], name="again")]
        assert [subject.name for subject in load_subjects(pair, few)] == [kinds[name].name, "again"]
    assert load_subjects([], few) == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["volumes", "patches"], "s: expected one patch file, like the other subjects, found volumes; list volumes and patch files"),
        (["patches", "volumes"], "s: expected one patch file, like the other subjects, found volumes"),
        (
            ["volumes", "arrays"],
            "arrays: expected files, like the other subjects, found NumPy arrays; give all subjects as files",
        ),
        (["patches", "arrays"], "arrays: expected files, like the other subjects, found NumPy arrays"),
        (
            ["arrays", "volumes"],
            "s: expected NumPy arrays, like the other subjects, found files; give all subjects as files",
        ),
        (["arrays", "patches"], "arrays: expected files, like the other subjects, found NumPy arrays"),
    ],
)
def test_mixed_kinds_are_refused(kinds, few, names, message):
    with pytest.raises(SubjectError, match=message):
        load_subjects([kinds[name] for name in names], few)


def test_headers_are_checked_before_voxels_are_read(kinds, few):
    for subject in kinds.values():
        input_kind(subject).image_headers(subject, few)
    kinds["volumes"].image[1].unlink()
    with pytest.raises(SubjectError, match="mt.nii: expected a volume file, found no such file"):
        VOLUMES.image_headers(kinds["volumes"], few)
    with pytest.raises(SubjectError, match="s: expected a target, found no target in the datalist"):
        VOLUMES.image_headers(replace(kinds["volumes"], target=None), few, need_target=True)


@pytest.mark.parametrize("kind", [VOLUMES, ARRAYS])
def test_stains_on_a_grid_are_written_as_nifti(tmp_path, rng, kind):
    stain, affine = rng.random((4, 3, 2)).astype(np.float32), np.diag([0.1, 0.2, 0.3, 1.0])
    kind.check_output(tmp_path / "new" / "af.nii")
    kind.write_stain(tmp_path / "new" / "af.nii", stain, stain > 0.5, affine)
    image = nibabel.load(tmp_path / "new" / "af.nii")
    np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), stain)
    np.testing.assert_allclose(image.affine, affine)
    with pytest.raises(OutputError, match="af.mat: expected a name ending in .nii or .nii.gz, found '.mat'"):
        kind.check_output(tmp_path / "af.mat")


def test_stains_of_patches_are_written_as_a_mat_file(tmp_path):
    stain, mask = np.zeros((3, 4, 3), np.float32), np.zeros((3, 4, 3), bool)
    stain[1, :, 1], mask[1, :3, 1] = [5, 6, 7, 0], True
    PATCH_FILE.check_output(tmp_path / "YPred.mat")
    PATCH_FILE.write_stain(tmp_path / "YPred.mat", stain, mask, np.eye(4))
    found = scipy.io.loadmat(tmp_path / "YPred.mat")
    np.testing.assert_array_equal(found["YPred"].ravel(), [5, 6, 7, 0])
    np.testing.assert_array_equal(found["fa"].ravel(), [1, 1, 1, 0])
    with pytest.raises(OutputError, match=r"af\.nii\.gz: expected a name ending in \.mat, because patches lie on no grid"):
        PATCH_FILE.check_output(tmp_path / "af.nii.gz")


def test_a_grid_is_needed_where_slices_and_regions_are(kinds):
    need_grid([kinds["volumes"], kinds["arrays"]], "to compare")
    need_grid([], "to compare")
    message = r"patches\.mat: expected volumes to compare, found a patch file; list the volumes from which the patches were cut"
    with pytest.raises(SubjectError, match=message):
        need_grid(list(kinds.values()), "to compare")
