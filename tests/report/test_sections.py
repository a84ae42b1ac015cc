import json
import re

import pytest

from helpers.reports import cells, picture, read
from mrh_monai.errors import SubjectError
from mrh_monai.report import page as report
from mrh_monai.report.page import write_report

pytestmark = pytest.mark.analysis


def test_trainings_comparisons_contributions_and_studies_have_sections(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.csv").write_text("epoch,val_rmse,val_r2\n1,0.5,0.25\n2,0.25,0.75\n3,0.375,0.5\n")
    curve = picture(tmp_path / "run" / "training_curve.png", b"curve")
    models = [
        {"name": name, "scores": {"r2": r2, "rmse": 2.5, "auc": 0.875, "ssim": None},
         "intervals": {"r2": [r2 - 0.125, r2 + 0.125], "rmse": [2, 3], "auc": [None, None], "ssim": [None, None]}}
        for name, r2 in (("mtr", 0.25), ("MRH network", 0.75))
    ]  # fmt: skip
    comparison = {
        "stain": "af", "models": models, "scored_on": {"subjects": ["s4"]}, "fitted_on": {"voxels": 4000, "subjects": ["s1", "s2"]},
        "structures": {"side": "below", "threshold": 42.5, "chosen": "Otsu"}, "intervals": {"resampled": "blocks"},
    }  # fmt: skip
    roc = picture(tmp_path / "compare" / "roc.png", b"roc")
    (tmp_path / "compare" / "comparison.json").write_text(json.dumps(comparison))
    rows = [{"image": f"i{n}", "share": 0.04, "cumulative": 0.04 * (n + 1), "rmse": 1.25} for n in range(25)]
    shares = picture(tmp_path / "contribution" / "contribution.png", b"shares")
    (tmp_path / "contribution" / "contribution.json").write_text(json.dumps({"contribution": rows}))
    drawn = picture(tmp_path / "depth.png", b"drawn")
    (tmp_path / "depth.csv").write_text("a\n1\n")
    (tmp_path / "depth.txt").write_text("Deeper <is> better.\n")
    (tmp_path / "notes.txt").write_text("no study")
    page = read(tmp_path)
    assert re.findall("<h2>(.*?)</h2>", page) == [
        "Comparison with MR markers and regressions: AF", "Images that matter", "Study: depth", "Training: run", "Provenance",
    ]  # fmt: skip
    assert "3 epochs; the best was epoch 2: validation RMSE 0.25, R2 0.7500." in page
    assert all(f'src="{source}"' in page for source in (curve, roc, shares, drawn))
    found = cells(page)
    network = found.index(["MRH network", "0.750 [0.625, 0.875]", "2.5 [2, 3]", "0.875", "", ""])
    assert found[network + 1][:2] == ["mtr", "0.250 [0.125, 0.375]"]
    assert '<tr class="first"><td>MRH network</td>' in page
    assert "scored on s4; regressions were fitted on 4,000 voxels of s1, s2. AUC for structures below 42.5 (Otsu); 95% intervals" in page
    assert ["i19", "4.00%", "80%", "1.25"] in found
    assert not any(row[:1] == ["i20"] for row in found)
    assert "<p>Deeper &lt;is&gt; better.</p>" in page
    assert "no study" not in page
    assert "no such" not in page
    assert 'data-state="static"' in page
    assert "NiiVue was not found" not in page


def alignment_of(folder, **changes):
    content = {
        "summary": "training stains were moved by 0.11 mm (median); and so on", "doubts": ["it folds in m2"], "is_moved": True,
        "subjects": [{"name": "m1", "median_mm": 0.114, "largest_mm": 0.25, "furthest_voxel": [3, 4, 5], "agreement_before": 0.46,
                      "agreement_after": 0.85}], **changes,
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "alignment.json").write_text(json.dumps(content))


def test_an_alignment_has_its_section(tmp_path):
    alignment_of(tmp_path / "run" / "alignment")
    drawn = [picture(tmp_path / "run" / "alignment" / f"{name}.png", name.encode()) for name in ("arrows", "histogram")]
    page = read(tmp_path)
    assert "<h2>Alignment of the training stains: run</h2>" in page
    assert "<p>Training stains were moved by 0.11 mm (median); and so on.</p>" in page
    assert "<p>Warning: it folds in m2.</p>" in page
    assert ["m1", "0.11", "0.25", "3, 4, 5", "0.46", "0.85"] in cells(page)
    assert all(f'src="{source}"' in page for source in drawn)


def test_stains_that_were_left_are_said_to_be(tmp_path):
    alignment_of(tmp_path / "run" / "alignment", summary="training stains were left where they are", doubts=[], is_moved=False)
    page = read(tmp_path)
    assert "<p>Training stains were left where they are.</p>" in page
    assert "moved most" not in page


def test_what_our_own_commands_write_has_its_sections(study_bundle, study, tmp_path, call):
    out = tmp_path / "out"
    subject = study / "subject04"
    options = ("--datalist", study / "datalist.json", "--device", "cpu", "--no-maps", "--voxels", 200, "-o", out / "compare")
    assert call("compare", study_bundle, *options)[0] == 0
    words = ("--images", "t2,mt_on", "--draws", 1, "--voxels", 50, "--device", "cpu", "-o", out / "contribution")
    assert call("contribution", study_bundle, subject, *words)[0] == 0
    page = read(out)
    assert "<h2>Comparison with MR markers and regressions: AF</h2>" in page
    content = json.loads((out / "compare" / "comparison.json").read_text())
    network = next(model for model in content["models"] if model["name"] == "MRH network")
    (row,) = [row for row in cells(page) if row and row[0] == "MRH network"]
    low, high = network["intervals"]["r2"]
    assert row[1] == f"{network['scores']['r2']:.3f} [{low:.3f}, {high:.3f}]"
    assert page.count("data:image/png;base64,") == 6


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("contribution.json", "{", "contribution.json: expected results in JSON, found JSONDecodeError"),
        ("comparison.json", "", "comparison.json: expected results in JSON"),
        ("comparison.json", "{}", "comparison.json: expected"),
        ("contribution.json", '{"contribution": [{"image": "a"}]}', "contribution.json: expected"),
        ("metrics.csv", "epoch,val_rmse,val_r2\n1,x,0.5\n", "metrics.csv: expected"),
    ],
)
def test_broken_results_are_one_sentence(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(SubjectError, match=message):
        write_report(tmp_path)


def test_pictures_of_results_go_before_the_page_grows_too_large(quick, results, monkeypatch):
    for name in ("one", "two"):
        (results / name).mkdir()
        (results / name / "depth.csv").write_text("a\n1\n")
        (results / name / "depth.txt").write_text(f"what {name} found")
        (results / name / "depth.png").write_bytes(bytes(40_000))
    monkeypatch.setattr(report, "LIMIT", 10**7)
    whole = write_report(results).stat().st_size
    for name, left_out in (("with both", 0), ("with one", 1), ("with none", 2)):
        monkeypatch.setattr(report, "LIMIT", whole - left_out * 50_000)
        page = read(results)
        assert (page.count("The pictures of this section are left out to keep the page below 8 MB"), name) == (left_out, name)
        assert (results / "report.html").stat().st_size <= report.LIMIT
        for words in ("<h2>subject04</h2>", "what one found", "what two found"):
            assert words in page


def test_foreign_results_do_not_end_inference(results, caplog):
    (results / "comparison.json").write_text("{}")
    with caplog.at_level("WARNING"):
        report.write_report_after_inference(results, True)
    assert "no report: error: " in caplog.text
    assert "comparison.json: expected results as mrh writes them" in caplog.text
