"""Scores, viewer and provenance on the page."""

import json

import nibabel
import numpy as np
import pytest

from helpers.reports import MADE_BY, cells, needs_viewer, predict, read, volumes_of
from mrh_monai.data.checked_voxels import ReadingOptions
from mrh_monai.data.input_kinds import load_subject
from mrh_monai.evaluation.scores import score
from mrh_monai.io.nibabel_files import write_analyze
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.report.predicted_subject import find_predictions, read_predicted_subject
from mrh_monai.subjects.subject import Subject
from mrh_monai.subjects.subject_search import find_subject

pytestmark = pytest.mark.analysis


def test_scores_of_the_page_are_those_of_metrics(results, files):
    stain = nibabel.load(results / "subject04" / "subject04_af.nii.gz").get_fdata()
    subject = load_subject(files, MRH_NET, ReadingOptions(need_target=True))
    scores = score(stain, subject.target, subject.mask)
    (row,) = [row for row in cells(read(results)) if row and row[0] == "subject04"]
    names = ("rmse", "nrmse", "mae", "r2", "determination", "ssim", "psnr")
    assert row[2:-1] == [f"{scores[name]:.4g}" for name in names]


def test_scores_leave_out_torn_tissue(files, about, tmp_path):
    sound = np.zeros((16, 6, 14), np.uint8)
    sound[4:12] = 1
    write_analyze(tmp_path / "sound.img", sound, 0.0625)
    torn = Subject(files.name, files.image, files.mask, files.fa, files.target, tmp_path / "sound.img")
    stain = predict(tmp_path / "out", torn, about)
    subject = load_subject(torn, MRH_NET, ReadingOptions(need_target=True))
    found = read_predicted_subject(find_predictions(tmp_path / "out")[0])
    assert found.scores == pytest.approx(score(stain, subject.target, subject.scored))
    assert found.scores["voxels"] == subject.scored.sum() < subject.mask.sum()


def test_scores_of_evaluation_are_taken_where_there_is_no_target(quick, study, about, tmp_path):
    predict(tmp_path / "out", find_subject(study / "subject04"), about)
    values = {"rmse": 1.5, "nrmse": 0.25, "mae": 1.25, "r2": None, "determination": 0.5, "ssim": 0.75, "psnr": 12.0}
    (tmp_path / "out" / "scores.json").write_text(json.dumps({"subject04": values, "another": values}))
    rows = [row for row in cells(read(tmp_path / "out")) if row and row[0] in ("subject04", "another")]
    assert rows == [["subject04", "AF", "1.5", "0.25", "1.25", "", "0.5", "0.75", "12", "grey values"]]


@needs_viewer
def test_the_viewer_holds_image_stain_target_and_error(results, files):
    stain = nibabel.load(results / "subject04" / "subject04_af.nii.gz").get_fdata()
    subject = load_subject(files, MRH_NET, ReadingOptions(need_target=True))
    volumes = volumes_of(read(results))
    assert list(volumes) == ["base", "AF predicted", "AF true", "size of the error"]
    box = (slice(1, -1), slice(None), slice(1, -1))
    target = subject.target.astype(float)
    expected = {
        "base": subject.image[..., MRH_NET.names.index("mt_off")], "AF predicted": stain, "AF true": target,
        "size of the error": np.abs(stain - target),
    }  # fmt: skip
    for label, image in volumes.items():
        found, whole = image.get_fdata(), expected[label][box]
        high = found.max()
        assert high == pytest.approx(np.percentile(whole, 99.5), rel=0.1)
        np.testing.assert_allclose(found, whole.clip(0, high), atol=0.51 * high / 255)
        corner = image.affine @ [0, 0, 0, 1]
        np.testing.assert_allclose(corner, subject.affine @ [1, 0, 1, 1], atol=1e-6)


def test_the_parent_and_every_network_are_named(quick, study, about, tmp_path):
    parent = {"stain": "nf", "sha256": "c" * 64}
    for name, weights in (("subject03", "d"), ("subject04", "e")):
        predict(tmp_path, find_subject(study / name), about | {"parent": parent}, made_by=MADE_BY | {"weights": weights * 64})
    rows = [row for row in cells(read(tmp_path)) if len(row) == 2]
    assert [value for key, value in rows if key == "AF: weights, SHA-256"] == ["d" * 64, "e" * 64]
    assert [value for key, value in rows if key == "Started from"] == [f"nf, SHA-256 {'c' * 64}"] * 2
