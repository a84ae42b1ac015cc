import json
import os

import pytest

from helpers.subjects import write_mrh_subject
from mrh_monai.errors import DatalistError
from mrh_monai.subjects.datalist import Datalist
from mrh_monai.subjects.folder_listing import find_subjects
from mrh_monai.subjects.subject import Subject


@pytest.fixture
def subjects(tmp_path):
    for name in ("a", "b", "c"):
        write_mrh_subject(tmp_path / "study" / name)
    return find_subjects(tmp_path / "study", target="targets/AF.img")


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_comes_back_with_paths_relative_to_its_folder(tmp_path, subjects):
    Datalist.split(subjects, (1, 1, 1)).write(tmp_path / "study" / "datalist.json")
    (tmp_path / "study").rename(tmp_path / "moved")
    datalist = Datalist.read(tmp_path / "moved" / "datalist.json")
    assert [[s.name for s in datalist.sections[key]] for key in ("training", "validation", "test")] == [["a"], ["b"], ["c"]]
    assert all(path.is_file() for s in datalist.test for path in (*s.image, s.mask, s.fa, s.target))


def test_subjects_come_in_the_order_of_names_unless_shuffled(subjects):
    assert [s.name for s in Datalist.split(subjects, (2, 0, None)).training] == ["a", "b"]
    shuffled = [[s.name for s in Datalist.split(subjects, (3, 0, 0), shuffle=seed).training] for seed in (0, 0, 1, 2, 3)]
    assert shuffled[0] == shuffled[1]
    assert len({tuple(names) for names in shuffled}) > 1


def test_too_few_subjects_are_counted(subjects):
    with pytest.raises(DatalistError, match=r"at least 4 subjects \(2 to train, 1 to validate, 1 to test\), found 3"):
        Datalist.split(subjects, (2, 1, 1))


def test_one_brain_is_split_by_slices(tmp_path, subjects):
    Datalist.split(subjects[:1], (0, 0, None), (((0, 2), (4, 5)), None, ((2, 4),))).write(tmp_path / "d.json")
    datalist = Datalist.read(tmp_path / "d.json")
    assert datalist.training[0].slices == ((0, 2), (4, 5))
    assert datalist.test[0].slices == ((2, 4),)
    with pytest.raises(DatalistError, match="disjoint `slices`, found a in training and in test"):
        Datalist.split(subjects[:1], (0, 0, None), (((0, 3),), None, ((2, 4),)))


@pytest.mark.parametrize("same", ["name", "files"])
def test_one_subject_in_two_sections_is_refused(tmp_path, same):
    entry = {"subject": "a", "image": ["a.nii"], "mask": "m.nii"}
    other = {"name": {**entry, "image": ["b.nii"]}, "files": {**entry, "subject": "b", "image": ["./x/../a.nii"]}}[same]
    (tmp_path / "x").mkdir()
    path = write(tmp_path / "d.json", {"training": [entry], "test": [other]})
    with pytest.raises(DatalistError, match="every subject in one section, or with disjoint `slices`, found a in training and in test"):
        Datalist.read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "a datalist in JSON, found a file that is not valid JSON"),
        ("\xff\xfe", "a datalist in JSON"),
        ([1], "found a list"),
        ({"train": []}, r"training, validation, test, found the keys \['train'\]"),
        ({"test": {"a": 1}}, "a list of subjects as test, found a dict"),
        ({"test": ["a.nii"]}, r"test\[0\]: expected an object with `subject` and `image`"),
        ({"test": [{"image": [1]}]}, "file names as strings"),
        (
            {"test": [{"image": ["a.nii"], "msk": "m"}]},
            r"the keys subject, image, .*, target_mask, slices, voxel_size, coronal_axis, found \['msk'\]",
        ),
        ({"test": [{"image": ["a.nii"], "slices": 5}]}, "slices as"),
        ({"test": [{"image": ["a.nii"], "voxel_size": [0.1, 0]}]}, "voxel_size as three lengths"),
        ({"test": [{"image": ["a.nii"], "coronal_axis": 3}]}, "coronal_axis as 0, 1 or 2, found 3"),
        ({"test": [{"image": ["a.nii"], "slices": [[0.5, 2.9]]}]}, "slices as"),
        ({"test": [{"image": ["x/a.nii"]}, {"image": ["x/b.nii"]}]}, "every subject of test under its own name, found x twice; rename one"),
        ({"test": [{"image": ["a.nii"], "subject": "../up"}]}, "a name of at most 100 bytes that can name files"),
    ],
)
def test_broken_datalists_are_refused(tmp_path, content, message):
    with pytest.raises(DatalistError, match=message):
        Datalist.read(write(tmp_path / "d.json", content))


def test_a_file_a_folder_or_a_word_is_no_datalist(tmp_path):
    with pytest.raises(DatalistError, match="found a folder; write one with `mrh datalist"):
        Datalist.read(tmp_path)
    with pytest.raises(DatalistError, match="found no such file"):
        Datalist.read("word")
    with pytest.raises(DatalistError, match="datalist: expected a JSON file, found no path; give --datalist"):
        Datalist.read(None)
    (tmp_path / "image.nii").write_bytes(os.urandom(500))
    with pytest.raises(DatalistError, match="a datalist in JSON"):
        Datalist.read(tmp_path / "image.nii")


def test_empty_or_unknown_sections_are_named(tmp_path, subjects):
    datalist = Datalist.split(subjects, (3, 0, 0))
    with pytest.raises(
        DatalistError, match=r"subjects under 'test', found no subjects in this section \(there are some under \['training'\]\)"
    ):
        datalist.section("test")
    with pytest.raises(DatalistError, match="one of the sections training, validation, test, found 'tests'"):
        datalist.section("tests")


def test_a_byte_order_mark_is_no_part_of_a_datalist(tmp_path, subjects):
    path = tmp_path / "d.json"
    Datalist.split(subjects, (1, 1, 1)).write(path)
    before = Datalist.read(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert Datalist.read(path) == before


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"image": []}, r"expected the names of its image files, found \[\]; list the files"),
        ({"image": [" "]}, "expected the names of its image files"),
        ({"image": ["a\0.nii"]}, "expected file names without NUL characters"),
        (
            {"image": ["a.nii"], "subject": "m" * 300},
            r"expected a name of at most 100 bytes .*, found 'm{38}\.\.\.m{38}'; rename the subject",
        ),
        *(
            (
                {"image": ["a.nii"], "subject": name},
                "expected a name of at most 100 bytes that can name files and does not begin with a dot",
            )
            for name in ("m\0", "\ud800", ["m7"], " ", False, ".m7", "..", 1.5)
        ),
    ],
)
def test_names_that_no_file_can_have_are_refused(tmp_path, entry, message):
    (tmp_path / "d.json").write_text(json.dumps({"test": [entry]}))
    with pytest.raises(DatalistError, match=message):
        Datalist.read(tmp_path / "d.json")


def test_a_number_is_a_name(tmp_path):
    (tmp_path / "d.json").write_text(json.dumps({"test": [{"image": ["s/a.nii"], "subject": 0}, {"image": ["s/b.nii"]}]}))
    assert [subject.name for subject in Datalist.read(tmp_path / "d.json").test] == ["0", "s"]


def test_a_folder_whose_name_no_datalist_can_hold_is_said_at_once(tmp_path):
    subject = Subject("m" * 120, (tmp_path / "a.nii",))
    with pytest.raises(DatalistError, match="expected for every subject a name of at most 100 bytes"):
        Datalist(test=(subject,)).write(tmp_path / "d.json")
    assert not (tmp_path / "d.json").exists()
