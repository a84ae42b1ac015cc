import gzip
import io

import itk
import nibabel
import numpy as np
import pytest

from helpers.subjects import write_nifti as save
from mrh_monai.errors import MRHWarning, OutputError, SubjectError
from mrh_monai.io.nibabel_files import write_analyze, write_nifti
from mrh_monai.io.volume_files import read_header, read_voxels

AFFINES = {
    "RAS": np.diag([0.1, 0.2, 0.3, 1.0]),
    "LAS": np.diag([-0.1, 0.2, 0.3, 1.0]),
    "LPS": np.diag([-0.1, -0.2, 0.3, 1.0]) + np.array([[0, 0, 0, 5], [0, 0, 0, -3], [0, 0, 0, 1], [0, 0, 0, 0]]),
    "oblique": np.array([[0.08, -0.06 * 2, 0, 1], [0.06, 0.08 * 2, 0, 2], [0, 0, 0.3, 3], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("frame", AFFINES)
def test_nifti_comes_back_as_written(tmp_path, rng, name, frame):
    voxels = rng.integers(-9, 9, (5, 4, 3)).astype(np.int16)
    write_nifti(tmp_path / name, voxels, AFFINES[frame])
    header = read_header(tmp_path / name)
    assert (header.shape, header.channels, header.dtype, header.has_affine) == ((5, 4, 3), 1, np.int16, True)
    np.testing.assert_allclose(header.affine, AFFINES[frame], atol=1e-6)
    np.testing.assert_array_equal(read_voxels(header)[..., 0], voxels)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
def test_analyze_comes_back_as_written_and_as_nibabel_reads_it(tmp_path, rng, dtype):
    voxels = rng.integers(0, 99, (5, 4, 3, 2)).astype(dtype)
    write_analyze(tmp_path / "a.img", voxels, 0.0625)
    np.testing.assert_array_equal(np.asarray(nibabel.load(tmp_path / "a.img").dataobj), voxels)
    for name in ("a.img", "a.hdr"):
        header = read_header(tmp_path / name)
        assert (header.shape, header.channels, header.dtype, header.has_affine) == ((5, 4, 3), 2, dtype, False)
        assert header.spacing == (0.0625,) * 3
        np.testing.assert_array_equal(read_voxels(header), voxels)


def test_scaled_integers_are_read_as_numbers(tmp_path, rng):
    values = rng.uniform(0, 1, (5, 4, 3)).astype(np.float32)
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "a.nii")
    header = read_header(tmp_path / "a.nii")
    assert header.dtype == np.float32
    np.testing.assert_allclose(read_voxels(header)[..., 0], values, atol=1e-4)


def test_truncated_gzip_is_named(tmp_path):
    whole = gzip.compress(save(tmp_path / "a.nii", np.random.default_rng(0).integers(0, 9999, (20, 20, 20)).astype(np.int16)).read_bytes())
    (tmp_path / "a.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SubjectError, match=r"a.nii.gz: expected 1 volumes of \(20, 20, 20\) voxels, found .*; copy"):
        read_voxels(read_header(tmp_path / "a.nii.gz"))


def test_pair_without_voxels_is_named(tmp_path):
    write_analyze(tmp_path / "a.img", np.zeros((3, 3, 3), np.uint8), 0.1)
    (tmp_path / "a.img").unlink()
    with pytest.raises(SubjectError, match="a.img"):
        read_header(tmp_path / "a.hdr")


def test_output_must_be_nifti(tmp_path):
    with pytest.raises(OutputError, match="ending in .nii or .nii.gz"):
        write_nifti(tmp_path / "a.png", np.zeros((2, 2, 2), np.float32), np.eye(4))


def analyze_with(path, voxels, **fields):
    """Write an Analyze pair, and set fields of its header."""
    write_analyze(path, voxels, 0.0625)
    # SPM's layout of the header names the field that other programs leave unused.
    header = nibabel.Spm2AnalyzeHeader.from_fileobj(io.BytesIO(path.with_suffix(".hdr").read_bytes()), check=False)
    for name, value in fields.items():
        header[name] = value
    with open(path.with_suffix(".hdr"), "wb") as stream:
        header.write_to(stream)
    return path


@pytest.mark.parametrize(
    "fields",
    [
        {"cal_max": 1000, "cal_min": 0, "glmax": 22022, "glmin": 1},
        {"cal_max": 1, "glmax": 255},
        {"scl_slope": 0.5},
        {"scl_slope": 2, "scl_inter": 100, "funused3": 7},
        {"scl_slope": 0.5, "descrip": b"made by another program"},
    ],
)
def test_fields_for_display_do_not_change_analyze_voxels(tmp_path, rng, fields):
    voxels = rng.integers(-500, 22022, (5, 4, 3, 2)).astype(np.int16)
    header = read_header(analyze_with(tmp_path / "a.img", voxels, **fields))
    assert header.dtype == np.int16
    np.testing.assert_array_equal(read_voxels(header), voxels)


def test_a_header_that_spm_marks_is_scaled_and_the_warning_says_so(tmp_path, rng):
    voxels = rng.integers(0, 1000, (5, 4, 3)).astype(np.int16)
    path = analyze_with(tmp_path / "a.img", voxels, scl_slope=0.25, descrip=b"spm - realigned")
    with pytest.warns(MRHWarning, match=r"a.img: its header is marked by SPM \('spm - realigned'\), .* SPM's scale factor 0.25"):
        header = read_header(path)
    np.testing.assert_array_equal(read_voxels(header)[..., 0], voxels * np.float32(0.25))


@pytest.mark.parametrize(("name", "extra"), [("a.img", 200), ("a.img", 1), ("a.nii", 120), ("a.nii", 1)])
def test_a_file_that_is_longer_than_its_header_says_is_refused(tmp_path, name, extra):
    voxels = np.arange(120, dtype=np.int16).reshape(5, 4, 3, 2)
    if name.endswith(".img"):
        write_analyze(tmp_path / name, voxels, 0.1)
    else:
        write_nifti(tmp_path / name, voxels, np.eye(4))
    size = (tmp_path / name).stat().st_size
    with open(tmp_path / name, "ab") as stream:
        stream.write(bytes(extra))
    expected = rf"{name}: expected {size} bytes \(\(5, 4, 3, 2\) int16\), found {size + extra}; use the header"
    with pytest.raises(SubjectError, match=expected):
        read_header(tmp_path / name)


def test_a_compressed_file_that_is_longer_than_its_header_says_is_refused(tmp_path):
    write_nifti(tmp_path / "a.nii", np.ones((5, 4, 3), np.int16), np.eye(4))
    with gzip.open(tmp_path / "a.nii.gz", "wb") as stream:
        stream.write((tmp_path / "a.nii").read_bytes() + bytes(60))
    with pytest.raises(SubjectError, match="a.nii.gz: expected 1 volumes of 120 bytes, found 60 bytes more"):
        read_voxels(read_header(tmp_path / "a.nii.gz"))


@pytest.mark.parametrize(("units", "factor"), [("mm", 1), ("micron", 1000), ("meter", 0.001), ("unknown", 1)])
@pytest.mark.parametrize("codes", [(0, 1), (1, 0), (1, 1), (0, 0)])
def test_lengths_are_in_mm_whatever_the_unit_of_the_file(tmp_path, units, factor, codes):
    affine = np.diag([-0.0625, 0.0625, 0.125, 1]) + np.array([[0, 0, 0, 5], [0, 0, 0, -3], [0, 0, 0, 1], [0, 0, 0, 0]])
    scaled = affine.copy()
    scaled[:3] *= factor
    image = nibabel.Nifti1Image(np.ones((5, 4, 3), np.uint8), None)
    image.header.set_zooms(np.array([0.0625, 0.0625, 0.125]) * factor)
    image.header.set_qform(scaled, codes[0])
    image.header.set_sform(scaled, codes[1])
    image.header.set_xyzt_units(units)
    nibabel.save(image, tmp_path / "a.nii")
    header = read_header(tmp_path / "a.nii")
    assert header.spacing == (0.0625, 0.0625, 0.125)
    assert header.has_affine == (codes != (0, 0))
    if header.has_affine:
        np.testing.assert_allclose(header.affine, affine, rtol=1e-6)


@pytest.mark.parametrize("size", [0.0, np.nan, np.inf])
def test_a_voxel_size_that_is_missing_comes_from_the_matrix_or_is_refused(tmp_path, size):
    path = tmp_path / "a.nii"
    write_nifti(path, np.ones((5, 4, 3), np.uint8), np.diag([0.2, 0.3, 0.4, 1]))

    def change(**fields):
        raw = bytearray(path.read_bytes())
        header = nibabel.Nifti1Header.from_fileobj(io.BytesIO(bytes(raw)), check=False)
        for name, value in fields.items():
            header[name] = value
        raw[:348] = header.binaryblock[:348]
        path.write_bytes(bytes(raw))

    change(pixdim=[1, 0.2, size, 0.4, 0, 0, 0, 0])
    assert read_header(path).spacing == (0.2, 0.3, 0.4)
    change(sform_code=0)
    with pytest.raises(SubjectError, match=r"a.nii: expected voxel sizes above 0 in the header's pixdim, found 0.2, .*, 0.4"):
        read_header(path)
    write_analyze(tmp_path / "b.img", np.ones((5, 4, 3), np.uint8), 0.1)
    analyze_with(tmp_path / "b.img", np.ones((5, 4, 3), np.uint8), pixdim=[0, 0.1, size, 0.1, 0, 0, 0, 0])
    with pytest.raises(SubjectError, match=r"b.img: expected voxel sizes above 0"):
        read_header(tmp_path / "b.img")


@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 1), (1, 1), (1, 2), (2, 1), (4, 0)])
@pytest.mark.parametrize("units", ["mm", "micron"])
def test_a_result_lies_where_its_scan_lies_for_nibabel_and_itk(tmp_path, rng, codes, units):
    """The two matrices differ, so that a program that takes the other one would notice."""
    turned = nibabel.affines.from_matvec(nibabel.eulerangles.euler2mat(0.3, 0.1, 0.2) @ np.diag([-0.1, 0.2, 0.3]), [3, -2, 1])
    moved = np.diag([0.1, -0.2, 0.3, 1]) + np.array([[0, 0, 0, -7], [0, 0, 0, 4], [0, 0, 0, 2], [0, 0, 0, 0]])
    scan = nibabel.Nifti1Image(rng.random((5, 4, 3)).astype(np.float32), None)
    scale = np.diag([1000, 1000, 1000, 1]) if units == "micron" else np.eye(4)
    scan.header.set_zooms(np.array([0.1, 0.2, 0.3]) * scale[0, 0])
    scan.header.set_qform(scale @ turned, codes[0])
    scan.header.set_sform(scale @ moved, codes[1])
    scan.header.set_xyzt_units(units)
    nibabel.save(scan, tmp_path / "scan.nii")
    header = read_header(tmp_path / "scan.nii")
    write_nifti(tmp_path / "stain.nii.gz", np.zeros(header.shape, np.float32), header.affine, header.placement)
    found = nibabel.load(tmp_path / "stain.nii.gz")
    assert (int(found.header["qform_code"]), int(found.header["sform_code"])) == codes
    assert found.header.get_xyzt_units()[0] == "mm"
    in_mm = np.linalg.inv(scale)
    np.testing.assert_allclose(found.affine, in_mm @ nibabel.load(tmp_path / "scan.nii").affine, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.get_qform(), in_mm @ scan.get_qform(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.get_sform(), in_mm @ scan.get_sform(), rtol=1e-6, atol=1e-6)
    if units == "mm":
        one, other = (itk.imread(str(tmp_path / name)) for name in ("scan.nii", "stain.nii.gz"))
        for index in [(0, 0, 0), (4, 0, 0), (0, 3, 0), (0, 0, 2), (4, 3, 2)]:
            places = [list(image.TransformIndexToPhysicalPoint(index)) for image in (one, other)]
            np.testing.assert_allclose(*places, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("description", [b"SPMouse template", b"not by spm", b"spmx"])
def test_a_description_that_only_contains_spm_is_no_mark(tmp_path, description):
    voxels = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    path = analyze_with(tmp_path / "a.img", voxels, scl_slope=0.25, descrip=description)
    np.testing.assert_array_equal(read_voxels(read_header(path))[..., 0], voxels)


@pytest.mark.parametrize("content", [b"not a MATLAB file", b"MATLAB 7.3 MAT-file" + bytes(600)])
def test_a_matlab_file_beside_a_plain_pair_means_nothing(tmp_path, content):
    write_analyze(tmp_path / "a.img", np.ones((5, 4, 3), np.int16), 0.0625)
    (tmp_path / "a.mat").write_bytes(content)
    header = read_header(tmp_path / "a.img")
    assert header.spacing == (0.0625,) * 3
    np.testing.assert_allclose(np.abs(np.diag(header.affine)), [0.0625, 0.0625, 0.0625, 1])


@pytest.mark.parametrize("format", ["analyze", "nifti"])
@pytest.mark.parametrize(("image", "header"), [("a.IMG", "a.hdr"), ("a.img", "a.HDR")])
def test_the_names_of_a_pair_may_differ_in_case(tmp_path, format, image, header):
    voxels = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    if format == "analyze":
        write_analyze(tmp_path / "b.img", voxels, 0.0625)
    else:
        nibabel.save(nibabel.Nifti1Pair(voxels, np.diag([0.0625, 0.0625, 0.0625, 1])), tmp_path / "b.img")
    (tmp_path / "b.img").rename(tmp_path / image)
    (tmp_path / "b.hdr").rename(tmp_path / header)
    for name in (image, header):
        np.testing.assert_array_equal(read_voxels(read_header(tmp_path / name))[..., 0], voxels)


def test_an_analyze_file_has_no_place_and_its_result_neither(tmp_path):
    """So that nibabel and ITK place both alike."""
    voxels = np.arange(60, dtype=np.float32).reshape(5, 4, 3)
    header = read_header(analyze_with(tmp_path / "a.img", voxels, origin=[2, 3, 1, 0, 0]))
    assert not header.has_affine
    write_nifti(tmp_path / "b.nii", voxels, header.affine, header.placement)
    written = nibabel.load(tmp_path / "b.nii")
    assert (int(written.header["qform_code"]), int(written.header["sform_code"])) == (0, 0)
    write_analyze(tmp_path / "plain.img", voxels, 0.0625)
    np.testing.assert_allclose(written.affine, nibabel.load(tmp_path / "plain.img").affine, atol=1e-7)
    one, other = (itk.imread(str(tmp_path / name)) for name in ("plain.img", "b.nii"))
    np.testing.assert_allclose(one.GetOrigin(), other.GetOrigin(), atol=1e-6)
    np.testing.assert_allclose(itk.array_from_matrix(one.GetDirection()), itk.array_from_matrix(other.GetDirection()))
    np.testing.assert_allclose(one.GetSpacing(), other.GetSpacing())
