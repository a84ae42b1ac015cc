"""One path, one subject."""

import json
import re

import pytest

from helpers.subjects import write_mrh_subject
from mrh_monai.errors import DatalistError, SubjectError
from mrh_monai.subjects.folder_listing import find_subjects
from mrh_monai.subjects.subject import Subject
from mrh_monai.subjects.subject_search import find_input, find_subject, input_name


@pytest.fixture
def scan(tmp_path):
    """An image whose name holds what a pattern would take for a wildcard."""
    path = tmp_path / "mouse[7].nii.gz"
    path.touch()
    return path


def test_a_folder_is_the_subject_in_it(study):
    assert find_input(study / "subject01") == find_subject(study / "subject01")


def test_a_4d_image_goes_with_the_mask_and_the_fa_map_beside_it(scan):
    mask, fa = scan.with_name("mouse[7]_mask.img"), scan.with_name("mouse[7]_fa.nii")
    for name in ("mouse7_mask.nii.gz", "mouse[7]_mask.hdr", "mouse[7]_mask.txt"):
        scan.with_name(name).touch()
    fa.touch()
    assert find_input(scan) == Subject("mouse[7]", (scan,), None, fa)
    mask.touch()
    assert find_input(scan) == Subject("mouse[7]", (scan,), mask, fa)


def test_a_4d_image_without_a_mask_is_refused(scan):
    with pytest.raises(
        SubjectError, match=r"its mask or its FA map beside it, as mouse\[7\]_mask.nii.gz or mouse\[7\]_fa.nii.gz, found neither"
    ):
        find_input(scan)


def test_two_masks_are_refused(scan):
    for kind in ("nii", "img"):
        scan.with_name(f"mouse[7]_mask.{kind}").touch()
    with pytest.raises(SubjectError, match=r"one file mouse\[7\]_mask\.\*, found mouse\[7\]_mask.img, mouse\[7\]_mask.nii"):
        find_input(scan)


def test_a_manifest_is_one_entry_of_a_datalist(tmp_path):
    path = tmp_path / "m1.mrh.json"
    path.write_text(json.dumps({"image": ["a.nii", "../b.nii"], "mask": "mask.nii", "slices": [[1, 3]]}))
    assert find_input(path) == Subject("m1", (tmp_path / "a.nii", tmp_path / "../b.nii"), tmp_path / "mask.nii", slices=((1, 3),))
    path.write_text(json.dumps({"subject": "other", "image": "a.nii", "fa": "fa.nii"}))
    assert find_input(path).name == "other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "m1.mrh.json: expected a manifest in JSON, found a file that is not valid JSON"),
        ("[]", "expected an object with `subject` and `image`"),
        ('{"image": "a.nii"}', "expected a mask, or an FA map instead, found no mask and no FA map"),
        ('{"image": "a.nii", "mask": "m.nii", "masks": 1}', r"found \['masks'\]"),
    ],
)
def test_a_wrong_manifest_is_named(tmp_path, text, message):
    path = tmp_path / "m1.mrh.json"
    path.write_text(text)
    with pytest.raises(DatalistError, match=message):
        find_input(path)


def test_a_mat_file_is_a_file_of_patches(tmp_path):
    path = tmp_path / "testdata.mat"
    path.touch()
    assert find_input(path) == Subject("testdata", (path,))


@pytest.mark.parametrize("name", ["nothing.nii.gz", "notes.txt", "m1_mask.nii.gz", "m1.hdr"])
def test_anything_else_is_refused(tmp_path, name):
    if not name.startswith("nothing"):
        (tmp_path / name).touch()
    with pytest.raises(SubjectError, match="expected a subject's folder, a 4D image, a manifest"):
        find_input(tmp_path / name)


def test_names_of_inputs(tmp_path):
    names = ["a.nii.gz", "A.NII", "b.img", "b.hdr", "a_mask.nii.gz", "a_fa.img", "c.mrh.json", ".mrh.json", "x.txt"]
    assert [input_name(tmp_path / name) for name in names] == ["a", "A", "b", None, None, None, "c", None, None]


def shiverer(folder):
    """The published mutant's files: without `Lddm` in their names, and without a mask."""
    write_mrh_subject(folder)
    for path in sorted(folder.glob("rigidaffine_?ddm_*")):
        path.rename(folder / re.sub("_[Ll]ddm_", "_", path.name))
    for path in sorted(folder.glob("Masked_outline.*")):
        path.unlink()
    return folder


def test_the_published_shiverer_is_a_subject(tmp_path):
    subject = find_subject(shiverer(tmp_path / "S4"))
    assert [path.name for path in subject.image] == [f"rigidaffine_{part}.img" for part in ("dwi2000", "dwi5000", "t2MTONOFF")]
    assert (subject.mask, subject.fa.name) == (None, "rigidaffine_fa.img")
    assert [found.name for found in find_subjects(tmp_path)] == ["S4"]
    assert find_input(tmp_path / "S4") == subject
    for path in sorted((tmp_path / "S4").glob("rigidaffine_fa.*")):
        path.unlink()
    with pytest.raises(SubjectError, match="S4: expected one file Masked_outline"):
        find_subject(tmp_path / "S4")


def test_a_control_without_a_mask_is_incomplete(tmp_path):
    folder = write_mrh_subject(tmp_path / "C3")
    for path in sorted(folder.glob("Masked_outline.*")):
        path.unlink()
    with pytest.raises(SubjectError, match="C3: expected one file Masked_outline"):
        find_subject(folder)
