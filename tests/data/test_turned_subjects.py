from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.subjects import write_nifti
from mrh_monai.subjects.coronal import coronal_axis
from mrh_monai.data.grid import read_headers
from mrh_monai.data.input_kinds import load_subject, open_subject
from mrh_monai.errors import MRHWarning, SubjectError
from mrh_monai.io import make_header
from mrh_monai.io.nibabel_files import write_analyze
from mrh_monai.io.volume_files import read_header, read_voxels
from mrh_monai.subjects.subject import Subject


def header(spacing, affine=None, has_affine=True):
    matrix = np.diag([*spacing, 1.0]) if affine is None else affine
    return make_header("a.nii", (9, 8, 7), spacing, matrix, has_affine, np.dtype("int16"))


def turned(subject, axis, folder):
    """The same subject with its coronal slices along another axis of the files."""

    def turn(path):
        found = read_header(path)
        order = [0, 2]
        order.insert(axis, 1)
        voxels = read_voxels(found).transpose(*order, 3)
        if voxels.shape[3] == 1:
            voxels = voxels[..., 0]
        return write_nifti(folder / f"turned{axis}" / path.name, voxels, found.affine[:, [*order, 3]])

    files = {key: turn(path) for key, path in subject.files.items()}
    return Subject(subject.name, tuple(map(turn, subject.image)), slices=subject.slices, coronal_axis=axis, **files)


@pytest.mark.parametrize("slices", [None, ((1, 3),)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_files_in_any_order_of_axes_give_the_same_numbers(parts, few, tmp_path, axis, slices):
    subject = replace(parts[0], slices=slices, coronal_axis=1)
    other = turned(subject, axis, tmp_path)
    one, two = (load_subject(each, few) for each in (subject, other))
    for name in ("image", "mask", "target", "affine", "level_values"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), name)
    assert one.axes == (0, 1, 2)
    slabs = [open_subject(each, few).slabs for each in (subject, other)]
    for start, stop, reach in ((0, 5, 0), (1, 3, 1), (4, 5, 1)):
        a, b = (torch.as_tensor(np.asarray(each.slab(start, stop, reach))) for each in slabs)
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [([0, 1, 2], 1), ([0, 2, 1], 2), ([1, 0, 2], 0), ([2, 1, 0], 1)],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_affine_names_the_axis(columns, expected, sign):
    """Also if it is oblique, and whichever way the axis runs."""
    affine = np.eye(4)
    turn = np.array([[0.98, 0.17, 0], [-0.17, 0.98, 0], [0, 0, 1]])
    affine[:3, :3] = sign * 0.1 * turn[:, columns]
    assert coronal_axis(Subject("s", ("a.nii",)), [header((0.1, 0.1, 0.1), affine)]) == expected


def test_without_an_orientation_the_axis_is_that_of_the_published_files_or_is_asked_for():
    subject = Subject("m7", ("a.img",))
    for spacing in ((0.1, 0.1, 0.1), (0.0625, 0.5, 0.0625)):
        assert coronal_axis(subject, [header(spacing, has_affine=False)]) == 1
    message = (
        r"a\.nii: expected the array axis along which coronal slices lie, found files without an orientation and with voxels of "
        r"0\.14 x 0\.14 x 0\.4 mm; write `coronal_axis`, such as 2, .* or give --coronal-axis 2"
    )
    scanner = header((0.14, 0.14, 0.4), has_affine=False)
    with pytest.raises(SubjectError, match=message):
        coronal_axis(subject, [scanner])
    assert coronal_axis(replace(subject, coronal_axis=2), [scanner]) == 2


def test_patches_outside_the_finest_plane_are_named():
    subject = Subject("m7", ("a.img",), coronal_axis=1)
    with pytest.warns(MRHWarning, match=r"m7: coronal slices lie along axis 1, and the voxels are 0\.14 x .*, so that patches"):
        coronal_axis(subject, [header((0.14, 0.14, 0.4))])


def test_slices_are_counted_along_that_axis(few, tmp_path, parts):
    other = replace(turned(replace(parts[0], coronal_axis=1), 2, tmp_path), slices=((0, 6),))
    with pytest.raises(SubjectError, match=r"slices within 0 and 5 \(stop excluded\) along array axis 2, which is coronal, found \[0, 6\]"):
        read_headers(other, few)


def test_an_analyze_subject_needs_no_word(few, tmp_path, rng):
    voxels = rng.integers(1, 9, (6, 5, 4, 3)).astype(np.int16)
    write_analyze(tmp_path / "a.img", voxels, 0.0625)
    write_analyze(tmp_path / "m.img", np.ones((6, 5, 4), np.uint8), 0.0625)
    assert read_headers(Subject("s", (tmp_path / "a.img",), tmp_path / "m.img"), few)["image"][0].axes == (0, 1, 2)
