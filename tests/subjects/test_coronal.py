import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mrh_monai.errors import MRHWarning, SubjectError
from mrh_monai.io.volume_format import make_header
from mrh_monai.subjects.coronal import coronal_axis, with_default_axis
from mrh_monai.subjects.subject import Subject

SUBJECT = Subject("m7", ("a.img",))


def header(spacing, affine=None, has_affine=True, name="a.img"):
    matrix = np.diag([*spacing, 1.0]) if affine is None else affine
    return make_header(Path(name), (9, 8, 7), spacing, matrix, has_affine, np.dtype("int16"))


@pytest.mark.parametrize(("columns", "expected"), [([0, 1, 2], 1), ([0, 2, 1], 2), ([1, 0, 2], 0), ([2, 1, 0], 1)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_affine_names_the_axis(columns, expected, sign):
    """Also if it is oblique, and whichever way the axis runs."""
    affine = np.eye(4)
    turn = np.array([[0.98, 0.17, 0], [-0.17, 0.98, 0], [0, 0, 1]])
    affine[:3, :3] = sign * 0.1 * turn[:, columns]
    assert coronal_axis([header((0.1, 0.1, 0.1), affine)]) == expected
    unplaced = header((0.1, 0.1, 0.1), has_affine=False)
    assert coronal_axis([unplaced, header((0.1, 0.1, 0.1), affine)]) == expected


def test_a_stated_axis_comes_first():
    assert coronal_axis([header((0.1, 0.1, 0.1))], stated=2) == 2
    assert coronal_axis([header((0.14, 0.14, 0.4), has_affine=False)], stated=2) == 2


def test_without_an_orientation_thick_slices_along_axis_1_need_no_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert coronal_axis([header((0.0625, 0.5, 0.0625), has_affine=False)]) == 1


def test_without_an_orientation_voxels_of_one_size_are_taken_as_mrh_nets_aloud():
    with pytest.warns(MRHWarning, match=r"a\.img: no file .* orientation; coronal slices are taken along axis 1, .* State"):
        assert coronal_axis([header((0.1, 0.1, 0.1), has_affine=False)]) == 1


@pytest.mark.parametrize(
    "name", ["rigidaffine_Lddm_dwi2000.img", "rigidaffine_dwi5000.img", "rigidaffine_lddm_fa.img", "Masked_outline.img"]
)
def test_mrh_nets_own_files_need_no_word(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert coronal_axis([header((0.0625, 0.0625, 0.0625), has_affine=False, name=name)]) == 1


@pytest.mark.parametrize(("spacing", "likely"), [((0.14, 0.14, 0.4), 2), ((0.4, 0.14, 0.14), 0), ((0.1, 0.4, 0.4), 2)])
def test_without_an_orientation_other_voxels_are_asked_about(spacing, likely):
    message = (
        r"a\.img: expected the array axis along which coronal slices lie, found files without an orientation and with voxels of "
        rf"{' x '.join(map(str, spacing))} mm; state `coronal_axis`, such as {likely}, .* or give --coronal-axis {likely}"
    )
    with pytest.raises(SubjectError, match=message):
        coronal_axis([header(spacing, has_affine=False)])


def test_patches_outside_the_finest_plane_are_named():
    with pytest.warns(MRHWarning, match=r"a\.img: coronal slices lie along axis 1, and the voxels are 0\.14 x .* mm, so that patches"):
        coronal_axis([header((0.14, 0.14, 0.4))], stated=1)


def test_names_of_mrh_nets_files_and_another_axis_in_the_affine_are_said():
    turned = header((0.1, 0.1, 0.1), np.diag([0.1, 0.1, 0.1, 1.0])[:, [0, 2, 1, 3]], name="rigidaffine_Lddm_dwi2000.nii")
    for stated, axis in ((None, 2), (1, 1), (2, 2)):
        with pytest.warns(
            MRHWarning, match=f"are taken along axis {axis}; the affine names axis 2, and MRH-Net's own files, .* along axis 1"
        ):
            assert coronal_axis([turned], stated) == axis
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert coronal_axis([turned], 0) == 0
        assert coronal_axis([header((0.1, 0.1, 0.1), name="rigidaffine_Lddm_dwi2000.nii")]) == 1


def test_a_default_does_not_replace_what_a_subject_states():
    stated = replace(SUBJECT, name="m8", coronal_axis=0)
    assert with_default_axis([SUBJECT], 2) == (replace(SUBJECT, coronal_axis=2),)
    with pytest.warns(MRHWarning, match="coronal_axis 2 is not used for m8: datalist, manifest or layout state another one"):
        assert with_default_axis([SUBJECT, stated], 2) == (replace(SUBJECT, coronal_axis=2), stated)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert with_default_axis([SUBJECT, stated], None) == (SUBJECT, stated)
        assert with_default_axis([stated], 0) == (stated,)
