import numpy as np
import pytest

from helpers.subjects import write_nifti
from mrh_monai.errors import SubjectError
from mrh_monai.evaluation.regions import Regions, read_regions
from mrh_monai.io import read_header


@pytest.fixture
def scan(tmp_path):
    return write_nifti(tmp_path / "scan.nii.gz", np.ones((4, 3, 5, 2), np.int16))


@pytest.fixture
def labels(rng):
    return rng.choice([0, 2, 7, 1000], (4, 3, 5)).astype(np.int16)


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.uint16])
def test_labels_are_called_by_their_numbers_without_names(scan, labels, tmp_path, dtype):
    regions = read_regions(write_nifti(tmp_path / "labels.nii", labels.astype(dtype)), [read_header(scan)])
    np.testing.assert_array_equal(regions.labels, labels)
    assert regions.labels.dtype == np.int64
    assert regions.names == {2: "region 2", 7: "region 7", 1000: "region 1000"}


@pytest.mark.parametrize(
    "text",
    [
        "2,cortex\n1000,left thalamus\n9,absent\n",
        "label,name\n2,cortex\n1000,left thalamus\n",
        "2\tcortex\n\n1000\tleft thalamus\n",
        "# an atlas\n2 cortex\r\n1000  left thalamus \r\n",
        '2,cortex\n1000,"left thalamus"',
    ],
)
def test_names_come_from_a_file(scan, labels, tmp_path, text):
    path = write_nifti(tmp_path / "labels.nii", labels)
    (tmp_path / "names.txt").write_text(text, newline="")
    assert read_regions(path, [read_header(scan)], tmp_path / "names.txt").names == {2: "cortex", 7: "region 7", 1000: "left thalamus"}


def test_each_region_has_its_voxels_of_the_mask(labels, rng):
    mask = rng.random(labels.shape) > 0.5
    mask &= labels != 7
    found = Regions(labels.astype(np.int64), {2: "a", 7: "b", 1000: "c"}).each(mask)
    assert list(found) == ["a", "c"]
    for name, label in (("a", 2), ("c", 1000)):
        np.testing.assert_array_equal(found[name], [labels[tuple(voxel)] == label for voxel in np.argwhere(mask)])


def test_labels_of_one_name_lose_no_voxels(labels):
    """Left and right halves often share theirs."""
    mask = np.ones(labels.shape, bool)
    found = Regions(labels.astype(np.int64), {2: "cortex", 7: "cortex", 1000: "thalamus"}).each(mask)
    assert sum(inside.sum() for inside in found.values()) == (labels > 0).sum()


def test_wrong_label_volumes_are_refused(scan, labels, tmp_path):
    path = tmp_path / "labels.nii"
    for voxels, message in (
        (labels + np.float32(0.5), "labels.nii: expected a label volume of whole numbers, found other numbers; resample labels by nearest"),
        (np.where(labels == 2, np.nan, labels).astype(np.float32), "a label volume of whole numbers"),
        (labels * 0, "expected labels other than 0, found only zeros; check that it is the right file"),
        (labels[:3], r"expected shape \(4, 3, 5\) as in scan.nii.gz, found \(3, 3, 5\); resample it"),
        (np.stack([labels, labels], -1), "expected one 3D volume as labels, found 2 volumes"),
    ):
        write_nifti(path, voxels)
        with pytest.raises(SubjectError, match=message):
            read_regions(path, [read_header(scan)])
    write_nifti(path, labels, np.diag([0.2, 0.1, 0.1, 1]))
    with pytest.raises(SubjectError, match="expected voxels of .* mm as in scan.nii.gz"):
        read_regions(path, [read_header(scan)])
    with pytest.raises(SubjectError, match="nowhere.nii: expected a"):
        read_regions(tmp_path / "nowhere.nii", [read_header(scan)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names.txt: expected lines of a label and a name, found no such line; write lines such as `1,cortex`"),
        ("cortex,2\nthalamus,3\n", "expected lines of a label and a name, found no such line"),
        ("2,cortex\nthalamus,1000\n", r"expected lines of a label and a name, found \['thalamus', '1000'\]"),
        ("2,cortex\n1000\n", r"found \['1000'\]"),
    ],
)
def test_wrong_names_are_refused(scan, labels, tmp_path, text, message):
    path = write_nifti(tmp_path / "labels.nii", labels)
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(SubjectError, match=message):
        read_regions(path, [read_header(scan)], tmp_path / "names.txt")


def test_names_that_are_no_text(scan, labels, tmp_path):
    path = write_nifti(tmp_path / "labels.nii", labels)
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe1\x00")
    with pytest.raises(SubjectError, match="names.txt: expected a text file of labels and names, found bytes that are not UTF-8 text"):
        read_regions(path, [read_header(scan)], tmp_path / "names.txt")
    with pytest.raises(SubjectError, match="nowhere.txt: expected a text file of labels and names, found no such file or directory"):
        read_regions(path, [read_header(scan)], tmp_path / "nowhere.txt")
