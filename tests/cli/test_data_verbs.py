import json

import numpy as np
import pytest

from helpers.subjects import write_nifti


def test_phantom_writes_subjects_that_datalist_finds(call, tmp_path):
    status, out, _ = call("phantom", tmp_path / "p", "--subjects", 3, "--shape", 24, 4, 24, "--seed", 1)
    assert status == 0
    assert [line.rsplit("/", 1)[1] for line in out.splitlines()] == ["subject01", "subject02", "subject03"]
    words = ("--target", "targets/AllenPathology2P60.img", "--train", 1, "--val", 1, "-o", tmp_path / "p" / "d.json")
    status, out, _ = call("datalist", tmp_path / "p", *words)
    assert (status, out.strip().split(": ")[1]) == (0, "1 training, 1 validation, 1 test")
    entry = json.loads((tmp_path / "p" / "d.json").read_text())["training"][0]
    assert entry["target"] == "subject01/targets/AllenPathology2P60.img"


def test_datalist_splits_one_brain_by_slices(call, study, tmp_path):
    status, _, _ = call("datalist", study, "--train-slices", "0:2,3:4", "--test-slices", "4:6", "-o", tmp_path / "d.json")
    lists = json.loads((tmp_path / "d.json").read_text())
    assert status == 0
    assert [len(lists[key]) for key in ("training", "validation", "test")] == [4, 0, 4]
    assert lists["training"][0]["slices"] == [[0, 2], [3, 4]]


def test_datalist_of_another_layout(call, tmp_path):
    for name in ("a", "b"):
        for file in ("qa.nii.gz", "iso.nii.gz", "mask.nii.gz"):
            write_nifti(tmp_path / name / file, np.ones((4, 4, 4), np.uint8))
    (tmp_path / "layout.yaml").write_text("image: [qa.nii.gz, iso.nii.gz]\nmask: mask.nii.gz\n")
    status, _, _ = call("datalist", tmp_path, "--layout", tmp_path / "layout.yaml", "-o", tmp_path / "d.json")
    assert status == 0
    assert json.loads((tmp_path / "d.json").read_text())["test"][1] == {
        "subject": "b", "image": ["b/qa.nii.gz", "b/iso.nii.gz"], "mask": "b/mask.nii.gz"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["datalist", "nowhere", "-o", "d.json"],
            "error: nowhere: expected a folder of subject folders, found no such folder; check the path.",
        ),
        (["datalist", "{study}", "--train", "9", "-o", "d.json"], "expected at least 9 subjects"),
        (["datalist", "{study}", "--train-slices", "5", "-o", "d.json"], "slices: expected ranges such as 0:13,17:30"),
        (["datalist", "{study}", "--target", "none.img", "-o", "d.json"], "expected the target none.img in the folder or beside it"),
        (
            ["datalist", "{study}", "--train", "1", "--test-slices", "0:2", "-o", "d.json"],
            "expected subjects divided either by number or by slices",
        ),
        (["phantom", "p", "--subjects", "0"], "error: --subjects: expected at least 1, found 0"),
        (["phantom", "p", "--shape", "5", "5", "5"], "shape: expected at least 24 3 24 voxels, found 5 5 5"),
        (["phantom", "{study}/datalist.json/p"], "expected a folder that can be written"),
    ],
)
def test_wrong_input_is_one_sentence_and_status_1(call, study, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    status, _, err = call(*(word.format(study=study) for word in words))
    assert status == 1
    assert sentence in err
    assert len(err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
