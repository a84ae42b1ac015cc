import json
import re
import sys

import numpy as np
import pytest

import mrh_monai
from helpers.reports import MADE_BY, VIEWER, cells, needs_viewer, predict, read, volumes_of
from helpers.subjects import write_mrh_subject, write_nifti
from mrh_monai.data.checked_voxels import ReadingOptions
from mrh_monai.data.input_kinds import load_subject
from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.evaluation.scores import score
from mrh_monai.inference.predictor import load_bundle
from mrh_monai.inference.provenance import NO_HEAD
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.report import page as report
from mrh_monai.report.page import write_report, write_report_after_inference
from mrh_monai.report.predicted_subject import find_predictions
from mrh_monai.subjects import SubjectArrays
from mrh_monai.subjects.subject import Subject
from mrh_monai.subjects.subject_search import find_subject

pytestmark = pytest.mark.analysis


def test_a_prediction_that_is_broken_is_one_sentence(results):
    path = results / "subject04" / "subject04_af.nii.gz"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(SubjectError, match="subject04_af.nii.gz: expected"):
        write_report(results)


def test_without_a_target_there_are_no_scores_but_slices(study, about, tmp_path):
    predict(tmp_path / "out", find_subject(study / "subject04"), about)
    page = read(tmp_path / "out")
    assert "<h2>Scores</h2>" not in page
    assert page.count("data:image/png;base64,") == 2
    if VIEWER is not None:
        assert list(volumes_of(page)) == ["base", "AF predicted"]


@needs_viewer
def test_the_page_needs_no_network(results):
    page = read(results)
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    assert 'data-state="loading"' in page
    assert 2 * 10**6 < (results / "report.html").stat().st_size < 8 * 10**6


def test_where_it_comes_from(results, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/mrh", "report", "my out"])
    rows = dict(row for row in cells(read(results)) if len(row) == 2)
    assert (rows["AF: weights, SHA-256"], rows["Sidecar, SHA-256"]) == ("a" * 64, "b" * 64)
    assert rows["Network"] == "5 residual blocks, 64 features, 67 channels, float32"
    assert rows["Started from"] == "scratch"
    assert rows["Trained"] == "recipe fast, seed 4"
    assert f"mrh-monai {mrh_monai.__version__}" in rows["Software"]
    assert "torch " in rows["Software"]
    assert "report 'my out'; mrh-monai" in rows["Report by"]


def test_names_and_words_cannot_become_markup(quick, study, about, tmp_path):
    image = find_subject(study / "subject04")
    files = Subject("<b>x", image.image, image.mask, image.fa, study / "subject04" / "targets" / "AF.img")
    predict(tmp_path / "out", files, about | {"stain": "</script><i>", "units": "<u>", "command": "rm & <tt>"})
    page = read(tmp_path / "out")
    for text in ("<b>x", "<i>", "<I>", "<u>", "<tt>", "</SCRIPT>"):
        assert text not in page
    assert "&lt;b&gt;x" in page
    assert "rm &amp; &lt;tt&gt;" in page
    if VIEWER is not None:
        assert page.count("</script>") == 3
        assert "</SCRIPT><I> true" in volumes_of(page)


@needs_viewer
def test_a_page_that_would_be_too_large_shrinks(quick, about, tmp_path, monkeypatch):
    write_mrh_subject(tmp_path / "own", shape=(60, 24, 60))
    own = find_subject(tmp_path / "own", target="targets/AF.img")
    predict(tmp_path / "out", own, about)
    page = read(tmp_path / "out")
    assert "joined into one" not in page
    monkeypatch.setattr(report, "LIMIT", len(VIEWER.encode()) + len(page) - 60_000)
    page = read(tmp_path / "out")
    assert "2 x 2 x 2 voxels joined into one to keep this page small" in page
    assert (tmp_path / "out" / "report.html").stat().st_size <= report.LIMIT
    monkeypatch.setattr(report, "LIMIT", len(VIEWER.encode()))
    page = read(tmp_path / "out")
    assert (tmp_path / "out" / "report.html").stat().st_size <= report.LIMIT
    assert 'id="volumes"' not in page
    assert "<h2>Provenance</h2>" in page


@needs_viewer
def test_large_volumes_are_limited_by_themselves(quick, about, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "VOLUMES", 1000)
    write_mrh_subject(tmp_path / "own", shape=(60, 24, 60))
    predict(tmp_path / "out", find_subject(tmp_path / "own", target="targets/AF.img"), about)
    texts = re.findall(r'id="volumes">(.*?)</script>', read(tmp_path / "out"), re.S)
    assert len(texts[0]) < 200_000 + 1000


def test_pictures_that_do_not_fit_are_left_out(quick, study, about, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "viewer_script", lambda: None)
    for name in ("subject03", "subject04"):
        predict(tmp_path, find_subject(study / name, target="targets/AF.img"), about)
    page = read(tmp_path)
    assert page.count("data:image/png;base64,") == 4
    monkeypatch.setattr(report, "LIMIT", len(page) - 1000)
    page = read(tmp_path)
    assert page.count("data:image/png;base64,") == 2
    assert "Not shown in pictures: 1 more" in page


def test_three_subjects_are_shown_in_pictures(quick, study, about, tmp_path):
    for index in range(4):
        predict(tmp_path, find_subject(study / f"subject0{index + 1}", target="targets/AF.img"), about, seed=index)
    page = read(tmp_path)
    assert re.findall("<h2>(subject.*?)</h2>", page) == ["subject01", "subject02", "subject03"]
    assert "Not shown in pictures: 1 more; --subject NAME puts one of them first." in page
    page = read(tmp_path, subject="subject04")
    assert re.findall("<h2>(subject.*?)</h2>", page) == ["subject04", "subject01", "subject02"]
    if VIEWER is not None:
        assert "<h2>Slices of subject04</h2>" in page
    (tmp_path / "scores.json").write_text(json.dumps({"subject03": {"rmse": 4.5}}))
    rows = [row[:3] for row in cells(read(tmp_path, subject="subject04")) if row and row[0].startswith("subject")]
    assert [row[0] for row in rows] == ["subject01", "subject02", "subject03", "subject04"]
    assert rows[2] == ["subject03", "AF", "4.5"]


def test_one_subject_predicted_twice_is_told_apart_by_its_folders(quick, files, about, tmp_path):
    for name, seed in (("epoch1", 1), ("epoch2", 2)):
        predict(tmp_path / name, files, about, seed)
    assert [prediction.name for prediction in find_predictions(tmp_path)] == ["epoch1/subject04", "epoch2/subject04"]
    page = read(tmp_path, subject="epoch2/subject04")
    assert re.findall("<h2>(epoch.*?)</h2>", page) == ["epoch2/subject04", "epoch1/subject04"]
    rows = {row[0]: row[2] for row in cells(page) if row and row[0].startswith("epoch")}
    for name, seed in (("epoch1", 1), ("epoch2", 2)):
        subject = load_subject(files, MRH_NET, ReadingOptions(need_target=True))
        stain = predict(tmp_path / name, files, about, seed)
        assert rows[f"{name}/subject04"] == f"{score(stain, subject.target, subject.mask)['rmse']:.4g}"


def test_without_nilearn_the_page_says_so(results, monkeypatch):
    monkeypatch.setattr(report, "viewer_script", lambda: None)
    page = read(results)
    assert "The interactive viewer is left out: NiiVue was not found. It comes with nilearn: pip install" in page
    assert 'data-state="static"' in page
    assert "<canvas" not in page
    assert "<script" not in page
    assert page.count("data:image/png;base64,") == 2


def test_records_without_words_are_from_older_versions(files, tmp_path):
    predict(tmp_path, files, {})
    path = tmp_path / "subject04" / "subject04_af.json"
    record = json.loads(path.read_text())
    record.pop("about")
    path.write_text(json.dumps(record))
    page = read(tmp_path)
    assert "a" * 64 in page
    assert "subject04" in page
    path.write_text("{")
    assert find_predictions(tmp_path) == []


def test_no_results_and_no_such_subject_are_refused(results, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        OptionError, match="empty: expected predictions, a training run, a comparison, a contribution or a study, found no results"
    ):
        write_report(tmp_path / "empty")
    with pytest.raises(OptionError, match="nowhere: expected a folder of results, found no such folder; name the folder that"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(OptionError, match="subject: expected one of subject04, found 'subject05'; choose another subject"):
        write_report(results, subject="subject05")
    with pytest.raises(OptionError, match="expected a predicted subject in this folder, found 'x'; leave --subject out"):
        write_report(tmp_path / "empty", subject="x")
    assert list((tmp_path / "empty").iterdir()) == []


def test_after_inference_where_it_is_wanted(results, tmp_path):
    write_report_after_inference(results, False)
    assert not (results / "report.html").exists()
    write_report_after_inference(results, True)
    assert (results / "report.html").read_text().startswith("<!doctype html>")
    (tmp_path / "none").mkdir()
    write_report_after_inference(tmp_path / "none", True)
    assert list((tmp_path / "none").iterdir()) == []


def test_mrh_report_writes_where_it_is_told(quick, call, results, tmp_path):
    status, out, _ = call("report", results)
    assert (status, out.strip()) == (0, str(results / "report.html"))
    assert "<h2>subject04</h2>" in (results / "report.html").read_text()
    status, out, _ = call("report", results, "-o", tmp_path / "new" / "page.html", "--subject", "subject04")
    assert (status, out.strip()) == (0, str(tmp_path / "new" / "page.html"))
    # The first page is no result, and changes nothing in the second.
    assert len((tmp_path / "new" / "page.html").read_text()) == pytest.approx(len((results / "report.html").read_text()), abs=500)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["{results}", "--subject", "subject05"],
            "error: --subject: expected one of subject04, found 'subject05'; choose another",
        ),
        (["{results}/subject04/subject04_af.json"], "expected a folder of results, found a file"),
        (["{results}", "-o", "{results}/subject04/subject04_af.json/a.html"], "expected a folder that can be written"),
    ],
)
def test_a_report_that_cannot_be_is_one_sentence(call, results, words, sentence):
    status, _, err = call("report", *(word.format(results=results) for word in words))
    assert status == 1
    assert sentence in err
    assert len(err.strip().splitlines()) == 1


def test_several_stains_on_one_page_keep_their_names_and_units(quick, files, about, tmp_path):
    predict(tmp_path / "af", files, about, seed=1)
    predict(tmp_path / "nf", files, about | {"stain": "nf", "units": "optical density"}, seed=2, made_by=MADE_BY | {"weights": "f" * 64})
    page = read(tmp_path)
    assert "<title>Virtual histology: AF, NF</title>" in page
    rows = {row[0]: (row[1], row[-1]) for row in cells(page) if row and row[0] in ("af/subject04", "nf/subject04") and len(row) > 2}
    assert rows == {"af/subject04": ("AF", "grey values"), "nf/subject04": ("NF", "optical density")}
    assert ["NF: weights, SHA-256", "f" * 64] in cells(page)


def test_what_mrh_predict_wrote_has_a_page(quick, study_bundle, study, tmp_path):
    predictor = load_bundle(study_bundle)
    predictor.predict(study / "subject04").save(tmp_path / "af.nii.gz")
    page = read(tmp_path)
    assert "<h2>subject04</h2>" in page
    assert "1 predicted subject;" in page
    assert ["AF: weights, SHA-256", predictor.sidecar.sha256] in cells(page)
    assert ["Files", "as they were when the stain was predicted"] in cells(page)


def test_predictions_in_one_folder_are_told_apart_by_their_files(quick, study_bundle, study, tmp_path):
    predictor = load_bundle(study_bundle)
    for subject, name in (("subject03", "other.nii"), ("subject04", "first.nii.gz"), ("subject04", "second.nii")):
        predictor.predict(study / subject).save(tmp_path / name)
    write_nifti(tmp_path / "scan.nii.gz", np.ones((2, 2, 2)))
    (tmp_path / "scan.json").write_text("{}")
    found = {prediction.name: prediction.path.name for prediction in find_predictions(tmp_path)}
    assert found == {"subject03": "other.nii", "first": "first.nii.gz", "second": "second.nii"}
    assert {prediction.subject_name for prediction in find_predictions(tmp_path)} == {"subject03", "subject04"}


def test_arrays_have_a_page_without_files(quick, study_bundle, study, tmp_path):
    loaded = load_subject(find_subject(study / "subject04"), MRH_NET)
    arrays = SubjectArrays(np.array(loaded.image), loaded.mask, loaded.affine, name="mouse")
    load_bundle(study_bundle).predict(arrays).save(tmp_path / "af.nii.gz")
    page = read(tmp_path)
    assert "<h2>mouse</h2>" in page
    assert ["Intervals", NO_HEAD] in cells(page)
    assert "Signal levels" not in page
