import csv
import json

import matplotlib.image
import numpy as np
import pytest

from mrh_monai.contributions.contribution_study import ContributionResult
from mrh_monai.contributions.contribution_tables import contribution_table, region_rows, write_contribution
from mrh_monai.contributions.image_contribution import Contribution, NoiseOptions, groups_of_images, perturb_images, single_images
from mrh_monai.data.input_kinds import load_subject
from mrh_monai.network.checkpoint import load_network
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.subjects.subject_search import find_subject

ABOUT = {"bundle": "mrh_af", "stain": "af", "units": "grey values", "noise": 0.1, "voxels": 50}
FEWER = [
    {"images": 2, "r2": 0.5, "rmse": 20.0, "auc": 0.7, "minutes": 72.384, "minutes_saved": 700.0},
    {"images": 4, "r2": 0.75, "rmse": 10.0, "auc": 0.9, "minutes": None, "minutes_saved": None},
]

pytestmark = pytest.mark.analysis


@pytest.fixture
def images():
    rmse = np.array([[1.0, 5, 3, 1], [2, 5, 1, 2]])
    regions = {"cortex": (30, np.array([1.0, 1, 2, 0])), "thalamus": (20, np.array([8.0, 1, 1, 0]))}
    return Contribution(("t2", "mt_on", "mt_off", "qa"), rmse, regions, 50)


@pytest.fixture
def groups():
    return Contribution(("pair", "rest"), np.array([[6.0, 2.0]]), {}, 50)


def read_csv(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_files_hold_what_was_found(images, groups, tmp_path):
    files = write_contribution(ContributionResult(ABOUT, images, groups, FEWER), tmp_path / "out")
    names = ["contribution.csv", "groups.csv", "regions.csv", "fewer_images.csv", "contribution.json", "contribution.png", "cumulative.png"]
    assert [path.name for path in files] == names
    assert sorted((tmp_path / "out").glob("[!.]*")) == sorted(files)
    rows = read_csv(files[0])
    assert [row["image"] for row in rows] == ["mt_on", "mt_off", "t2", "qa"]
    shares = images.rmse / images.rmse.sum(1, keepdims=True)
    assert [float(row["share"]) for row in rows] == pytest.approx(shares.mean(0)[[1, 2, 0, 3]])
    assert float(rows[-1]["cumulative"]) == pytest.approx(1)
    assert [(row["image"], row["share_sd"]) for row in read_csv(files[1])] == [("pair", ""), ("rest", "")]
    assert read_csv(files[3])[1] == {"images": "4", "r2": "0.75", "rmse": "10.0", "auc": "0.9", "minutes": "", "minutes_saved": ""}
    content = json.loads(files[4].read_text())
    assert {key: content[key] for key in ABOUT} == ABOUT
    assert content["contribution"] == images.rows()
    assert content["groups"][0] | {"share_sd": None} == groups.rows()[0] | {"share_sd": None}
    assert (content["groups"][0]["share_sd"], content["fewer_images"]) == (None, FEWER)
    for path in files[5:]:
        picture = matplotlib.image.imread(path)
        assert min(picture.shape[:2]) > 150
        assert picture[..., :3].std() > 0.02


def test_without_regions_and_retraining_there_are_no_tables_of_them(groups, tmp_path):
    files = write_contribution(ContributionResult(ABOUT, groups, groups), tmp_path)
    assert [path.name for path in files if path.suffix == ".csv"] == ["contribution.csv", "groups.csv"]
    assert {"regions", "fewer_images"}.isdisjoint(json.loads((tmp_path / "contribution.json").read_text()))


def test_each_region_has_its_own_shares(images):
    rows = region_rows(images)
    assert [(row["region"], row["voxels"], row["image"]) for row in rows[:2]] == [("cortex", 30, "t2"), ("cortex", 30, "mt_on")]
    assert [row["share"] for row in rows] == pytest.approx([0.25, 0.25, 0.5, 0, 0.8, 0.1, 0.1, 0])
    assert rows[4]["rmse"] == 8


def test_groups_have_regions_too(images, tmp_path):
    groups = Contribution(("pair", "rest"), np.array([[6.0, 2.0]]), {"cortex": (30, np.array([3.0, 1.0]))}, 50)
    write_contribution(ContributionResult(ABOUT, images, groups), tmp_path)
    rows = [(row["region"], row["image"], float(row["share"])) for row in read_csv(tmp_path / "regions.csv")]
    assert rows[7:] == [("thalamus", "qa", 0), ("cortex", "pair", 0.75), ("cortex", "rest", 0.25)]


def test_the_table_to_read(images, groups):
    lines = contribution_table(ContributionResult(ABOUT, images, groups, FEWER)).splitlines()
    shares = images.shares
    assert "(grey values, 50 voxels)" in lines[0]
    first = lines[1].split()
    spread = shares[:, 1].std(ddof=1)
    assert first == ["1", "mt_on", f"{shares[:, 1].mean():.2%}", f"{spread:.2%}", "50%", "5"]
    assert "... of 4: 25% in the first 1, 50% in the first 1, 75% in the first 3. Last: qa." in lines
    assert "cortex (30 voxels): mt_off 50.0%, t2 25.0%, mt_on 25.0%" in lines
    assert lines[-2].split() == ["2", "0.500", "20", "0.700", "72", "700"]
    assert lines[-1].split() == ["4", "0.750", "10", "0.900", "unknown", "unknown"]


def test_ten_images_are_listed_of_many(groups, rng):
    many = Contribution(tuple(f"i{n}" for n in range(30)), np.sort(rng.uniform(1, 2, (1, 30))), {}, 50)
    lines = contribution_table(ContributionResult(ABOUT, many, groups)).splitlines()
    assert [line.split()[1] for line in lines[1:11]] == [f"i{n}" for n in range(29, 19, -1)]
    assert lines[11].startswith("... of 30: ")
    assert lines[11].endswith("Last: i0.")


def test_mrh_contribution_writes_and_prints(call, untrained_bundle, study, tmp_path):
    out = tmp_path / "out"
    words = ("--images", "t2,mt_on,mt_off", "--voxels", 100, "--draws", 2, "--noise", 0.2, "--seed", 3, "--device", "cpu")
    retrain = ("--retrain-top", "1,2", "--datalist", study / "datalist.json", "--steps", 3, "--patches", 64)
    status, text, _ = call("contribution", untrained_bundle, study / "subject04", "-o", out, *words, *retrain)
    assert status == 0
    assert text.split("\n\n")[-1].split() == [str(path) for path in (
        out / "contribution.csv", out / "groups.csv", out / "fewer_images.csv", out / "contribution.json", out / "contribution.png",
        out / "cumulative.png",
    )]  # fmt: skip
    network, sidecar = load_network(untrained_bundle / "models" / "model.pt")
    subject = load_subject(find_subject(study / "subject04"), MRH_NET)
    images = single_images(MRH_NET, ["t2", "mt_on", "mt_off"])
    expected = perturb_images(network, sidecar, subject, images, NoiseOptions(0.2, draws=2, voxels=100, seed=3)).rows()
    content = json.loads((out / "contribution.json").read_text())
    assert [row["image"] for row in content["contribution"]] == [row["image"] for row in expected]
    assert [row["share"] for row in content["contribution"]] == pytest.approx([row["share"] for row in expected])
    assert {row["image"] for row in content["groups"]} == set(groups_of_images(MRH_NET))
    assert [row["images"] for row in content["fewer_images"]] == [1, 2, 67]
    minutes = {"t2": 62.4, "mt_on": 62.4, "mt_off": 62.4}
    assert content["fewer_images"][0]["minutes"] == pytest.approx(minutes[expected[0]["image"]])
    assert (content["weights"], content["subject"], content["noise"], content["voxels"]) == (sidecar.sha256, "subject04", 0.2, 100)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--images", "mt_one"], "--images: expected names of the protocol's images, found 'mt_one'; did you mean 'mt_on'"),
        (["--retrain-top", "4,17"], "--retrain-top: expected subjects to train and to test on, found no datalist; give --datalist"),
        (["--retrain-top", "4,68", "--datalist", "{study}/datalist.json"], "expected numbers from 1 to 67, the number of images, found 68"),
        (["--retrain-top", "2", "--images", "t2", "--datalist", "{study}/datalist.json"], "expected numbers from 1 to 1"),
        (["--retrain-top", "4;5"], "--retrain-top: expected whole numbers above 0, separated by commas"),
        (["--retrain-top", "0"], "--retrain-top: expected whole numbers above 0, separated by commas"),
        (["--retrain-top", "4", "--datalist", "no.json"], "no.json: expected a datalist (JSON file), found no such file"),
        (["--noise", "0"], "--noise: expected a number above 0"),
        (["--labels", "no.nii"], "no.nii: expected a"),
    ],
)
def test_wrong_input_is_one_sentence_and_leaves_nothing(call, untrained_bundle, study, tmp_path, words, sentence):
    out = tmp_path / "out"
    words = [word.format(study=study) for word in words]
    status, _, err = call("contribution", untrained_bundle, study / "subject04", "-o", out, "--device", "cpu", *words)
    assert status == 1
    assert sentence in err
    assert len(err.strip().splitlines()) == 1
    assert not out.exists()


def test_no_weights_and_no_subject_are_named(call, untrained_bundle, study, tmp_path):
    status, _, err = call("contribution", untrained_bundle, tmp_path / "nobody", "-o", tmp_path / "out")
    assert (status, "nobody: expected a" in err) == (1, True)
    (untrained_bundle / "models" / "model.pt").unlink()
    status, _, err = call("contribution", untrained_bundle, study / "subject04", "-o", tmp_path / "out")
    assert (status, "model.pt: expected trained weights, found no such file" in err) == (1, True)
