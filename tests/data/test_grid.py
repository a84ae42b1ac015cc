from dataclasses import replace

import nibabel
import numpy as np
import pytest

from helpers.subjects import write_nifti
from mrh_monai.data.grid import check_slices, read_headers
from mrh_monai.data.input_kinds import load_subject, open_subject
from mrh_monai.errors import SubjectError
from mrh_monai.io.nibabel_files import write_analyze
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.subjects.subject import Subject

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
            r"mt.nii: expected the affine of qa.nii.gz, found an affine that moves a corner of the volume by 10 voxels",
        ),
        ("mask", np.ones((6, 5, 4, 2), np.uint8), None, "mask.nii: expected one 3D volume as mask, found 2 volumes"),
    ],
)
def test_files_on_another_grid_are_named(parts, few, key, voxels, affine, message):
    write_nifti(parts[0].mask.parent / f"{key}.nii", voxels, affine)
    with pytest.raises(SubjectError, match=message):
        load_subject(parts[0], few)


@pytest.mark.parametrize(("degrees", "message"), [(0.02, None), (0.57, r"moves a corner of the volume by 1.\d+ voxels"), (180, "voxels")])
def test_a_small_turn_is_measured_where_it_moves_most(few, tmp_path, degrees, message):
    """Turned about voxel 0, a long volume moves far at its other end, though the numbers of its affine hardly change."""
    angle = np.deg2rad(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    grid = np.diag([0.1, 0.1, 0.1, 1])
    image = write_nifti(tmp_path / "image.nii", np.ones((180, 5, 4, 3), np.float32), grid)
    mask = write_nifti(tmp_path / "mask.nii", np.ones((180, 5, 4), np.uint8), turn @ grid)
    subject = Subject("long", (image,), mask)
    if message is None:
        assert read_headers(subject, few)["mask"][0].shape == (180, 5, 4)
    else:
        with pytest.raises(SubjectError, match=f"mask.nii: expected the affine of image.nii, found an affine that .*{message}"):
            read_headers(subject, few)


def test_files_without_codes_are_compared_by_shape_and_voxel_size(parts, few):
    """Codes of 0 say that the matrices do not count; the file is then like an Analyze file."""
    subject, _, mask = parts
    image = nibabel.Nifti1Image(mask, None)
    image.header.set_zooms((0.1, 0.1, 0.1))
    nibabel.save(image, subject.mask)
    assert [header.has_affine for header in read_headers(subject, few)["mask"]] == [False]


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


@pytest.mark.parametrize("factor", [10, 100, 0.1, 0.01])
def test_voxels_scaled_for_other_programs_are_named_and_put_right(parts, few, factor):
    """Every file is read with the size that is stated, and the voxel of the origin stays where it was."""
    true = nibabel.load(parts[0].image[1])
    larger = np.array(true.affine)
    larger[:3] *= factor
    size = (0.1 * min(1, factor),) * 3
    write_nifti(parts[0].image[1], np.asarray(true.dataobj).copy(), larger)
    words = f"{max(factor, 1 / factor):g} times as {'large' if factor > 1 else 'small'}"
    with pytest.raises(
        SubjectError, match=rf"mt\.nii: expected voxels .*the voxels are {words}.*--voxel-size {size[0]:g} {size[0]:g}"
    ) as error:
        read_headers(parts[0], few)
    assert "resample" not in str(error.value)
    stated = read_headers(replace(parts[0], voxel_size=(0.1, 0.1, 0.1)), few)
    for header in [*stated["image"], *stated["mask"]]:
        assert header.spacing == (0.1, 0.1, 0.1)
        np.testing.assert_allclose(header.affine, true.affine, atol=1e-7)
    np.testing.assert_array_equal(load_subject(replace(parts[0], voxel_size=size), few).image, parts[1])


def test_other_differences_of_voxels_are_still_differences(parts, few):
    true = nibabel.load(parts[0].image[1])
    for scale in ([10, 10, 1, 1], [3, 3, 3, 1], [10.2, 10.2, 10.2, 1]):
        write_nifti(parts[0].image[1], np.asarray(true.dataobj).copy(), true.affine @ np.diag(scale))
        with pytest.raises(SubjectError, match="resample it to the grid of qa"):
            read_headers(parts[0], few)


@pytest.mark.parametrize("slices", [((3, 6),), ((-1, 2),), ((2, 2),), ((0, 2), (4, 3))])
def test_slices_outside_the_volume_are_refused(slices):
    with pytest.raises(
        SubjectError,
        match=r"s: expected slices within 0 and 5 \(stop excluded\) along array axis 1, .*, found \[.*\]; correct",
    ):
        check_slices("s", slices, 5)


def test_slices_inside_the_volume_are_accepted():
    check_slices("s", None, 5)
    check_slices("s", ((0, 1), (3, 5)), 5)


@pytest.mark.parametrize("moved", [0, 3])
def test_a_stated_size_holds_whatever_the_offset_of_a_wrong_one_was(parts, few, moved):
    """Programs that enlarge voxels leave the offset, or enlarge it too; the voxels of all files have to be the same ones anyway."""
    subject, _, mask = parts
    spacing, offset = np.array([0.14, 0.4, 0.14]), np.array([moved, 2 * moved, moved])
    for path, factor in (*((path, 1) for path in subject.image), (subject.mask, 100), (subject.target, 10)):
        affine = np.diag([*(spacing * factor), 1.0])
        affine[:3, 3] = offset
        write_nifti(path, np.asarray(nibabel.load(path).dataobj).copy(), affine)
    with pytest.raises(SubjectError, match="100 times as large"):
        read_headers(subject, few)
    stated = replace(subject, voxel_size=tuple(spacing))
    headers = read_headers(stated, few, need_target=True)
    assert {header.spacing for group in headers.values() for header in group} == {tuple(spacing)}
    np.testing.assert_allclose(load_subject(stated, few).affine[:3, 3], offset, atol=1e-6)
    turned = nibabel.load(subject.mask).affine @ np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    write_nifti(subject.mask, mask, turned)
    with pytest.raises(SubjectError, match="mask.nii: expected the affine of .*, found an affine that turns a corner"):
        read_headers(stated, few)


def test_a_result_lies_where_the_mask_lies_if_the_images_do_not_say_it(parts, few, tmp_path):
    subject, image, _ = parts
    write_analyze(tmp_path / "qa.img", image[..., 0], 0.1)
    write_analyze(tmp_path / "mt.img", image[..., 1:], 0.1)
    mixed = replace(subject, image=(tmp_path / "qa.img", tmp_path / "mt.img"))
    expected = nibabel.load(subject.mask)
    for opened in (load_subject(mixed, few), open_subject(mixed, few)):
        np.testing.assert_allclose(opened.affine, expected.affine, atol=1e-6)
        assert opened.placement.sform_code == int(expected.header["sform_code"])
