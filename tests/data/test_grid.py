from dataclasses import replace

import numpy as np
import pytest

from helpers.subjects import write_nifti
from mrh_monai.data.grid import check_slices, read_headers
from mrh_monai.data.input_kinds import load_subject
from mrh_monai.errors import SubjectError
from mrh_monai.io.nibabel_files import write_analyze
from mrh_monai.protocol.mrh_net import MRH_NET

FLIPPED = np.diag([-0.1, 0.1, 0.1, 1])


def test_missing_file_is_named(parts, few):
    parts[0].image[1].unlink()
    with pytest.raises(SubjectError, match=r"mt.nii: expected a volume file, found no such file"):
        read_headers(parts[0], few)


def test_wrong_channel_count_is_named(parts):
    with pytest.raises(SubjectError, match=r"s: expected 67 channels .*, found 3 in qa.nii.gz, mt.nii"):
        read_headers(parts[0], MRH_NET)


@pytest.mark.parametrize(
    ("key", "voxels", "affine", "message"),
    [
        ("mask", np.ones((6, 5, 3), np.uint8), None, r"mask.nii: expected shape \(6, 5, 4\) as in qa.nii.gz, found \(6, 5, 3\)"),
        ("mask", np.ones((6, 5, 4), np.uint8), np.diag([0.2, 0.1, 0.1, 1]), r"mask.nii: expected voxels of \(0.1, 0.1, 0.1\) mm"),
        (
            "mt",
            np.ones((6, 5, 4, 2), np.float32),
            FLIPPED,
            r"mt.nii: expected the affine of qa.nii.gz, found an affine that differs by 0.2 mm",
        ),
        ("mask", np.ones((6, 5, 4, 2), np.uint8), None, "mask.nii: expected one 3D volume as mask, found 2 volumes"),
    ],
)
def test_files_on_another_grid_are_named(parts, few, key, voxels, affine, message):
    write_nifti(parts[0].mask.parent / f"{key}.nii", voxels, affine)
    with pytest.raises(SubjectError, match=message):
        load_subject(parts[0], few)


def test_grids_are_compared_before_voxels_are_read(parts, few, monkeypatch):
    for room in ("checked_voxels", "subject_in_memory"):
        monkeypatch.setattr(f"mrh_monai.data.{room}.read_voxels", lambda header: pytest.fail("read too early"))
    write_nifti(parts[0].mask, np.ones((6, 5, 3), np.uint8))
    with pytest.raises(SubjectError, match="mask.nii"):
        load_subject(parts[0], few)


def test_analyze_is_compared_by_shape_and_voxel_size_alone(parts, few):
    path = parts[0].mask.parent / "mask.img"
    write_analyze(path, parts[2], 0.1)
    assert load_subject(replace(parts[0], mask=path), few).mask.sum() == parts[2].sum()
    write_analyze(path, parts[2], 0.2)
    with pytest.raises(SubjectError, match="voxels of"):
        load_subject(replace(parts[0], mask=path), few)


@pytest.mark.parametrize("key", ["fa", "target"])
def test_their_headers_are_compared_all_the_same(parts, few, key):
    other = write_nifti(parts[0].mask.parent / "other.nii", np.ones((6, 5, 3), np.uint8))
    with pytest.raises(SubjectError, match=r"other.nii: expected shape \(6, 5, 4\)"):
        load_subject(replace(parts[0], **{key: other}), few)
    with pytest.raises(SubjectError, match=r"gone.nii: expected a volume file, found no such file"):
        load_subject(replace(parts[0], **{key: other.with_name("gone.nii")}), few)


def test_files_listed_twice_or_nowhere_are_refused(parts, few):
    subject = parts[0]
    with pytest.raises(SubjectError, match="s: expected every image file once, found mt.nii twice"):
        read_headers(replace(subject, image=(subject.image[1], subject.image[1])), few)
    with pytest.raises(SubjectError, match="s: expected 3 channels, found no image file; add `image`"):
        read_headers(replace(subject, image=()), few)


def test_axes_in_another_order_name_the_verb_that_helps(parts, few):
    write_nifti(parts[0].mask, np.ones((4, 5, 6), np.uint8))
    with pytest.raises(SubjectError, match=r"mask.nii: .* found \(4, 5, 6\); put its axes in order with `mrh reorder`"):
        read_headers(parts[0], few)


def test_headers_come_by_their_names(parts, few):
    subject = parts[0]
    headers = read_headers(subject, few)
    found = {key: [header.path for header in group] for key, group in headers.items()}
    assert found == {"image": list(subject.image), "mask": [subject.mask], "fa": [], "target": [subject.target], "target_mask": []}
    assert [header.channels for header in headers["image"]] == [1, 2]


@pytest.mark.parametrize("slices", [((3, 6),), ((-1, 2),), ((2, 2),), ((0, 2), (4, 3))])
def test_slices_outside_the_volume_are_refused(slices):
    with pytest.raises(SubjectError, match=r"s: expected slices within 0 and 5 \(stop excluded\), found \[.*\]; correct `slices`"):
        check_slices("s", slices, 5)


def test_slices_inside_the_volume_are_accepted():
    check_slices("s", None, 5)
    check_slices("s", ((0, 1), (3, 5)), 5)
