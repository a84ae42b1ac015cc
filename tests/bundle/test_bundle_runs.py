"""The bundle as its users run it."""

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from helpers.bundle_runs import SMALL, bundle_run
from helpers.paths import BUNDLE
from helpers.subjects import write_mrh_subject
from mrh_monai.data.checked_voxels import load_stains
from mrh_monai.data.input_kinds import load_subject
from mrh_monai.errors import MRHError, root_cause
from mrh_monai.evaluation.scores import score
from mrh_monai.inference.predictor import PredictionOptions, predict
from mrh_monai.inference.voxelwise import predict_volume
from mrh_monai.io.nibabel_files import write_analyze
from mrh_monai.io.volume_files import read_header, read_voxels
from mrh_monai.network.checkpoint import load_network
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.subjects.datalist import Datalist
from mrh_monai.subjects.subject_search import find_subject

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("undo_hooks")]


@pytest.fixture(scope="module")
def trained(study, tmp_path_factory):
    """A copy of the bundle, trained for three epochs, and its output folder."""
    folder = tmp_path_factory.mktemp("trained")
    bundle = folder / "mrh_af"
    shutil.copytree(BUNDLE, bundle, ignore=shutil.ignore_patterns("model.*"))
    bundle_run(bundle, "train.yaml", datalist=str(study / "datalist.json"), output_dir=str(folder / "out"), **SMALL)
    return bundle, folder / "out"


def test_training_leaves_all_its_results(trained):
    bundle, out = trained
    rows = list(csv.DictReader((out / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert list((out / "tensorboard").glob("events.*"))
    assert (out / "training_curve.png").read_bytes()[:4] == b"\x89PNG"
    best = min(rows, key=lambda row: float(row["val_rmse"]))
    sidecar = json.loads((out / "model.json").read_text())
    assert (sidecar["source"]["epoch"], sidecar["residual_blocks"], sidecar["channels"]) == (int(best["epoch"]), 1, MRH_NET.names)
    for name in ("model.pt", "model.json"):
        assert (bundle / "models" / name).read_bytes() == (out / name).read_bytes()


def test_training_learns(trained):
    rows = list(csv.DictReader((trained[1] / "metrics.csv").open()))
    assert float(rows[-1]["val_r2"]) > 0.5


def test_inference_predicts_every_voxel_of_the_mask_on_the_subjects_grid(trained, study, tmp_path):
    bundle, _ = trained
    bundle_run(bundle, "inference.yaml", datalist=str(study / "datalist.json"), output_dir=str(tmp_path))
    image = nibabel.load(tmp_path / "subject04" / "subject04_af.nii.gz")
    loaded = load_subject(find_subject(study / "subject04"), MRH_NET)
    network, sidecar = load_network(bundle / "models" / "model.pt")
    expected = predict_volume(network, loaded.slabs, loaded.mask, sidecar.scaling.coefficients(loaded, loaded.mask))
    np.testing.assert_allclose(image.get_fdata(), expected * sidecar.scaling.target_max, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(image.get_fdata() != 0, loaded.mask)
    np.testing.assert_allclose(image.affine, loaded.affine, atol=1e-6)
    assert image.get_data_dtype() == np.float32


def test_configs_exported_as_json_run_the_same(trained, study, tmp_path):
    bundle = tmp_path / "mrh_af"
    shutil.copytree(trained[0], bundle)
    for path in (bundle / "configs").glob("*.yaml"):
        ConfigParser.export_config_file(ConfigParser.load_config_file(path), str(path.with_suffix(".json")), fmt="json", indent=2)
        path.unlink()
    options = {"datalist": str(study / "datalist.json"), "report": False}
    bundle_run(bundle, "inference.json", "evaluate.json", output_dir=str(tmp_path / "json"), **options)
    bundle_run(trained[0], "inference.yaml", "evaluate.yaml", output_dir=str(tmp_path / "yaml"), **options)
    for name in ("scores.json", "subject04/subject04_af.nii.gz"):
        assert (tmp_path / "json" / name).read_bytes() == (tmp_path / "yaml" / name).read_bytes()
    bundle_run(bundle, "train.json", datalist=options["datalist"], output_dir=str(tmp_path / "out"), **SMALL)
    assert (tmp_path / "out" / "model.pt").read_bytes() == (trained[1] / "model.pt").read_bytes()


def test_inference_ends_with_a_report_unless_told_otherwise(trained, study, tmp_path):
    options = {"datalist": str(study / "datalist.json"), "slices": "2:4"}
    bundle_run(trained[0], "inference.yaml", "evaluate.yaml", output_dir=str(tmp_path / "with"), **options)
    page = (tmp_path / "with" / "report.html").read_text()
    scores = json.loads((tmp_path / "with" / "scores.json").read_text())["subject04"]
    sidecar = json.loads((trained[0] / "models" / "model.json").read_text())
    for expected in ("subject04", f"{scores['rmse']:.4g}", f"{scores['r2']:.4g}", sidecar["sha256"], "67 channels in 3 files"):
        assert expected in page
    bundle_run(trained[0], "inference.yaml", output_dir=str(tmp_path / "without"), report=False, **options)
    assert [path.name for path in (tmp_path / "without").iterdir()] == ["subject04"]


def test_evaluation_scores_what_it_predicts(trained, study, tmp_path):
    bundle, _ = trained
    options = {"datalist": str(study / "datalist.json"), "datalist_key": "validation", "output_dir": str(tmp_path)}
    bundle_run(bundle, "inference.yaml", "evaluate.yaml", **options)
    found = json.loads((tmp_path / "scores.json").read_text())["subject03"]
    folder = study / "subject03"
    volumes = load_stains([tmp_path / "subject03" / "subject03_af.nii.gz", folder / "targets" / "AF.img"], folder / "Masked_outline.img")
    assert found == pytest.approx(score(*volumes), rel=1e-5)


def test_torn_tissue_is_left_out_of_scores_and_not_of_the_prediction(trained, study, tmp_path):
    """The target is ruined where its mask says so; scores are those of the rest, and the prediction is the same."""
    bundle, _ = trained
    folder = Path(shutil.copytree(study / "subject03", tmp_path / "study" / "subject03"))
    subject = find_subject(folder, target="targets/AF.img")
    header = read_header(subject.target)
    target, sound = read_voxels(header)[..., 0].copy(), np.ones(header.shape, np.uint8)
    whole = target.copy()
    sound[5:9, :, 4:9] = 0
    target[sound == 0] = 255 - target[sound == 0]
    write_analyze(subject.target, target, 0.0625)
    write_analyze(folder / "sound.img", sound, 0.0625)
    torn = replace(subject, target_mask=folder / "sound.img")
    Datalist(test=(torn,)).write(tmp_path / "study" / "list.json")
    bundle_run(bundle, "inference.yaml", "evaluate.yaml", datalist=str(tmp_path / "study" / "list.json"), output_dir=str(tmp_path / "out"))
    found = json.loads((tmp_path / "out" / "scores.json").read_text())["subject03"]
    predicted = read_voxels(read_header(tmp_path / "out" / "subject03" / "subject03_af.nii.gz"))[..., 0]
    mask = read_voxels(read_header(subject.mask))[..., 0] > 0
    assert found == pytest.approx(score(predicted, whole.astype(np.float64), mask & (sound > 0)), rel=1e-5)
    assert predicted[mask & (sound == 0)].all()


def test_slices_confine_prediction(trained, study, tmp_path):
    bundle_run(trained[0], "inference.yaml", datalist=str(study / "datalist.json"), output_dir=str(tmp_path), slices="1:2,4:6")
    volume = nibabel.load(tmp_path / "subject04" / "subject04_af.nii.gz").get_fdata()
    assert (volume != 0).any(axis=(0, 2)).tolist() == [False, True, False, False, True, True]


def test_same_seed_gives_the_same_model(trained, study, tmp_path):
    bundle, out = trained
    bundle_run(bundle, "train.yaml", datalist=str(study / "datalist.json"), output_dir=str(tmp_path), **SMALL)
    assert (tmp_path / "model.pt").read_bytes() == (out / "model.pt").read_bytes()
    assert (tmp_path / "metrics.csv").read_text() == (out / "metrics.csv").read_text()


def test_3d_patches_train_and_infer_without_repeating_a_flag(study, tmp_path):
    bundle = tmp_path / "mrh_af"
    shutil.copytree(BUNDLE, bundle, ignore=shutil.ignore_patterns("model.*"))
    options = {"datalist": str(study / "datalist.json"), "output_dir": str(tmp_path / "out")}
    bundle_run(bundle, "train.yaml", **options, **{**SMALL, "epochs": 1}, patch_axes=[0, 1, 2])
    bundle_run(bundle, "inference.yaml", **options)
    network, sidecar = load_network(bundle / "models" / "model.pt")
    assert sidecar.patch_axes == [0, 1, 2]
    assert network.conv1.weight.shape == (64, 67, 3, 3, 3)
    expected = predict(bundle, study / "subject04", options=PredictionOptions("cpu"))
    written = nibabel.load(tmp_path / "out" / "subject04" / "subject04_af.nii.gz").get_fdata(dtype=np.float32)
    np.testing.assert_array_equal(written, expected.stain)
    assert expected.stain[expected.mask].std() > 0


@pytest.mark.parametrize("recipe", ["paper", "released"])
@pytest.mark.filterwarnings("ignore:.*patches were asked for")
def test_published_recipes_run(study, tmp_path, recipe):
    bundle = tmp_path / "mrh_af"
    shutil.copytree(BUNDLE, bundle, ignore=shutil.ignore_patterns("model.*"))
    options = {**SMALL, "epochs": 1, "precision": "bf16"}
    bundle_run(bundle, "train.yaml", datalist=str(study / "datalist.json"), output_dir=str(tmp_path / "out"), recipe=recipe, **options)
    source = json.loads((tmp_path / "out" / "model.json").read_text())["source"]
    assert source["recipe"] == recipe


def test_without_validation_subjects_patches_are_held_out(study, tmp_path):
    content = json.loads((study / "datalist.json").read_text())
    entries = [{**entry, "image": [str(study / p) for p in entry["image"]]} for entry in content["training"]]
    entries = [{**entry, **{key: str(study / entry[key]) for key in ("mask", "fa", "target")}} for entry in entries]
    (tmp_path / "d.json").write_text(json.dumps({"training": entries}))
    bundle = tmp_path / "mrh_af"
    shutil.copytree(BUNDLE, bundle, ignore=shutil.ignore_patterns("model.*"))
    bundle_run(bundle, "train.yaml", datalist=str(tmp_path / "d.json"), output_dir=str(tmp_path / "out"), **{**SMALL, "epochs": 1})
    assert (bundle / "models" / "model.pt").is_file()


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (
            "train.yaml",
            {"residual_block": 5},
            "--residual_block: expected an option of this bundle, found an unknown option; did you mean --residual_blocks",
        ),
        ("inference.yaml", {"epochs": 5}, "--epochs: expected an option of this bundle"),
        ("train.yaml", {"datalist": "word"}, "word: expected a datalist .*found no such file"),
        ("train.yaml", {"datalist": str(BUNDLE)}, "found a folder"),
        ("train.yaml", {"output_dir": "null"}, "output_dir: expected a folder for the results, found no folder"),
        ("train.yaml", {"recipe": "quick"}, "recipe: expected fast, paper or released, found 'quick'"),
        ("train.yaml", {"resume": "maybe"}, "resume: expected True or False"),
        ("train.yaml", {"epochs": "ten"}, "epochs: expected a whole number"),
        ("train.yaml", {"sampling": "grid"}, "sampling: expected random or published"),
        ("train.yaml", {"precision": "half"}, "precision: expected float32, tf32, bf16 or auto"),
        ("train.yaml", {"device": "gpu"}, "device: expected auto, cpu"),
        ("train.yaml", {"datalist": 5}, "5: expected a datalist"),
        ("train.yaml", {"output_dir": str(BUNDLE / "LICENSE" / "out")}, "expected a folder that can be written, found NotADirectoryError"),
        ("train.yaml", {"pretrained": "x.pt"}, "x.pt: expected the parent's trained weights, found no such file"),
        (
            "train.yaml",
            {"bundle_root": "nowhere"},
            "--bundle_root: expected the folder of a bundle, found no file nowhere/configs/train.yaml",
        ),
        ("inference.yaml", {"precision": "half"}, "precision: expected float32, tf32, bf16 or auto"),
        ("inference.yaml", {"residual_blocks": 5}, "expected residual_blocks = 5 as asked for, found residual_blocks = 1"),
        ("inference.yaml", {"ckpt_path": "nothing.pt"}, "nothing.pt: expected trained weights, found no such file; train the bundle first"),
        ("inference.yaml", {"datalist_key": "tests"}, "one of the sections"),
        ("inference.yaml", {"batch_size": 0}, "batch_size: expected a whole number of at least 1, found 0"),
    ],
)
def test_wrong_input_has_one_cause(trained, study, tmp_path, config, options, message):
    needed = {"datalist": str(study / "datalist.json"), "output_dir": str(tmp_path / "out")}
    base = SMALL if config == "train.yaml" else {}
    with pytest.raises(Exception) as caught:  # noqa: PT011  (MONAI wraps it in whatever it likes)
        bundle_run(trained[0], config, **{**base, **needed, **options})
    cause = root_cause(caught.value)
    assert isinstance(cause, MRHError)
    with pytest.raises(MRHError, match=message):
        raise cause


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_command_line_ends_in_one_sentence_and_status_1(trained, study, tmp_path):
    (tmp_path / "file").write_text("")
    for options, sentence in (
        (
            ["--device", "cuda", "--output_dir", str(tmp_path / "o")],
            "error: device: expected the device cuda, found 0 CUDA devices on this machine; use --device cpu",
        ),
        (["--output_dir", str(tmp_path / "file" / "o")], "expected a folder that can be written, found NotADirectoryError"),
        (["--output_dir", str(tmp_path / "o"), "--debug", "maybe"], "error: debug: expected True or False, found 'maybe'"),
    ):
        command = ["run", "--bundle_root", str(trained[0]), "--config_file", str(trained[0] / "configs" / "inference.yaml")]
        command += ["--datalist", str(study / "datalist.json"), *options]
        done = subprocess.run([sys.executable, "-m", "monai.bundle", *command], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 1
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr + done.stdout
        assert done.stderr.strip().splitlines()[-1].startswith("error: ")


def test_error_inside_an_engine_is_one_sentence_and_leaves_no_output(trained, tmp_path):
    """The second subject breaks when the evaluator loads it."""
    for name in ("a", "b"):
        write_mrh_subject(tmp_path / name, seed=ord(name))
    broken = tmp_path / "b" / "rigidaffine_lddm_t2MTONOFF.img"
    broken.write_bytes(broken.read_bytes()[:1000])
    images = [f"rigidaffine_{part}.img" for part in ("Lddm_dwi2000", "Lddm_dwi5000", "lddm_t2MTONOFF")]
    entries = [{"subject": n, "image": [f"{n}/{image}" for image in images], "mask": f"{n}/Masked_outline.img"} for n in "ab"]
    (tmp_path / "d.json").write_text(json.dumps({"test": entries}))
    command = ["run", "--bundle_root", str(trained[0]), "--config_file", str(trained[0] / "configs" / "inference.yaml")]
    command += ["--datalist", str(tmp_path / "d.json"), "--output_dir", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-m", "monai.bundle", *command], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert "b/rigidaffine_lddm_t2MTONOFF.img: expected 8064 bytes" in done.stderr.strip().splitlines()[-1]
    assert sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file()) == [
        "a_af.json", "a_af.nii.gz", "a_af_lower.nii.gz", "a_af_upper.nii.gz"
    ]  # fmt: skip


def test_one_subject_in_training_and_test_is_refused(trained, study, tmp_path):
    content = json.loads((study / "datalist.json").read_text())
    content["test"] = content["training"]
    (tmp_path / "d.json").write_text(json.dumps(content))
    with pytest.raises(Exception) as caught:  # noqa: PT011
        bundle_run(trained[0], "train.yaml", datalist=str(tmp_path / "d.json"), output_dir=str(tmp_path / "out"), **SMALL)
    assert "found subject01 in training and in test" in str(root_cause(caught.value))


def test_missing_target_stops_training_and_evaluation_but_not_inference(trained, study, tmp_path):
    content = json.loads((study / "datalist.json").read_text())
    for entries in content.values():
        for entry in entries:
            del entry["target"]
            entry |= {key: str(study / entry[key]) for key in ("mask", "fa")} | {"image": [str(study / path) for path in entry["image"]]}
    (tmp_path / "d.json").write_text(json.dumps(content))
    options = {"datalist": str(tmp_path / "d.json"), "output_dir": str(tmp_path / "out")}
    for configs, more in ((["train.yaml"], SMALL), (["inference.yaml", "evaluate.yaml"], {})):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            bundle_run(trained[0], *configs, **options, **more)
        assert "expected a target, found no target in the datalist" in str(root_cause(caught.value))
    bundle_run(trained[0], "inference.yaml", **options)
    written = nibabel.load(tmp_path / "out" / "subject04" / "subject04_af.nii.gz").get_fdata(dtype=np.float32)
    np.testing.assert_array_equal(written, predict(trained[0], study / "subject04", options=PredictionOptions("cpu")).stain)
