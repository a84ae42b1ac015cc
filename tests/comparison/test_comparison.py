import json
import shutil
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from helpers.patch_file_writing import write_patch_file
from helpers.subjects import write_nifti
from mrh_monai.comparison.compared_models import NETWORK
from mrh_monai.comparison.comparison import ComparisonOptions, compare
from mrh_monai.data.checked_voxels import ReadingOptions
from mrh_monai.data.input_kinds import load_subject, load_subjects
from mrh_monai.errors import OptionError
from mrh_monai.evaluation import detection, scores as metrics
from mrh_monai.evaluation.regions import LabelFiles
from mrh_monai.evaluation.scores import COMPARED_SCORES
from mrh_monai.inference.voxelwise import predict_volume
from mrh_monai.io.nibabel_files import write_analyze
from mrh_monai.io.volume_files import read_header
from mrh_monai.maps.map_plan import fit_maps, plan_maps
from mrh_monai.network.checkpoint import load_network
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.scaling.robust_scaling import robust_level
from mrh_monai.subjects.datalist import Datalist

DIAGONAL = np.diag([0.0625, 0.0625, 0.0625, 1])
REGRESSIONS = ("linear, 5 maps", "linear, 67 images", "quadratic, 5 maps", "quadratic, 67 images")

SCORES = tuple(score.key for score in COMPARED_SCORES)

pytestmark = [pytest.mark.analysis, pytest.mark.filterwarnings("ignore:.*no gradient table")]


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """Two regions that fill half of the grid each, and voxels of none."""
    volume = np.ones((16, 6, 14), np.int16)
    volume[8:] = 2
    volume[:, 0] = 0
    return write_nifti(tmp_path_factory.mktemp("labels") / "labels.nii", volume, DIAGONAL)


@pytest.fixture(scope="module")
def found(study_bundle, study, labels):
    return compare(study_bundle, study / "datalist.json", ComparisonOptions(labels=LabelFiles(labels), voxels=800))


@pytest.fixture(scope="module")
def test_subject(study):
    return load_subject(Datalist.read(study / "datalist.json").test[0], MRH_NET, ReadingOptions(need_target=True))


def model_of(found, name):
    return next(model for model in found.models if model["name"] == name)


def pairs_in_place(found, name, subject):
    """Predictions as a volume: `pairs` holds them in an order of its own, so they are found by their targets and this order."""
    order = np.random.default_rng(0).permutation(int(subject.scored.sum()))
    values = np.empty(len(order))
    target, prediction = found.pairs[name]
    values[order] = prediction
    volume = np.zeros(subject.mask.shape)
    volume[subject.scored] = values
    np.testing.assert_array_equal(target, subject.target[subject.scored][order])
    return volume


def test_scores_of_the_network_are_those_of_its_prediction(found, study_bundle, test_subject):
    network, sidecar = load_network(study_bundle / "models" / "model.pt", MRH_NET.names)
    mask = test_subject.mask
    coefficients = sidecar.scaling.coefficients(test_subject, mask)
    prediction = predict_volume(network, test_subject.slabs, mask, coefficients).numpy() * sidecar.scaling.target_max
    expected = metrics.score(prediction, test_subject.target, mask)
    scores = model_of(found, NETWORK)["scores"]
    for name in ("rmse", "nrmse", "mae", "r2", "determination", "ssim", "psnr"):
        assert scores[name] == pytest.approx(expected[name], rel=1e-5), name
    true, threshold = test_subject.target[mask], found.about["structures"]["threshold"]
    assert scores["auc"] == pytest.approx(detection.auc(-prediction[mask], true < threshold))
    np.testing.assert_allclose(pairs_in_place(found, NETWORK, test_subject), np.where(mask, prediction, 0), rtol=1e-5)
    rates, hits = detection.roc(prediction[mask], true < threshold, "below")
    np.testing.assert_allclose(found.curves[NETWORK], (rates, hits))


def test_every_model_is_scored_in_the_same_way(found, test_subject):
    mask, true = test_subject.mask, test_subject.target
    for model in found.models:
        prediction = pairs_in_place(found, model["name"], test_subject)
        expected = metrics.score(prediction, true, mask)
        for name in ("rmse", "r2", "determination", "ssim"):
            assert model["scores"][name] == pytest.approx(expected[name], rel=1e-4, nan_ok=True), (model["name"], name)
        assert set(model["intervals"]) == set(SCORES) == set(model["scores"])
        low, high = model["intervals"]["rmse"]
        assert low < model["scores"]["rmse"] < high
        assert list(model["per_subject"]) == ["subject04"]
        np.testing.assert_equal(model["per_subject"]["subject04"], model["scores"])


def test_the_rows(found):
    names = [model["name"] for model in found.models]
    markers = ["t2w", "mtr", *(f"{name}_{b}" for b in (1900, 4800) for name in ("fa", "md", "ad", "rd")), "mk"]
    assert names[: len(markers) + 1] == [NETWORK, *markers]
    assert names[len(markers) + 1].endswith("(best image)")
    assert tuple(names[len(markers) + 2 :]) == REGRESSIONS
    assert [model["kind"] for model in found.models] == ["network"] + ["marker"] * (len(markers) + 1) + ["regression"] * 4
    assert "network_ahead" not in found.models[0]
    # Its weights are random, and the stain is a simple function of the images.
    for name in REGRESSIONS[1::2]:
        ahead = model_of(found, name)["network_ahead"]
        assert ahead["r2"][1] < 0 < ahead["rmse"][0]


def test_a_marker_is_a_straight_line_fitted_on_the_training_subjects(study_bundle, study, test_subject):
    """All of their voxels, so that the line is one and the same."""
    found = compare(study_bundle, study / "datalist.json", ComparisonOptions(voxels=10**6))
    lists = Datalist.read(study / "datalist.json")
    plan = plan_maps([read_header(path) for path in lists.test[0].image], MRH_NET)

    def values(subject):
        maps = fit_maps(subject.image[subject.mask], plan)
        level = robust_level(subject.level_values, 99)
        return {**maps, "t2w": maps["t2w"] / level}, subject.target[subject.mask].astype(float)

    training = [values(subject) for subject in load_subjects(lists.training, MRH_NET, ReadingOptions(need_target=True))]
    new, _ = values(test_subject)
    assert found.about["fitted_on"] == {"subjects": ["subject01", "subject02"], "voxels": sum(len(t) for _, t in training)}
    for name in ("t2w", "mtr", "fa_1900"):
        x, t = np.concatenate([maps[name] for maps, _ in training]), np.concatenate([t for _, t in training])
        expected = LinearRegression().fit(x[:, None].astype(float), t).predict(new[name][:, None].astype(float))
        np.testing.assert_allclose(pairs_in_place(found, name, test_subject)[test_subject.mask], expected, rtol=1e-3)


def changed_study(study, folder, subject):
    """A copy of the study in which one subject's stain is another."""
    shutil.copytree(study, folder)
    stain = np.asarray(nibabel.load(study / subject / "targets" / "AF.img").dataobj).reshape(16, 6, 14)
    write_analyze(folder / subject / "targets" / "AF.img", np.where(stain > 0, 255 - stain, 0).astype(np.uint8), 0.0625)
    return folder / "datalist.json"


def test_nothing_is_fitted_on_what_is_scored(found, study_bundle, study, labels, tmp_path):
    options = ComparisonOptions(labels=LabelFiles(labels), voxels=800)
    test, training = (
        compare(study_bundle, changed_study(study, tmp_path / subject, subject), options) for subject in ("subject04", "subject01")
    )
    for model in found.models:
        name = model["name"]
        np.testing.assert_array_equal(test.pairs[name][1], found.pairs[name][1])
        assert not np.array_equal(test.pairs[name][0], found.pairs[name][0])
        if name != NETWORK and "(best" not in name:
            assert not np.array_equal(training.pairs[name][1], found.pairs[name][1])
    assert test.about["structures"] == found.about["structures"] != training.about["structures"]


def test_what_was_compared_is_written_down(found, study_bundle):
    about = found.about
    sidecar = json.loads((study_bundle / "models" / "model.json").read_text())
    assert (about["bundle"], about["weights"], about["stain"], about["units"]) == ("mrh_af", sidecar["sha256"], "af", "8-bit af")
    assert about["scored_on"] == {"subjects": ["subject04"], "voxels": 14 * 6 * 12}
    assert about["fitted_on"] == {"subjects": ["subject01", "subject02"], "voxels": 800}
    assert (about["structures"]["side"], about["structures"]["chosen"]) == ("below", "Otsu, training")
    assert (about["intervals"]["resampled"], about["intervals"]["draws"], about["intervals"]["level"]) == ("blocks", 1000, 0.95)
    assert about["maps_from"] == ["the protocol"]


def test_regions_have_rows_of_their_own(found, test_subject):
    labels = np.repeat([1, 2], 8)[:, None, None] * np.ones((1, 6, 14), int)
    labels[:, 0] = 0
    assert len(found.regions) == 2 * len(found.models)
    for name in (NETWORK, REGRESSIONS[1]):
        prediction = pairs_in_place(found, name, test_subject)
        for label in (1, 2):
            inside = test_subject.mask & (labels == label)
            (row,) = (row for row in found.regions if (row["model"], row["region"]) == (name, f"region {label}"))
            p, t = prediction[inside], test_subject.target[inside]
            assert (row["subject"], row["voxels"]) == ("subject04", inside.sum())
            assert row["bias"] == pytest.approx((p - t).mean(), rel=1e-4)
            assert row["rmse"] == pytest.approx(metrics.rmse(p, t), rel=1e-5)
            assert row["r2"] == pytest.approx(metrics.r2(p, t), rel=1e-4)


@pytest.fixture
def datalist_of(study, tmp_path):
    """A datalist with other subjects in its sections."""

    def write(training, test):
        entries = [entry for part in json.loads((study / "datalist.json").read_text()).values() for entry in part]
        for entry in entries:
            for key in ("mask", "fa", "target"):
                entry[key] = str(study / entry[key])
            entry["image"] = [str(study / path) for path in entry["image"]]
        path = tmp_path / "d.json"
        path.write_text(json.dumps({"training": [entries[n] for n in training], "test": [entries[n] for n in test]}))
        return path

    return write


def test_scores_are_means_over_subjects_and_animals_are_resampled_if_asked_for(study_bundle, datalist_of):
    options = ComparisonOptions(with_maps=False, threshold=150, side="above", voxels=300)
    two = compare(study_bundle, datalist_of([0], [1, 2]), replace(options, resampled="animals"))
    each = [compare(study_bundle, datalist_of([0], [n]), options) for n in (1, 2)]
    assert two.about["structures"] == {"side": "above", "threshold": 150, "chosen": "given"}
    assert two.about["intervals"]["block_mm"] is None
    assert (two.about["maps_from"], [model["kind"] for model in two.models]) == ([], ["network", "marker", "regression", "regression"])
    for model in two.models:
        alone = [model_of(one, model["name"])["scores"] for one in each]
        for name in SCORES:
            assert model["scores"][name] == pytest.approx(np.mean([scores[name] for scores in alone])), name
            assert model["intervals"][name] == pytest.approx(sorted(scores[name] for scores in alone), rel=1e-2), name
        np.testing.assert_allclose(two.curves[model["name"]][1], np.mean([one.curves[model["name"]][1] for one in each], 0))


def test_auc_is_the_same_interval_from_either_side(study_bundle, datalist_of):
    """Of two classes, what lies below is what does not lie above."""
    above, below = (
        compare(study_bundle, datalist_of([0], [1]), ComparisonOptions(with_maps=False, threshold=150.5, side=side, voxels=300))
        for side in ("above", "below")
    )
    for one, other in zip(above.models, below.models, strict=True):
        assert one["scores"]["auc"] == pytest.approx(other["scores"]["auc"])
        assert one["intervals"]["auc"] == pytest.approx(other["intervals"]["auc"])


def test_one_animal_cannot_be_resampled(call, study_bundle, study, tmp_path):
    words = ("--datalist", study / "datalist.json", "-o", tmp_path / "o", "--no-maps", "--voxels", 200, "--bootstrap", "animals")
    status, _, err = call("compare", study_bundle, *words)
    assert (status, "bootstrap: expected at least two animals, found 1" in err) == (1, True)


def test_the_verb_writes_tables_and_pictures(call, study_bundle, study, labels, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("1,left\n2,right\n")
    words = ("--datalist", study / "datalist.json", "--labels", labels, "--label-names", names, "-o", tmp_path / "out", "--voxels", 800)
    status, out, err = call("compare", study_bundle, *words, "--device", "cpu")
    assert (status, "ill-conditioned" in err) == (0, False)
    assert "AF on subject04 (1,008 voxels)" in out
    assert "The network is behind" in out
    files = ["comparison.json", "comparison.csv", "regions.csv", "roc.png", "scatter.png", "bland_altman.png", "r2.png"]
    assert out.splitlines()[-7:] == [str(tmp_path / "out" / name) for name in files]
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == sorted(files)
    written = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert {row["region"] for row in written["regions"]} == {"left", "right"}
    assert written["models"][0]["scores"]["r2"] == pytest.approx(
        model_of(compare(study_bundle, words[1], ComparisonOptions(voxels=800)), NETWORK)["scores"]["r2"]
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--datalist", "{no_training}"], "expected subjects under 'training', found no subjects in this section"),
        (["--datalist", "{study}/datalist.json", "--datalist-key", "all"], "expected one of the sections training, validation, test"),
        (["--datalist", "{study}/datalist.json", "--threshold", "1000"], "--threshold: expected a threshold within the target's"),
        (["--datalist", "{study}/datalist.json", "--structures", "beside"], "structures: expected above or below, found 'beside'"),
        (["--datalist", "{study}/datalist.json", "--bootstrap", "voxels"], "--bootstrap: expected blocks or animals, found 'voxels'"),
        (["--datalist", "{study}/datalist.json", "--labels", "{small}"], "small.nii: expected shape (16, 6, 14) as in"),
        (["--datalist", "{patches}"], "patches.mat: expected volumes to compare, found a patch file; list the volumes from which"),
        (["--datalist", "{no_target}"], "subject01: expected a target, found no target in the datalist"),
        (["--datalist", "nowhere.json"], "nowhere.json: expected a datalist (JSON file), found no such file"),
        (["--datalist", "{study}/datalist.json", "--gradients", "no.bval"], "no.bval: expected a gradient table, found no such file"),
    ],
)
def test_wrong_words_are_one_sentence_and_status_1(call, study_bundle, study, datalist_of, tmp_path, words, sentence):
    names = {"study": study}
    if "{no_training}" in words:
        names["no_training"] = datalist_of([], [0])
    if "{no_target}" in words:
        names["no_target"] = datalist_of([0], [1])
        content = json.loads(names["no_target"].read_text())
        del content["training"][0]["target"]
        names["no_target"].write_text(json.dumps(content))
    names["small"] = write_nifti(tmp_path / "small.nii", np.ones((16, 6, 13), np.uint8), DIAGONAL)
    names["patches"] = write_patch_file(tmp_path / "patches.mat", data=np.ones((3, 3, 67, 4), np.float32))
    maps = [] if "--gradients" in words else ["--no-maps"]
    status, _, err = call(
        "compare", study_bundle, *(word.format(**names) for word in words), "-o", tmp_path / "out", *maps, "--voxels", 200
    )
    assert status == 1
    assert sentence in err
    assert len(err.strip().splitlines()) == 1
    assert not list((tmp_path / "out").glob("*"))


def test_a_threshold_that_leaves_one_class_in_a_test_subject_names_it(study_bundle, study, tmp_path):
    shutil.copytree(study, tmp_path / "study")
    stain = np.asarray(nibabel.load(study / "subject04" / "targets" / "AF.img").dataobj).reshape(16, 6, 14)
    write_analyze(tmp_path / "study" / "subject04" / "targets" / "AF.img", np.minimum(stain, 100), 0.0625)
    options = ComparisonOptions(with_maps=False, threshold=150, side="above", voxels=200)
    with pytest.raises(OptionError, match="threshold in subject04: expected a threshold within the target's .* to 100, .* found 150; give"):
        compare(study_bundle, tmp_path / "study" / "datalist.json", options)
