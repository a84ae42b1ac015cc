import json
from dataclasses import replace

import itk
import matplotlib.image
import nibabel
import numpy as np
import pytest

from mrh_monai.alignment import alignment_files
from mrh_monai.alignment.alignment_files import check_alignment_files, inputs_digest, read_alignment, write_alignment
from mrh_monai.alignment.displacement import ControlGrid
from mrh_monai.alignment.registration import CONTROL_POINTS_MM
from mrh_monai.alignment.stain_alignment import Alignment
from mrh_monai.alignment.trial import Trial
from mrh_monai.errors import OutputError, SubjectError
from mrh_monai.scaling import RobustScaling

SETTINGS = {"align": "auto", "seed": 0}
TRIAL = Trial((0.4, 0.3, 0.2), (0.1, 0.2, 0.1), (1.0, 1.0, 0.9), (0.9, 0.9, 0.9))


@pytest.fixture
def alignment(brains, rng):
    grids = [ControlGrid(brain.mask.shape, brain.spacing, CONTROL_POINTS_MM) for brain in brains]
    control = [rng.normal(0, 0.05, (2, *grid.shape)).astype(np.float32) for grid in grids]
    return Alignment.from_control(brains, control, TRIAL, True)


def test_displacements_are_vectors_in_mm_that_itk_reads_as_such(alignment, tmp_path):
    """Also where the axes of the file are in another order and direction than those of the program."""
    turn = np.array([[-1, 0, 0, 3], [0, 0, 1, 5], [0, 1, 0, -2], [0, 0, 0, 1]], float)
    first = alignment.originals[0]
    turned = replace(first, affine=turn @ first.affine, axes=(0, 2, 1))
    write_alignment(replace(alignment, originals=(turned, *alignment.originals[1:])), tmp_path, SETTINGS)
    image = nibabel.load(tmp_path / "brain0.nii.gz")
    shape = first.mask.shape
    assert image.shape == (shape[0], shape[2], shape[1], 1, 3)
    assert image.header.get_intent()[0] == "displacement vector"
    # The stain of a voxel lay where the vector leads, in the world as in the array.
    u = alignment.displacements[0]
    for x, y, z in ((20, 2, 18), (9, 1, 20)):
        there = np.array([x + u[0, x, y, z] / 0.0625, y, z + u[1, x, y, z] / 0.0625, 1])
        expected = turned.affine @ there - turned.affine @ [x, y, z, 1]
        np.testing.assert_allclose(np.asarray(image.dataobj)[x, z, y, 0], expected[:3], atol=1e-6)
        np.testing.assert_allclose(image.affine @ [x, z, y, 1], turned.affine @ [x, y, z, 1], atol=1e-6)
    vectors = itk.imread(str(tmp_path / "brain0.nii.gz"))
    ras = np.asarray(image.dataobj)[20, 18, 2, 0]
    np.testing.assert_allclose(np.asarray(vectors.GetPixel((20, 18, 2))), ras * [-1, -1, 1], atol=1e-6)  # ITK counts in LPS+


def test_numbers_say_what_was_found(alignment, tmp_path):
    write_alignment(alignment, tmp_path, SETTINGS)
    numbers = json.loads((tmp_path / "alignment.json").read_text())
    assert numbers["summary"] == alignment.summary
    assert numbers["doubts"] == alignment.doubts
    assert numbers["gain"] == pytest.approx(1 - 0.4 / 0.9)
    row, brain, moved = numbers["subjects"][1], alignment.originals[1], alignment.displacements[1]
    lengths = np.linalg.norm(moved, axis=0)[brain.mask]
    assert row["median_mm"] == pytest.approx(np.median(lengths))
    assert row["largest_mm"] == pytest.approx(lengths.max())
    assert np.linalg.norm(moved[(slice(None), *row["furthest_voxel"])]) == pytest.approx(lengths.max())
    assert (row["agreement_before"], row["agreement_after"]) == pytest.approx((0.7, 0.8))
    for name in ("arrows.png", "histogram.png"):
        assert matplotlib.image.imread(tmp_path / name).std() > 0.05


def test_what_was_written_is_read_to_the_bit(alignment, brains, tmp_path):
    write_alignment(alignment, tmp_path, SETTINGS)
    found = read_alignment(tmp_path, brains, SETTINGS)
    for one, other in zip(found.displacements, alignment.displacements, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(found.subjects, alignment.subjects, strict=True):
        np.testing.assert_array_equal(one.target, other.target)
    assert found.trial == alignment.trial
    assert read_alignment(tmp_path, brains, {**SETTINGS, "seed": 1}) is None
    assert read_alignment(tmp_path, brains[:2], SETTINGS) is None
    assert read_alignment(tmp_path / "elsewhere", brains, SETTINGS) is None
    path = tmp_path / "control_points.npz"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"PK", whole[:200] + bytes([whole[200] ^ 255]) + whole[201:]):
        path.write_bytes(damaged)
        assert read_alignment(tmp_path, brains, SETTINGS) is None


def test_the_inputs_are_known_by_their_values(brains, scaling):
    digest = inputs_digest(brains, scaling)
    assert digest == inputs_digest([replace(brain) for brain in brains], scaling)
    first = brains[0]
    for change in ({"target": first.target + 1}, {"mask": first.mask & (first.target > 90)}, {"padded": first.padded * 1.5}):
        assert inputs_digest([replace(first, **change), *brains[1:]], scaling) != digest
    assert inputs_digest(brains, RobustScaling.fit(brains[:2])) != digest


def test_a_run_that_is_killed_while_it_writes_leaves_an_alignment_to_resume(alignment, brains, tmp_path, monkeypatch):
    write_alignment(alignment, tmp_path, SETTINGS)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(alignment_files, "write_nifti", killed)
    with pytest.raises(KeyboardInterrupt):
        write_alignment(alignment, tmp_path, SETTINGS)
    assert read_alignment(tmp_path, brains, SETTINGS) is not None
    (tmp_path / "report.html").write_text("of somebody else")
    check_alignment_files(tmp_path)
    (tmp_path / "labels.nii.gz").write_text("of somebody else")
    with pytest.raises(OutputError, match=r"labels.nii.gz: expected a free name"):
        check_alignment_files(tmp_path)
    check_alignment_files(tmp_path, overwrite=True)


def test_names_that_cannot_name_files_are_refused(alignment, tmp_path):
    for names, sentence in (
        (("a", "a", "b"), "a: expected a name of its own for each subject, found 2"),
        (("../a", "b", "c"), "../a: expected"),
    ):
        named = tuple(replace(subject, name=name) for subject, name in zip(alignment.originals, names, strict=True))
        with pytest.raises(SubjectError, match=sentence):
            write_alignment(replace(alignment, originals=named), tmp_path / "alignment", SETTINGS)


def test_stains_that_stay_have_no_displacements(alignment, brains, tmp_path):
    """Those that an earlier run left are removed, and a file of somebody else is not."""
    write_alignment(alignment, tmp_path, SETTINGS)
    (tmp_path / "notes.json").write_text("{}")
    left = Alignment.from_control(brains, alignment.control, TRIAL, False)
    write_alignment(left, tmp_path, SETTINGS)
    assert {path.name for path in tmp_path.glob("[!.]*")} == {"alignment.json", "control_points.npz", "notes.json"}
    again = read_alignment(tmp_path, brains, SETTINGS)
    assert not again.is_moved
    assert again.subjects == tuple(brains)
    write_alignment(None, tmp_path, SETTINGS)
    assert {path.name for path in tmp_path.glob("[!.]*")} == {"notes.json"}
