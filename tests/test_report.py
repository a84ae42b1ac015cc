import base64
import gzip
import html
import json
import os
import re
import shutil
import sys
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from conftest import ROOT, write_mrh_subject
from test_cli import call  # noqa: F401 (a fixture)

import mrh_monai
from mrh_monai import report
from mrh_monai.checkpoint import Sidecar
from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.finished import made_of, write_record
from mrh_monai.loading import load_subject, load_subjects
from mrh_monai.metrics import score
from mrh_monai.protocol import MRH_NET
from mrh_monai.provenance import about_files, about_network, command, versions
from mrh_monai.report import after_inference, write_report
from mrh_monai.reported import find_predictions, read_reported
from mrh_monai.scaling import fit_scaling, robust_level
from mrh_monai.subjects import Subject, find_subject
from mrh_monai.viewer import viewer_script
from mrh_monai.volumes import read_header, read_voxels, write_analyze, write_nifti

MADE_BY = {"weights": "a" * 64, "sidecar": "b" * 64, "precision": "float32"}
VIEWER = viewer_script()
needs_viewer = pytest.mark.skipif(VIEWER is None, reason="NiiVue comes with nilearn, which is not installed")

pytestmark = pytest.mark.analysis


@pytest.fixture(scope="module")
def scaling(study):
    subjects = [find_subject(study / name, target="targets/AF.img") for name in ("subject01", "subject02")]
    return fit_scaling(load_subjects(subjects, MRH_NET, need_target=True))


@pytest.fixture
def about(scaling):
    sidecar = Sidecar("af", "grey values", MRH_NET.names, 5, 64, [0, 2], 1, scaling, source={"recipe": "fast", "seed": 4})
    return about_network(sidecar, MRH_NET)


def predict(out, files, about, seed=0, made_by=MADE_BY):
    """A finished prediction, its stain the target with noise, or noise alone."""
    header = read_header(files.mask)
    mask = read_voxels(header)[..., 0] > 0
    target = read_voxels(read_header(files.target))[..., 0].astype(float) if files.target else np.full(mask.shape, 100.0)
    stain = (target + np.random.default_rng(seed).normal(0, 20, mask.shape)) * mask
    path = out / files.name / f"{files.name}_af.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, stain.astype(np.float32), header.affine)
    write_record(path, made_of(files), made_by, about | {"files": about_files(files)})
    return stain.astype(np.float32)


@pytest.fixture
def files(study):
    return find_subject(study / "subject04", target="targets/AF.img")


@pytest.fixture
def results(files, about, tmp_path):
    predict(tmp_path / "out", files, about)
    return tmp_path / "out"


def read(folder, **options):
    """The page without NiiVue's source."""
    text = write_report(folder, **options).read_text()
    return text if VIEWER is None else text.replace(VIEWER, "")


def cells(page):
    return [[html.unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall(r"<td.*?</td>", row)]
            for row in re.findall(r"<tr.*?</tr>", page, re.S)]  # fmt: skip


def checks_of(folder):
    (prediction,) = find_predictions(folder)
    return {check["what"]: (check["found"], check["good"]) for check in read_reported(prediction).checks}


def volumes_of(page):
    (text,) = re.findall(r'<script type="application/json" id="volumes">(.*?)</script>', page, re.S)
    volumes = json.loads(text)
    return {v["label"]: nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(v["b64"]))) for v in volumes}


def test_scores_of_the_page_are_those_of_metrics(results, files):
    stain = nibabel.load(results / "subject04" / "subject04_af.nii.gz").get_fdata()
    subject = load_subject(files, MRH_NET, need_target=True)
    scores = score(stain, subject.target, subject.mask)
    (row,) = [row for row in cells(read(results)) if row and row[0] == "subject04"]
    names = ("rmse", "nrmse", "mae", "r2", "determination", "ssim", "psnr")
    assert row[1:] == [f"{scores[name]:.4g}" for name in names]


def test_scores_leave_out_torn_tissue(files, about, tmp_path):
    sound = np.zeros((16, 6, 14), np.uint8)
    sound[4:12] = 1
    write_analyze(tmp_path / "sound.img", sound, 0.0625)
    torn = Subject(files.name, files.image, files.mask, files.fa, files.target, tmp_path / "sound.img")
    stain = predict(tmp_path / "out", torn, about)
    subject = load_subject(torn, MRH_NET, need_target=True)
    found = read_reported(find_predictions(tmp_path / "out")[0])
    assert found.scores == pytest.approx(score(stain, subject.target, subject.scored))
    assert found.scores["voxels"] == subject.scored.sum() < subject.mask.sum()


def test_a_sound_subject_passes_every_check(results):
    found = checks_of(results)
    assert list(found) == ["Files", "Images", "Grid", "Mask", "Magnetization transfer", "Diffusion", "Signal levels"]
    assert all(found[what][1] for what in found if what != "Diffusion")
    assert found["Images"][0] == "67 channels in 3 files, as the protocol has them"
    assert found["Grid"][0] == "16 x 6 x 14 voxels of 0.0625 x 0.0625 x 0.0625 mm, the same in all files"
    assert found["Mask"][0] == f"{14 * 6 * 12:,} voxels"
    # The tests' subjects have weights at random in the place of diffusion.
    assert found["Diffusion"] == ("a weighted image is brighter than the unweighted ones", False)
    page = read(results)
    assert page.count('<td class="bad">') == 1
    assert '<td class="bad">a weighted image is brighter' in page


@pytest.fixture
def own(tmp_path):
    """A subject of one's own, which may be changed."""
    write_mrh_subject(tmp_path / "own", seed=8)
    return find_subject(tmp_path / "own", target="targets/AF.img")


def change(own, index, edit):
    """Write one of a subject's files of images anew."""
    voxels = np.array(read_voxels(read_header(own.image[index])))
    edit(voxels)
    write_analyze(own.image[index], voxels, 0.0625)


def test_a_swapped_magnetization_transfer_pair_is_flagged(own, about, tmp_path):
    def swap(voxels):
        voxels[..., [1, 2]] = voxels[..., [2, 1]]

    change(own, 2, swap)
    predict(tmp_path / "out", own, about)
    words, good = checks_of(tmp_path / "out")["Magnetization transfer"]
    assert (words.startswith("MT on is brighter than MT off: the two look swapped"), good) == (True, False)
    assert f'<td class="bad">{words}</td>' in read(tmp_path / "out")


def test_diffusion_that_darkens_is_as_it_should_be(own, about, tmp_path):
    def darken(voxels):
        voxels[..., 2:] //= 9

    change(own, 0, darken)
    change(own, 1, darken)
    predict(tmp_path / "out", own, about)
    assert checks_of(tmp_path / "out")["Diffusion"] == ("every weighted image is darker than the unweighted ones", True)


def test_signals_unlike_the_training_subjects_are_flagged(own, about, scaling, tmp_path):
    def darken(voxels):
        voxels[..., 5] //= 10

    change(own, 0, darken)
    predict(tmp_path / "out", own, about)
    subject = load_subject(own, MRH_NET)
    mean = subject.image[subject.mask][:, 5].mean() / robust_level(subject.image[subject.mask], 99)
    away = (mean - scaling.channel_mean[5]) / scaling.channel_std[5]
    words, good = checks_of(tmp_path / "out")["Signal levels"]
    assert words.startswith(
        f"{MRH_NET.names[5]} is furthest from the training subjects, by {away:+.2f} standard deviations of their voxels:"
    )
    assert (away < -1, good) == (True, False)


def test_gain_is_no_difference_from_the_training_subjects(own, about, tmp_path):
    for index in range(3):
        change(own, index, lambda voxels: np.floor_divide(voxels, 4, out=voxels))
    predict(tmp_path / "out", own, about)
    assert checks_of(tmp_path / "out")["Signal levels"][1]


def test_changed_files_are_flagged(own, about, tmp_path):
    predict(tmp_path / "out", own, about)
    assert checks_of(tmp_path / "out")["Files"] == ("as they were when the stain was predicted", True)
    os.utime(own.image[1], ns=(1, 1))
    assert checks_of(tmp_path / "out")["Files"] == ("changed since the stain was predicted", False)


def test_missing_files_leave_the_prediction(own, about, tmp_path):
    stain = predict(tmp_path / "out", own, about)
    own.image[1].unlink()
    (words, good) = checks_of(tmp_path / "out")["Files"]
    assert ("rigidaffine_Lddm_dwi5000.img" in words, good) == (True, False)
    found = read_reported(find_predictions(tmp_path / "out")[0])
    assert (found.image, found.scores) == (None, None)
    np.testing.assert_allclose(found.stain, stain)
    page = read(tmp_path / "out")
    assert "cannot be read as they were" in page
    assert "<h2>Scores</h2>" not in page


def test_images_on_another_grid_are_flagged(own, about, tmp_path):
    predict(tmp_path / "out", own, about)
    shutil.rmtree(tmp_path / "own")
    write_mrh_subject(tmp_path / "own", shape=(16, 7, 14))
    words, good = checks_of(tmp_path / "out")["Files"]
    assert ("expected shape (16, 7, 14) as its images, found (16, 6, 14)" in words, good) == (True, False)


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


def test_scores_of_evaluation_are_taken_where_there_is_no_target(quick, study, about, tmp_path):
    predict(tmp_path / "out", find_subject(study / "subject04"), about)
    values = {"rmse": 1.5, "nrmse": 0.25, "mae": 1.25, "r2": None, "determination": 0.5, "ssim": 0.75, "psnr": 12.0}
    (tmp_path / "out" / "scores.json").write_text(json.dumps({"subject04": values, "another": values}))
    rows = [row for row in cells(read(tmp_path / "out")) if row and row[0] in ("subject04", "another")]
    assert rows == [["subject04", "1.5", "0.25", "1.25", "", "0.5", "0.75", "12"]]


@needs_viewer
def test_the_viewer_holds_image_stain_target_and_error(results, files):
    stain = nibabel.load(results / "subject04" / "subject04_af.nii.gz").get_fdata()
    subject = load_subject(files, MRH_NET, need_target=True)
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
    assert (rows["Weights, SHA-256"], rows["Sidecar, SHA-256"], rows["Precision"]) == ("a" * 64, "b" * 64, "float32")
    assert rows["Network"] == "5 residual blocks, 64 features"
    assert (rows["Input"], rows["Started from"]) == ("67 channels", "scratch")
    assert json.loads(rows["Made by"]) == {"recipe": "fast", "seed": 4}
    assert f"mrh-monai {mrh_monai.__version__}" in rows["Software"]
    assert "torch " in rows["Software"]
    assert "report 'my out'; mrh-monai" in rows["Report"]


def test_the_parent_and_every_network_are_named(quick, study, about, tmp_path):
    parent = {"stain": "nf", "sha256": "c" * 64}
    for name, weights in (("subject03", "d"), ("subject04", "e")):
        predict(tmp_path, find_subject(study / name), about | {"parent": parent}, made_by=MADE_BY | {"weights": weights * 64})
    rows = dict(row for row in cells(read(tmp_path)) if len(row) == 2)
    assert rows["Weights, SHA-256"] == f"{'d' * 64}, {'e' * 64}"
    assert rows["Started from"] == f"nf, SHA-256 {'c' * 64}"


def test_provenance_tells_versions_command_and_files(monkeypatch, files, about):
    found = versions()
    assert (found["mrh-monai"], found["nibabel"]) == (mrh_monai.__version__, nibabel.__version__)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    monkeypatch.setattr(sys, "argv", ["/usr/bin/mrh", "predict", "a b"])
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=None))
    assert command() == "mrh predict 'a b'"
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=SimpleNamespace(name="monai.bundle.__main__")))
    assert command() == "python -m monai.bundle predict 'a b'"
    assert about["channels"] == MRH_NET.to_rows()
    assert about_files(files) == {
        "image": [str(path.resolve()) for path in files.image], "mask": str(files.mask.resolve()), "fa": str(files.fa.resolve()),
        "target": str(files.target.resolve()),
    }  # fmt: skip


def test_a_library_that_is_absent_has_no_version(monkeypatch):
    monkeypatch.setattr("mrh_monai.provenance.LIBRARIES", ("numpy", "no-such-library"))
    assert list(versions()) == ["mrh-monai", "python", "numpy"]


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


@pytest.fixture
def quick(monkeypatch):
    """Pictures that are none, in no time."""
    for name in ("three_planes", "channel_levels"):
        monkeypatch.setattr(report, name, lambda *arguments: arguments[-1].write_bytes(b"0" * 30_000))


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
    rows = [row[:2] for row in cells(read(tmp_path, subject="subject04")) if row and row[0].startswith("subject")]
    assert [row[0] for row in rows] == ["subject01", "subject02", "subject03", "subject04"]
    assert rows[2] == ["subject03", "4.5"]


def test_one_subject_predicted_twice_is_told_apart_by_its_folders(quick, files, about, tmp_path):
    for name, seed in (("epoch1", 1), ("epoch2", 2)):
        predict(tmp_path / name, files, about, seed)
    assert [prediction.name for prediction in find_predictions(tmp_path)] == ["epoch1/subject04", "epoch2/subject04"]
    page = read(tmp_path, subject="epoch2/subject04")
    assert re.findall("<h2>(epoch.*?)</h2>", page) == ["epoch2/subject04", "epoch1/subject04"]
    rows = {row[0]: row[1] for row in cells(page) if row and row[0].startswith("epoch")}
    for name, seed in (("epoch1", 1), ("epoch2", 2)):
        subject = load_subject(files, MRH_NET, need_target=True)
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


def picture(path, text=b"png"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    return "data:image/png;base64," + base64.b64encode(text).decode()


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
        "Beside MR markers and regressions: AF", "Which images matter", "Study: depth", "Training: run", "Provenance",
    ]  # fmt: skip
    assert "3 epochs; the best was epoch 2: validation RMSE 0.25, R2 0.7500." in page
    assert all(f'src="{source}"' in page for source in (curve, roc, shares, drawn))
    found = cells(page)
    network = found.index(["MRH network", "0.75 [0.625, 0.875]", "2.5 [2, 3]", "0.875", ""])
    assert found[network + 1][:2] == ["mtr", "0.25 [0.125, 0.375]"]
    assert '<tr class="first"><td>MRH network</td>' in page
    assert "scored on s4; regressions were fitted on 4,000 voxels of s1, s2. AUC for structures below 42.5 (Otsu); 95% intervals" in page
    assert ["i19", "4.00%", "80%", "1.25"] in found
    assert not any(row[:1] == ["i20"] for row in found)
    assert "<p>Deeper &lt;is&gt; better.</p>" in page
    assert "no study" not in page
    assert "no such" not in page
    assert 'data-state="static"' in page
    assert "NiiVue was not found" not in page


def test_what_our_own_commands_write_has_its_sections(study, tmp_path, call):  # noqa: F811
    bundle = shutil.copytree(ROOT / "bundles" / "mrh_af", tmp_path / "mrh_af")
    out = tmp_path / "out"
    subject = study / "subject04"
    options = ("--datalist", study / "datalist.json", "--device", "cpu", "--no-maps", "--voxels", 200, "-o", out / "compare")
    assert call("compare", bundle, *options)[0] == 0
    words = ("--images", "t2,mt_on", "--draws", 1, "--voxels", 50, "--device", "cpu", "-o", out / "contribution")
    assert call("contribution", bundle, subject, *words)[0] == 0
    page = read(out)
    assert "<h2>Beside MR markers and regressions: AF</h2>" in page
    content = json.loads((out / "compare" / "comparison.json").read_text())
    network = next(model for model in content["models"] if model["name"] == "MRH network")
    (row,) = [row for row in cells(page) if row and row[0] == "MRH network"]
    low, high = network["intervals"]["r2"]
    assert row[1] == f"{network['scores']['r2']:.3g} [{low:.3g}, {high:.3g}]"
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
        OptionError, match="empty: expected predictions, a training run, a comparison, a contribution or a study, found none"
    ):
        write_report(tmp_path / "empty")
    with pytest.raises(OptionError, match="nowhere: expected a folder of results, found nothing; name what training or inference wrote"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(OptionError, match="--subject: expected one of subject04, found 'subject05'; choose another"):
        write_report(results, subject="subject05")
    with pytest.raises(OptionError, match="expected one of the predicted subjects, of which there are none, found 'x'"):
        write_report(tmp_path / "empty", subject="x")
    assert list((tmp_path / "empty").iterdir()) == []


def test_after_inference_where_it_is_wanted(results, tmp_path):
    after_inference(results, False)
    assert not (results / "report.html").exists()
    after_inference(results, True)
    assert (results / "report.html").read_text().startswith("<!doctype html>")
    (tmp_path / "none").mkdir()
    after_inference(tmp_path / "none", True)
    assert list((tmp_path / "none").iterdir()) == []


def test_mrh_report_writes_where_it_is_told(quick, call, results, tmp_path):  # noqa: F811
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
        (["{results}", "--subject", "subject05"], "error: --subject: expected one of subject04, found 'subject05'; choose another."),
        (["{results}/subject04/subject04_af.json"], "expected a folder of results, found a file"),
        (["{results}", "-o", "{results}/subject04/subject04_af.json/a.html"], "expected a folder that can be written"),
    ],
)
def test_a_report_that_cannot_be_is_one_sentence(call, results, words, sentence):  # noqa: F811
    status, _, err = call("report", *(word.format(results=results) for word in words))
    assert status == 1
    assert sentence in err
    assert len(err.strip().splitlines()) == 1
