import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from skimage.filters import threshold_otsu
from sklearn.metrics import roc_auc_score

from helpers.bundle_runs import bundle_run
from helpers.matlab_files import forward, mrh_net, write_network
from helpers.paths import BUNDLE
from helpers.random_weights import with_random_weights
from helpers.subjects import write_mrh_subject
from mrh_monai.data.checked_voxels import ReadingOptions
from mrh_monai.data.grid import read_headers
from mrh_monai.data.input_kinds import load_subject
from mrh_monai.io.nibabel_files import write_analyze
from mrh_monai.io.volume_files import read_header, read_voxels
from mrh_monai.protocol import MRH_NET
from mrh_monai.subjects.datalist import Datalist
from mrh_monai.subjects.subject_search import find_subject

VOXEL_MM = 0.0625


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


def test_predict_writes_intervals_unless_told_otherwise(call, study, tmp_path):
    bundle = with_random_weights(BUNDLE, tmp_path, multipliers=(1.0, 2.0))
    words = ("predict", bundle, study / "subject01", "-o", tmp_path / "af.nii.gz", "--device", "cpu")
    status, out, err = call(*words)
    assert (status, out.strip()) == (0, str(tmp_path / "af.nii.gz"))
    assert "with intervals, " in err
    assert "held on 2 subjects, each by the other one: " in err
    stain, lower, upper = (nibabel.load(tmp_path / f"af{bound}.nii.gz").get_fdata() for bound in ("", "_lower", "_upper"))
    mask = stain != 0
    assert (lower[mask] < stain[mask]).all()
    assert (stain[mask] < upper[mask]).all()
    status, _, err = call(*words, "--no-intervals")
    assert (status, "intervals" in err) == (0, False)
    assert sorted(path.name for path in tmp_path.glob("af*")) == ["af.json", "af.nii.gz"]
    np.testing.assert_array_equal(nibabel.load(tmp_path / "af.nii.gz").get_fdata(), stain)


@pytest.mark.filterwarnings("always:.*NaN or Inf inside the mask")
def test_support_and_nan_of_published_scaling(call, untrained_bundle, tmp_path, rng):
    """NaN become 0 and FA > 0 can stand in for the mask, against the layer list's own arithmetic."""
    folder = write_mrh_subject(tmp_path / "subject", dtype=np.float32)
    files = find_subject(folder)
    image = load_subject(files, MRH_NET, ReadingOptions(margin=0)).image.astype(np.float64)
    image[5, 2, 5, 3], image[8, 2, 7, 64] = np.nan, np.inf
    for path, part in zip(files.image, (slice(0, 32), slice(32, 64), slice(64, 67)), strict=True):
        write_analyze(path, image[..., part].astype(np.float32), 0.0625)
    fa = rng.integers(0, 2, image.shape[:3]).astype(np.uint8) * 90
    write_analyze(files.fa, fa, 0.0625)
    graph = mrh_net(1, 67, 8)
    call("import-matlab", write_network(tmp_path / "net.mat", *graph), "--bundle", untrained_bundle, "--overwrite")
    status, _, err = call("predict", untrained_bundle, folder, "-o", tmp_path / "af.nii.gz", "--support", "fa")
    assert status == 0
    assert "rigidaffine_lddm_t2MTONOFF.img: 1 NaN or Inf inside the mask in 1 channel" in err
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


def test_no_weights_is_one_sentence(call, untrained_bundle, study, tmp_path):
    (untrained_bundle / "models" / "model.pt").unlink()
    status, _, err = call("predict", untrained_bundle, study / "subject01", "-o", tmp_path / "a.nii")
    assert status == 1
    assert "model.pt: expected trained weights, found no such file; train the bundle first" in err


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


def test_predict_writes_the_record_that_the_bundle_writes(call, study_bundle, study, tmp_path, undo_hooks):
    """The same stain, made by the same weights and options, from the same files."""
    assert call("predict", study_bundle, study / "subject04", "-o", tmp_path / "af.nii.gz", "--device", "cpu")[0] == 0
    options = {"datalist": str(study / "datalist.json"), "output_dir": str(tmp_path / "out"), "device": "cpu", "report": False}
    bundle_run(study_bundle, "inference.yaml", **options)
    by_verb = json.loads((tmp_path / "af.json").read_text())
    by_bundle = json.loads((tmp_path / "out" / "subject04" / "subject04_af.json").read_text())
    for key in ("made_by", "inputs", "slices"):
        assert by_verb[key] == by_bundle[key], key
    assert by_verb.pop("coronal_axis") == 1  # the folder has the layout of MRH-Net; the datalist says nothing
    assert list(by_verb) == list(by_bundle) == ["made_by", "inputs", "slices", "bytes", "sha256", "about"]
    assert by_verb["bytes"] == (tmp_path / "af.nii.gz").stat().st_size
    alike = ("stain", "units", "channels", "residual_blocks", "features", "scaling", "source", "parent", "versions", "subject")
    assert {key: by_verb["about"][key] for key in alike} == {key: by_bundle["about"][key] for key in alike}
    stains = [nibabel.load(path).get_fdata() for path in (tmp_path / "af.nii.gz", tmp_path / "out" / "subject04" / "subject04_af.nii.gz")]
    np.testing.assert_array_equal(*stains)


def test_predicting_again_replaces_stain_and_record(call, study_bundle, study, tmp_path):
    words = ("-o", tmp_path / "af.nii", "--device", "cpu")
    assert call("predict", study_bundle, study / "subject01", *words)[0] == 0
    first, stain = json.loads((tmp_path / "af.json").read_text()), (tmp_path / "af.nii").read_bytes()
    assert call("predict", study_bundle, study / "subject02", *words, "--support", "fa")[0] == 0
    second = json.loads((tmp_path / "af.json").read_text())
    assert [record["about"]["subject"] for record in (first, second)] == ["subject01", "subject02"]
    assert [record["made_by"]["support"] for record in (first, second)] == ["mask", "fa"]
    assert (tmp_path / "af.nii").read_bytes() != stain
    assert sorted(path.name for path in tmp_path.iterdir()) == ["af.json", "af.nii"]


def test_a_file_that_is_not_a_record_is_refused_before_anything_is_computed(call, study_bundle, study, tmp_path, monkeypatch):
    """DATALIST.nii.gz beside DATALIST.json would replace the datalist."""
    for name in ("open_for_prediction", "load_network"):
        monkeypatch.setattr(f"mrh_monai.inference.predictor.{name}", lambda *_: pytest.fail("computed too early"))
    datalist = tmp_path / "datalist.json"
    shutil.copy(study / "datalist.json", datalist)
    before = datalist.read_bytes()
    status, _, err = call("predict", study_bundle, study / "subject01", "-o", tmp_path / "datalist.nii.gz", "--device", "cpu")
    assert (status, err.count("\n")) == (1, 1)
    assert "datalist.json: expected a free name, or a file that the same command wrote, found another file" in err
    assert [path.name for path in tmp_path.iterdir()] == ["datalist.json"]
    assert datalist.read_bytes() == before


AF, OUTLINE = "{study}/subject01/targets/AF.img", "{study}/subject01/Masked_outline.img"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["predict", "{study}", "{study}/subject01", "-o", "a.nii"],
            "expected a bundle folder, found a folder without configs/metadata.json",
        ),
        (["predict", "{bundle}", "{study}", "-o", "a.nii"], "expected one file rigidaffine"),
        (["predict", "{bundle}", "{study}/subject01", "-o", "{study}/datalist.json/a.nii"], "a folder that can be written"),
        (["predict", "{bundle}", "{study}/subject01", "-o", "a.png"], "expected a name ending in .nii or .nii.gz, found '.png'"),
        (["predict", "{bundle}", "{study}/subject01", "-o", "a.nii", "--device", "gpu"], "device: expected auto, cpu, cuda or cuda:N"),
        (
            ["predict", "{bundle}", "{study}/subject01", "-o", "a.nii", "--precision", "fp16"],
            "precision: expected float32, tf32, bf16, auto",
        ),
        (["predict", "{bundle}", "{study}/subject01", "-o", "a.nii", "--nan", "skip"], "nan: expected refuse or zero"),
        (["predict", "{bundle}", "{study}/subject01", "-o", "a.nii", "--support", "skull"], "support: expected mask or fa, found 'skull'"),
        (
            ["evaluate", "{study}/no.nii", "{study}/no.nii", "--mask", "{study}/no.nii"],
            "no.nii: expected a volume file, found no such file",
        ),
        (["evaluate", AF, AF, "--mask", OUTLINE, "--threshold", "999"], "--threshold: expected a threshold within the target's"),
    ],
)
def test_wrong_input_is_one_sentence_and_status_1(call, study, untrained_bundle, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    status, _, err = call(*(word.format(study=study, bundle=untrained_bundle) for word in words))
    assert status == 1
    assert sentence in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_stated_voxel_size_holds_for_all_files_and_the_result(call, study_bundle, study, tmp_path):
    """One of the files is ten times as large, as for programs made for human brains."""
    scan = Path(shutil.copytree(study / "subject04", tmp_path / "subject04"))
    mask = scan / "Masked_outline.img"
    write_analyze(mask, read_voxels(read_header(mask))[..., 0], 10 * VOXEL_MM)
    typed = ("predict", study_bundle, scan, "--device", "cpu", "-o", tmp_path / "af.nii.gz")
    status, _, err = call(*typed)
    assert (status, "10 times as large" in err, f"--voxel-size {VOXEL_MM:g}" in err) == (1, True, True)
    assert call(*typed, "--voxel-size", *(VOXEL_MM,) * 3)[0] == 0
    assert call("predict", study_bundle, study / "subject04", "--device", "cpu", "-o", tmp_path / "right.nii.gz")[0] == 0
    found, right = (nibabel.load(tmp_path / name) for name in ("af.nii.gz", "right.nii.gz"))
    np.testing.assert_array_equal(found.get_fdata(), right.get_fdata())
    np.testing.assert_allclose(found.affine, right.affine, atol=1e-6)
    listed = tmp_path / "list.json"
    assert call("datalist", tmp_path, "--voxel-size", *(VOXEL_MM,) * 3, "-o", listed)[0] == 0
    assert json.loads(listed.read_text())["test"][0]["voxel_size"] == [VOXEL_MM] * 3
    headers = read_headers(Datalist.read(listed).test[0], MRH_NET)
    assert headers["mask"][0].spacing == headers["image"][0].spacing == (VOXEL_MM,) * 3
