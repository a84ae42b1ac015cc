import re

import itk
import numpy as np
import pytest

from helpers.subjects import write_nifti as save
from mrh_monai.errors import SubjectError
from mrh_monai.io.itk_files import _check_voxel_size
from mrh_monai.io.volume_files import read_header, read_voxels

AFFINES = {
    "RAS": np.diag([0.1, 0.2, 0.3, 1.0]),
    "LAS": np.diag([-0.1, 0.2, 0.3, 1.0]),
    "LPS": np.diag([-0.1, -0.2, 0.3, 1.0]) + np.array([[0, 0, 0, 5], [0, 0, 0, -3], [0, 0, 0, 1], [0, 0, 0, 0]]),
    "oblique": np.array([[0.08, -0.06 * 2, 0, 1], [0.06, 0.08 * 2, 0, 2], [0, 0, 0.3, 3], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("ending", ["nrrd", "mha", "mhd"])
@pytest.mark.parametrize("kind", ["3D", "4D", "vector"])
def test_itk_formats_lie_where_nifti_does(tmp_path, rng, ending, kind):
    voxels = rng.integers(0, 99, (5, 4, 3, 2)[: 3 if kind == "3D" else 4]).astype(np.int16)
    image = itk.image_from_array(np.moveaxis(voxels, 3, 0).T.copy() if kind == "vector" else voxels.T.copy(), is_vector=kind == "vector")
    image.SetSpacing([0.1, 0.2, 0.3, 1][: image.GetImageDimension()])
    image.SetOrigin([5.0, 3.0, 1.0, 0][: image.GetImageDimension()])
    itk.imwrite(image, str(tmp_path / f"a.{ending}"))
    header = read_header(tmp_path / f"a.{ending}")
    assert (header.shape, header.channels, header.dtype) == ((5, 4, 3), 1 if kind == "3D" else 2, np.int16)
    np.testing.assert_allclose(header.affine, [[-0.1, 0, 0, -5], [0, -0.2, 0, -3], [0, 0, 0.3, 1], [0, 0, 0, 1]], atol=1e-9)
    np.testing.assert_array_equal(read_voxels(header), voxels.reshape(5, 4, 3, -1))


@pytest.mark.parametrize("ending", ["nrrd", "mha", "mhd"])
def test_oblique_itk_volumes_lie_where_itk_says(tmp_path, ending):
    image = itk.image_from_array(np.zeros((3, 4, 5), np.int16))
    image.SetDirection(itk.matrix_from_array(np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])))
    image.SetSpacing([0.1, 0.2, 0.3])
    image.SetOrigin([5.0, 3.0, 1.0])
    itk.imwrite(image, str(tmp_path / f"a.{ending}"))
    point = np.array(image.TransformIndexToPhysicalPoint([1, 2, 1]))
    found = read_header(tmp_path / f"a.{ending}").affine @ [1, 2, 1, 1]
    np.testing.assert_allclose(found[:3], point * [-1, -1, 1], atol=1e-6)


def itk_file(path, voxels, spacing=0.0625):
    image = itk.image_from_array(voxels.T.copy())
    image.SetSpacing([spacing] * 3)
    image.SetOrigin([spacing * 10] * 3)
    itk.imwrite(image, str(path))
    return path


@pytest.mark.parametrize("extra", [1, 60])
@pytest.mark.parametrize(("name", "voxels_in"), [("a.nrrd", "a.nrrd"), ("a.nhdr", "a.raw"), ("a.mha", "a.mha"), ("a.mhd", "a.raw")])
def test_a_file_that_is_longer_than_its_header_says_is_refused(tmp_path, name, voxels_in, extra):
    path = itk_file(tmp_path / name, np.arange(60, dtype=np.int16).reshape(5, 4, 3))
    assert read_header(path).shape == (5, 4, 3)
    size = (tmp_path / voxels_in).stat().st_size
    with open(tmp_path / voxels_in, "ab") as stream:
        stream.write(bytes(extra))
    with pytest.raises(SubjectError, match=rf"{voxels_in}: expected {size} bytes \(\(5, 4, 3\) int16\), found {size + extra}; use"):
        read_header(path)


def test_compressed_files_have_any_size(tmp_path):
    image = itk.image_from_array(np.zeros((30, 40, 50), np.int16))
    for name in ("a.nrrd", "a.mha"):
        itk.imwrite(image, str(tmp_path / name), True)
        assert (tmp_path / name).stat().st_size < 60_000
        assert read_header(tmp_path / name).shape == (50, 40, 30)


@pytest.mark.parametrize(
    ("unit", "divisor"),
    [("mm", 1), ("um", 1000), ("\u00b5m", 1000), ("micrometers", 1000), ("m", 0.001), ("cm", 0.1), ("nm", 1e6), ("", 1)],
)
def test_nrrd_lengths_are_in_mm_whatever_the_unit(tmp_path, unit, divisor):
    path = itk_file(tmp_path / "a.nrrd", np.ones((5, 4, 3), np.uint8), 0.0625 * divisor)
    text, voxels = path.read_bytes().split(b"\n\n", 1)
    path.write_bytes(text + f'\nspace units: "{unit}" "{unit}" "{unit}"\n\n'.encode() + voxels)
    header = read_header(path)
    np.testing.assert_allclose(header.spacing, [0.0625] * 3)
    np.testing.assert_allclose(header.affine, np.diag([-0.0625, -0.0625, 0.0625, 1]) + [[0, 0, 0, x] for x in (-0.625, -0.625, 0.625, 0)])
    plain = f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 5 4 3\nspacings: {' '.join([str(0.0625 * divisor)] * 3)}\nencoding: raw\n"
    path.write_bytes(plain.encode() + f'units: "{unit}" "{unit}" "{unit}"\n\n'.encode() + voxels)
    np.testing.assert_allclose(read_header(path).spacing, [0.0625] * 3)


def test_metaimage_lengths_are_in_mm_whatever_the_unit(tmp_path):
    path = itk_file(tmp_path / "a.mha", np.ones((5, 4, 3), np.uint8), 62.5)
    path.write_bytes(path.read_bytes().replace(b"DimSize", b"DistanceUnits = um\nDimSize"))
    np.testing.assert_allclose(read_header(path).spacing, [0.0625] * 3)


@pytest.mark.parametrize("units", ['"inch" "inch" "inch"', '"mm" "um" "mm"'])
def test_unknown_and_mixed_units_are_refused(tmp_path, units):
    path = itk_file(tmp_path / "a.nrrd", np.ones((5, 4, 3), np.uint8))
    text, voxels = path.read_bytes().split(b"\n\n", 1)
    path.write_bytes(text + f"\nspace units: {units}\n\n".encode() + voxels)
    with pytest.raises(SubjectError, match="a.nrrd: expected one unit of lengths: mm, um, nm, cm or m, found '"):
        read_header(path)


def test_complex_volumes_are_refused(tmp_path):
    with pytest.raises(SubjectError, match="magnitude values .*found voxels of type complex64"):
        read_header(save(tmp_path / "a.nii", np.zeros((3, 3, 3), np.complex64)))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("a.nrrd", r"space directions: .*", "spacings: nan nan nan"),
        ("a.nrrd", r"space directions: .*", "spacings: 0.1 0 0.1"),
        ("a.nrrd", r"space directions: .*", "space directions: (0,0,0) (0,0.1,0) (0,0,0.1)"),
        ("a.nrrd", r"space directions: .*\n", ""),
        ("a.mha", r"ElementSpacing = .*", "ElementSpacing = 0 0.1 0.1"),
        ("a.mha", r"ElementSpacing = .*", "ElementSpacing = nan nan nan"),
        ("a.mha", r"ElementSpacing = .*\n", ""),
    ],
)
def test_a_voxel_size_that_is_missing_or_impossible_is_refused(tmp_path, name, old, new):
    path = itk_file(tmp_path / name, np.arange(60, dtype=np.int16).reshape(5, 4, 3))
    path.write_bytes(re.sub(old.encode(), new.encode(), path.read_bytes(), count=1))
    with pytest.raises(SubjectError, match=rf"{name}: expected a voxel size above 0 along three axes in the header, found .*; write it"):
        read_header(path)


@pytest.mark.parametrize("axes", ["0.1 0.1 0.1 nan", "nan 0.1 0.1 0.1"])
def test_the_axis_of_the_channels_has_no_length(axes):
    _check_voxel_size("a.nrrd", {"spacings": axes})
    _check_voxel_size("a.nrrd", {"space directions": "none (0.1,0,0) (0,0.1,0) (0,0,0.1)"})


@pytest.mark.parametrize("extra", [0, 2])
@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("a.mhd", "ElementDataFile = a.raw", "ElementDataFile = LIST\nz0.raw\nz1.raw\nz2.raw\n"),
        ("a.mhd", "ElementDataFile = a.raw", "ElementDataFile = z%d.raw 0 2 1"),
        ("a.nhdr", "data file: a.raw", "data file: z%d.raw 0 2 1"),
        ("a.nhdr", "data file: a.raw", "data file: LIST\nz0.raw\nz1.raw\nz2.raw"),
        ("a.nhdr", "encoding: raw", "encoding: Raw"),
    ],
)
def test_every_one_of_several_files_has_its_share(tmp_path, name, old, new, extra):
    voxels = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    path = itk_file(tmp_path / name, voxels)
    for index in range(3):
        (tmp_path / f"z{index}.raw").write_bytes(voxels[..., index].tobytes(order="F") + bytes(extra * (index == 1)))
    if "Raw" in new:
        (tmp_path / "a.raw").write_bytes(voxels.tobytes(order="F") + bytes(extra))
    path.write_text(path.read_text().replace(old, new))
    if extra:
        with pytest.raises(SubjectError, match=r"(z1|a)\.raw: expected \d+ bytes \(\(5, 4, 3\) int16"):
            read_header(path)
    else:
        np.testing.assert_array_equal(read_voxels(read_header(path))[..., 0], voxels)


@pytest.mark.parametrize("extra", ["", " 7"])
def test_numbers_as_text_are_counted(tmp_path, extra):
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 5 4 3\nspacings: 0.1 0.1 0.1\nencoding: ascii\n\n"
    (tmp_path / "a.nrrd").write_text(header + " ".join(map(str, range(60))) + extra + "\n")
    if extra:
        with pytest.raises(SubjectError, match=r"a\.nrrd: expected 60 numbers .*, found 61"):
            read_header(tmp_path / "a.nrrd")
    else:
        assert read_voxels(read_header(tmp_path / "a.nrrd")).sum() == sum(range(60))
