import json
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import scipy.io
from skimage.filters import threshold_otsu
from sklearn.metrics import roc_auc_score

from helpers.matlab_files import forward, mrh_net, write_network
from helpers.patch_file_writing import write_patch_file
from helpers.subjects import write_mrh_subject, write_nifti
from mrh_monai.data.subject import find_subject
from mrh_monai.data.subject_voxels import load_subject
from mrh_monai.io.volume_files import write_analyze
from mrh_monai.protocol.mr_protocol import MRH_NET


def mrh(*words) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mrh_monai.cli.app", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_phantom_writes_subjects_that_datalist_finds(call, tmp_path):
    status, out, _ = call("phantom", tmp_path / "p", "--subjects", 3, "--shape", 24, 4, 24, "--seed", 1)
    assert status == 0
    assert [line.rsplit("/", 1)[1] for line in out.splitlines()] == ["subject01", "subject02", "subject03"]
    words = ("--target", "targets/AllenPathology2P60.img", "--train", 1, "--val", 1, "-o", tmp_path / "p" / "d.json")
    status, out, _ = call("datalist", tmp_path / "p", *words)
    assert (status, out.strip().split(": ")[1]) == (0, "1 training, 1 validation, 1 test")
    entry = json.loads((tmp_path / "p" / "d.json").read_text())["training"][0]
    assert entry["target"] == "subject01/targets/AllenPathology2P60.img"


def test_datalist_splits_one_brain_by_slices(call, study, tmp_path):
    status, _, _ = call("datalist", study, "--train-slices", "0:2,3:4", "--test-slices", "4:6", "-o", tmp_path / "d.json")
    lists = json.loads((tmp_path / "d.json").read_text())
    assert status == 0
    assert [len(lists[key]) for key in ("training", "validation", "test")] == [4, 0, 4]
    assert lists["training"][0]["slices"] == [[0, 2], [3, 4]]


def test_datalist_of_another_layout(call, tmp_path):
    for name in ("a", "b"):
        for file in ("qa.nii.gz", "iso.nii.gz", "mask.nii.gz"):
            write_nifti(tmp_path / name / file, np.ones((4, 4, 4), np.uint8))
    (tmp_path / "layout.yaml").write_text("image: [qa.nii.gz, iso.nii.gz]\nmask: mask.nii.gz\n")
    status, _, _ = call("datalist", tmp_path, "--layout", tmp_path / "layout.yaml", "-o", tmp_path / "d.json")
    assert status == 0
    assert json.loads((tmp_path / "d.json").read_text())["test"][1] == {
        "subject": "b", "image": ["b/qa.nii.gz", "b/iso.nii.gz"], "mask": "b/mask.nii.gz"
    }  # fmt: skip


def test_predict_writes_the_stain_on_the_subjects_grid(call, untrained_bundle, study, tmp_path):
    status, out, _ = call(
        "predict", untrained_bundle, study / "subject01", "-o", tmp_path / "af.nii.gz", "--device", "cpu", "--precision", "float32"
    )
    assert (status, out.strip()) == (0, str(tmp_path / "af.nii.gz"))
    image = nibabel.load(tmp_path / "af.nii.gz")
    mask = nibabel.load(study / "subject01" / "Masked_outline.img")
    np.testing.assert_allclose(image.affine, mask.affine)
    assert not image.get_fdata()[np.asarray(mask.dataobj) == 0].any()
    assert image.get_fdata().any()


def test_evaluate_refuses_a_stain_that_is_the_same_everywhere(call, study):
    mask = study / "subject01" / "Masked_outline.img"
    status, _, err = call("evaluate", study / "subject01" / "targets" / "AF.img", mask, "--mask", mask)
    assert (status, "Masked_outline.img: expected a stain inside the mask, found 1 everywhere" in err) == (1, True)


def test_evaluate_detects_structures_above_a_threshold(call, study):
    prediction, target, mask = (study / "subject01" / name for name in ("rigidaffine_Lddm_fa.img", "targets/AF.img", "Masked_outline.img"))
    scores = [json.loads(call("evaluate", prediction, target, "--mask", mask, *words)[1]) for words in ((), ("--threshold", "200"))]
    p, t = (nibabel.load(path).get_fdata()[nibabel.load(mask).get_fdata() > 0] for path in (prediction, target))
    assert [s["threshold"] for s in scores] == [pytest.approx(threshold_otsu(t), abs=1), 200]
    assert scores[1]["auc"] == pytest.approx(roc_auc_score(t > 200, p))


def test_evaluate_prints_and_writes_scores(call, study, tmp_path):
    target = study / "subject01" / "targets" / "AF.img"
    status, out, _ = call("evaluate", target, target, "--mask", study / "subject01" / "Masked_outline.img", "-o", tmp_path / "s.json")
    scores = json.loads(out)
    assert (status, scores["rmse"], scores["r2"]) == (0, 0, pytest.approx(1))
    assert json.loads((tmp_path / "s.json").read_text()) == scores


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["datalist", "nowhere", "-o", "d.json"], "error: nowhere: expected a folder of subject folders, found nothing; check the path."),
        (["datalist", "{study}", "--train", "9", "-o", "d.json"], "expected at least 9 subjects"),
        (["datalist", "{study}", "--train-slices", "5", "-o", "d.json"], "slices: expected ranges such as 0:13,17:30"),
        (["datalist", "{study}", "--target", "none.img", "-o", "d.json"], "expected the target none.img in it or beside it"),
        (["predict", "{study}", "{study}/subject01", "-o", "a.nii"], "expected a bundle folder, found no configs/metadata.json in it"),
        (["predict", "{bundle}", "{study}", "-o", "a.nii"], "expected one file rigidaffine"),
        (
            ["datalist", "{study}", "--train", "1", "--test-slices", "0:2", "-o", "d.json"],
            "subjects shared out either by number or by slices",
        ),
        (["predict", "{bundle}", "{study}/subject01", "-o", "{study}/datalist.json/a.nii"], "a folder that can be written"),
        (["predict", "{bundle}", "{study}/subject01", "-o", "a.png"], "expected a name ending in .nii or .nii.gz, found '.png'"),
        (["predict", "{bundle}", "{study}/subject01", "-o", "a.nii", "--device", "gpu"], "device: expected auto, cpu, cuda or cuda:N"),
        (["predict", "{bundle}", "{study}/subject01", "-o", "a.nii", "--nan", "skip"], "nan: expected refuse or zero"),
        (["evaluate", "{study}/no.nii", "{study}/no.nii", "--mask", "{study}/no.nii"], "no.nii: expected a file, found none"),
        (
            [
                "evaluate",
                "{study}/subject01/targets/AF.img",
                "{study}/subject01/targets/AF.img",
                "--mask",
                "{study}/subject01/Masked_outline.img",
                "--threshold",
                "999",
            ],
            "--threshold: expected a threshold within the target's",
        ),
        (["phantom", "p", "--subjects", "0"], "subjects"),
        (["phantom", "p", "--shape", "5", "5", "5"], "shape: expected at least 24 3 24 voxels, found 5 5 5"),
        (["phantom", "{study}/datalist.json/p"], "expected a folder that can be written"),
    ],
)
def test_wrong_input_is_one_sentence_and_status_1(call, study, untrained_bundle, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    status, _, err = call(*(word.format(study=study, bundle=untrained_bundle) for word in words))
    assert status == 1
    assert sentence in err
    assert len(err.strip().splitlines()) == 1


def test_no_weights_is_one_sentence(call, untrained_bundle, study, tmp_path):
    (untrained_bundle / "models" / "model.pt").unlink()
    status, _, err = call("predict", untrained_bundle, study / "subject01", "-o", tmp_path / "a.nii")
    assert status == 1
    assert "model.pt: expected trained weights, found no such file; train the bundle first" in err


def test_usage_errors_have_status_2_and_debug_shows_the_traceback():
    assert mrh("predict").returncode == 2
    assert mrh("predikt").returncode == 2
    done = mrh("--debug", "datalist", "nowhere", "-o", "d.json")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_help_does_not_pay_for_torch():
    code = "import sys, mrh_monai.cli.app, mrh_monai.data.subject, mrh_monai.data.datalist; print('torch' in sys.modules, 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout.split() == [
        "False",
        "False",
    ]


def test_a_matlab_network_goes_into_a_bundle_predicts_and_comes_out_again(call, untrained_bundle, study, tmp_path):
    network = write_network(tmp_path / "own" / "net.mat", *mrh_net(2, 67, 8))
    status, out, _ = call("import-matlab", network, "--bundle", untrained_bundle, "--target-max", 255)
    assert status == 0
    assert "2 residual blocks, 67 channels, 8 features, published scaling, training ended at RMSE 0.48 a patch" in out
    assert call("predict", untrained_bundle, study / "subject01", "-o", tmp_path / "af.nii.gz")[0] == 0
    voxels = nibabel.load(tmp_path / "af.nii.gz").get_fdata()
    assert voxels[1:-1, :, 1:-1].any()
    assert not voxels[[0, -1]].any()
    assert not voxels[:, :, [0, -1]].any()
    status, out, _ = call("export-matlab", untrained_bundle, "-o", tmp_path / "again.mat")
    assert (status, sorted(path.name for path in tmp_path.glob("again.*"))) == (0, ["again.m", "again.mat"])
    assert "in MATLAB, net = again();" in out


def test_support_and_nan_of_published_scaling(call, untrained_bundle, tmp_path, rng):
    """NaN become 0 and FA > 0 can stand in for the mask, against the layer list's own arithmetic."""
    folder = write_mrh_subject(tmp_path / "subject", dtype=np.float32)
    files = find_subject(folder)
    image = load_subject(files, MRH_NET, margin=0).image.astype(np.float64)
    image[5, 2, 5, 3], image[8, 2, 7, 64] = np.nan, np.inf
    for path, part in zip(files.image, (slice(0, 32), slice(32, 64), slice(64, 67)), strict=True):
        write_analyze(path, image[..., part].astype(np.float32), 0.0625)
    fa = rng.integers(0, 2, image.shape[:3]).astype(np.uint8) * 90
    write_analyze(files.fa, fa, 0.0625)
    graph = mrh_net(1, 67, 8)
    call("import-matlab", write_network(tmp_path / "net.mat", *graph), "--bundle", untrained_bundle)
    assert call("predict", untrained_bundle, folder, "-o", tmp_path / "af.nii.gz", "--support", "fa")[0] == 0
    found = nibabel.load(tmp_path / "af.nii.gz").get_fdata()
    clean = np.where(np.isfinite(image), image, 0)
    inside = fa > 0
    inside[[0, -1]], inside[:, :, [0, -1]] = False, False
    expected = np.zeros(inside.shape)
    voxels = np.argwhere(inside)
    patches = np.stack([clean[x - 1 : x + 2, y, z - 1 : z + 2] for x, y, z in voxels]) / clean[inside].max()
    expected[inside] = forward(*graph, patches)[:, 1, 1, 0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    status, _, err = call("predict", untrained_bundle, folder, "-o", tmp_path / "x.nii.gz", "--nan", "refuse")
    assert (status, "2 NaN or Inf" in err or "1 NaN or Inf" in err) == (1, True)
    status, _, err = call("predict", untrained_bundle, folder, "-o", tmp_path / "x.nii.gz", "--support", "skull")
    assert (status, "support: expected mask or fa, found 'skull'" in err) == (1, True)


def test_released_outputs_become_nifti(call, tmp_path, rng):
    predicted = rng.normal(0, 1, (3, 3, 1, 15)).astype(np.float32)
    path = write_patch_file(tmp_path / "YPred.mat", YPred=predicted, fa=np.ones((3, 3, 1, 15), np.uint8))
    status, out, _ = call("recon", path, "--height", 7, "--width", 5, "-o", tmp_path / "slice.nii.gz")
    assert (status, out) == (0, f"{tmp_path / 'slice.nii.gz'}: 7 x 1 x 5 voxels\n")
    image = nibabel.load(tmp_path / "slice.nii.gz")
    assert image.get_fdata()[1, 0, 2] == pytest.approx(predicted[1, 1, 0, 1])
    np.testing.assert_allclose(image.header.get_zooms(), 0.0625)
    write_analyze(tmp_path / "odd.img", rng.integers(0, 99, (4, 5, 6)).astype(np.uint8), 1.0)
    status, out, _ = call("reorder", tmp_path / "odd.img", "--axes", "1,2,0", "-o", tmp_path / "even.nii")
    assert (status, "5 x 6 x 4 voxels" in out) == (0, True)
    status, _, err = call("recon", path, "--height", 200, "--width", 128, "-o", tmp_path / "slice.nii.gz")
    assert (status, "found 15; give the height and width" in err) == (1, True)


def test_fetch_lists_what_there_is_and_refuses_the_rest(call, tmp_path):
    status, out, _ = call("fetch")
    assert (status, "net-af-30" in out, "osf:fk58t" in out) == (0, True, True)
    status, _, err = call("fetch", "net-af", "-o", tmp_path)
    assert (status, "did you mean net-af-" in err) == (1, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["import-matlab", "absent.mat"], "absent.mat: expected a MATLAB file, found no such file"),
        (["import-matlab", "text.mat"], "text.mat: expected a MATLAB file of version 5 or 7.3, found a file that begins with"),
        (["import-matlab", "other.mat"], "expected a variable `net`, found the variables ['a']"),
    ],
)
def test_a_wrong_import_is_one_sentence_and_leaves_no_file(bundle_copy, tmp_path, words, message):
    (tmp_path / "text.mat").write_text("no network" * 30)
    scipy.io.savemat(tmp_path / "other.mat", {"a": 1})
    done = mrh(words[0], tmp_path / words[1], "--bundle", bundle_copy)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not list((bundle_copy / "models").glob("*"))
