import json

import numpy as np
import pytest

from helpers.subjects import write_mrh_subject, write_nifti
from mrh_monai.errors import SubjectError
from mrh_monai.io.volume_files import read_header, read_voxels
from mrh_monai.subjects.folder_listing import find_subjects, is_subject_folder, list_folder
from mrh_monai.subjects.layout import Layout


@pytest.fixture
def mixed(tmp_path):
    """A folder with one subject of each kind, and with other files and folders."""
    write_mrh_subject(tmp_path / "m1")
    for name in ("m2", "m2_mask", "m3", "dwi", "dwi_mask"):
        write_nifti(tmp_path / f"{name}.nii.gz", np.ones((3, 3, 3), np.uint8))
    (tmp_path / "m4.mrh.json").write_text(json.dumps({"image": "dwi.nii.gz", "mask": "dwi_mask.nii.gz"}))
    (tmp_path / "broken.mrh.json").write_text("{")
    (tmp_path / "notes").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "._m2.nii.gz").write_bytes(b"a twin of macOS")
    (tmp_path / "readme.txt").touch()
    return tmp_path


def test_folders_images_and_manifests_are_subjects(mixed):
    subjects, others = list_folder(mixed)
    assert [path.name for path in subjects] == ["broken.mrh.json", "m1", "m2.nii.gz", "m3.nii.gz", "m4.mrh.json"]
    assert [path.name for path in others] == ["notes"]


def test_files_that_the_layout_names_are_no_subjects(mixed):
    subjects, others = list_folder(mixed, Layout(("m3.*",), mask="m2*"))
    assert [path.name for path in subjects] == ["broken.mrh.json", "m3.nii.gz", "m4.mrh.json"]
    assert [path.name for path in others] == ["m1", "notes"]


def test_a_folder_with_an_image_of_the_layout_is_a_subject(mixed):
    assert [is_subject_folder(mixed / name) for name in ("m1", "notes")] == [True, False]
    assert is_subject_folder(mixed, Layout(("m3.*",)))
    assert [subject.name for subject in find_subjects(mixed)] == ["m1"]
    with pytest.raises(SubjectError, match="expected sub-folders with qa"):
        find_subjects(mixed, Layout(("qa.*",)))


def test_twins_of_macos_and_snapshots_are_no_files_of_a_subject(tmp_path):
    folder = write_mrh_subject(tmp_path / "m1")
    for path in sorted(folder.iterdir()):
        (folder / f"._{path.name}").write_bytes(b"a twin")
    write_mrh_subject(tmp_path / ".snapshot" / "m1")
    write_mrh_subject(tmp_path / ".m2")
    assert [subject.name for subject in find_subjects(tmp_path)] == ["m1"]
    assert all(not path.name.startswith(".") for path in find_subjects(tmp_path)[0].image)


def test_pairs_in_upper_case_are_one_file(tmp_path):
    folder = write_mrh_subject(tmp_path / "m1")
    expected = [read_voxels(read_header(path)) for path in find_subjects(tmp_path)[0].image]
    for path in sorted(folder.glob("*.*")):
        path.rename(path.with_suffix(path.suffix.upper()))
    (subject,) = find_subjects(tmp_path)
    assert [path.suffix for path in subject.image] == [".IMG"] * 3
    for path, voxels in zip(subject.image, expected, strict=True):
        np.testing.assert_array_equal(read_voxels(read_header(path)), voxels)
        assert read_header(path.with_suffix(".HDR")).shape == read_header(path).shape


def test_a_target_of_each_animal_is_named_by_its_folder(tmp_path):
    for name in ("m1", "m2"):
        write_mrh_subject(tmp_path / name)
        write_nifti(tmp_path / f"Axon_to_{name}.nii", np.ones((3, 3, 3), np.uint8))
    targets = [subject.target.name for subject in find_subjects(tmp_path, target="Axon_to_{subject}.nii")]
    assert targets == ["Axon_to_m1.nii", "Axon_to_m2.nii"]
