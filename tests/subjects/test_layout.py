import pytest

from mrh_monai.errors import OptionError
from mrh_monai.subjects.folder_listing import find_subjects
from mrh_monai.subjects.layout import MRH_NET_LAYOUT, SHIVERER_LAYOUT, Layout
from mrh_monai.subjects.subject_search import find_subject


def test_mrh_net_layout_is_recognised(study):
    subject = find_subject(study / "subject01", target="targets/AF.img")
    assert [path.name for path in subject.image] == [f"rigidaffine_{n}.img" for n in ("Lddm_dwi2000", "Lddm_dwi5000", "lddm_t2MTONOFF")]
    assert (subject.name, subject.mask.name, subject.fa.name) == ("subject01", "Masked_outline.img", "rigidaffine_Lddm_fa.img")


def test_other_layouts_are_named_by_a_pattern_file(tmp_path):
    for name in ("qa.nii.gz", "mt.nii", "mask.nii"):
        (tmp_path / "s").mkdir(exist_ok=True)
        (tmp_path / "s" / name).touch()
    (tmp_path / "layout.yaml").write_text("image: [qa.*, mt.nii]\nmask: mask.nii\n")
    layout = Layout.from_yaml(tmp_path / "layout.yaml")
    assert [s.image for s in find_subjects(tmp_path, layout)] == [(tmp_path / "s" / "qa.nii.gz", tmp_path / "s" / "mt.nii")]


@pytest.mark.parametrize("axis", [None, 0, 2])
def test_a_layout_says_which_axis_is_coronal(tmp_path, axis):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "qa.nii").touch()
    (tmp_path / "layout.yaml").write_text("image: qa.nii" if axis is None else f"image: qa.nii\ncoronal_axis: {axis}")
    assert [s.coronal_axis for s in find_subjects(tmp_path, Layout.from_yaml(tmp_path / "layout.yaml"))] == [axis]


def test_the_published_files_are_coronal_along_axis_1():
    assert MRH_NET_LAYOUT.coronal_axis == SHIVERER_LAYOUT.coronal_axis == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mask: m.nii", "mask"),
        ("image: [a]\nmsk: b", "msk"),
        ("- a", "list"),
        ("a: [", "ParserError"),
        ("image: [a]\nmask: [b]", "b"),
        ("image: [/a]", "/a"),
        ("image: [a]\ncoronal_axis: 3", "coronal_axis: expected 0, 1 or 2, found 3"),
        ("image: [a]\ncoronal_axis: y", "coronal_axis: expected 0, 1 or 2, found 'y'"),
    ],
)
def test_broken_pattern_files_are_refused(tmp_path, text, found):
    (tmp_path / "layout.yaml").write_text(text)
    with pytest.raises(OptionError, match=found):
        Layout.from_yaml(tmp_path / "layout.yaml")
