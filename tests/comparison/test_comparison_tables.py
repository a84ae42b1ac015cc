import csv
import json

import matplotlib.image
import numpy as np
import pytest

from mrh_monai.comparison.compared_models import NETWORK
from mrh_monai.comparison.comparison import Comparison
from mrh_monai.comparison.comparison_tables import comparison_table, regions_table, standing, write_comparison
from mrh_monai.evaluation.scores import COMPARED_SCORES

SCORES = tuple(score.key for score in COMPARED_SCORES)

KINDS = {NETWORK: "network", "mtr": "marker", "fa_1900": "marker", "linear, 5 maps": "regression", "quadratic, 5 maps": "regression"}
R2 = {NETWORK: 0.9, "mtr": 0.2, "fa_1900": 0.4, "linear, 5 maps": 0.5, "quadratic, 5 maps": 0.7}
AHEAD = {"r2": (0.1, 0.3), "rmse": (-9.0, -2.0), "auc": (0.01, 0.2)}

pytestmark = pytest.mark.analysis


def make(r2=R2, ahead=None, seed=0):
    """A comparison without running one; ``ahead`` replaces the network's lead over some models."""
    rng = np.random.default_rng(seed)
    models, curves, pairs = [], {}, {}
    for name in KINDS:
        scores = dict.fromkeys(SCORES, 0.5) | {"r2": r2[name], "rmse": 30 * (1 - r2[name]), "psnr": float("inf")}
        model = {"name": name, "kind": KINDS[name], "scores": scores}
        model["intervals"] = {score: (value - 0.125, value + 0.125) for score, value in scores.items()}
        model["per_subject"] = {"subject04": scores}
        if name != NETWORK:
            model["network_ahead"] = dict.fromkeys(SCORES, (0.1, 0.2)) | AHEAD | (ahead or {}).get(name, {})
        models.append(model)
        rates = np.linspace(0, 1, 11)
        curves[name] = (rates, rates ** (1 - 0.9 * np.nan_to_num(r2[name])))
        target = rng.uniform(0, 200, 500)
        pairs[name] = (target, target + rng.normal(0, 20, 500))
    regions = [
        {"subject": subject, "region": region, "voxels": 10, "model": name, "r2": r2[name] / n, "rmse": 2.0 * n, "bias": float("nan")}
        for n, subject in ((1, "s1"), (2, "s2"))
        for region in ("cortex", "thalamus")
        for name in KINDS
    ]
    about = {
        "bundle": "mrh_af", "weights": "0" * 64, "stain": "af", "units": "grey values",
        "fitted_on": {"subjects": ["subject01", "subject02"], "voxels": 40000}, "scored_on": {"subjects": ["s1", "s2"], "voxels": 12345},
        "structures": {"side": "below", "threshold": 101.25, "chosen": "Otsu, training"},
        "intervals": {"resampled": "blocks", "block_mm": [0.5, 1.0, 0.5], "draws": 1000, "level": 0.95},
    }  # fmt: skip
    return Comparison(about, models, regions, curves, pairs)


def names_of(table):
    return [line[:17].strip() for line in table.splitlines()[1:6]]


def test_the_table_is_sorted_by_r2_and_says_what_it_means():
    table = comparison_table(make())
    assert names_of(table) == [NETWORK, "quadratic, 5 maps", "linear, 5 maps", "fa_1900", "mtr"]
    head, network, *_ = table.splitlines()
    assert head.split() == ["R2", "[95%]", "RMSE", "[95%]", "AUC", "[95%]", "1-SSE/SST", "SSIM"]
    assert " ".join(network.split()) == "MRH network 0.900 [0.775, 1.025] 3.000 [2.875, 3.125] 0.500 [0.375, 0.625] 0.500 0.500"
    assert "18.0 [17.9, 18.1]" in table
    assert "AF on s1, s2 (12,345 voxels)" in table
    assert "fitted on 40,000 voxels of subject01, subject02" in table
    assert "R2 is the squared correlation; RMSE in grey values; AUC for structures below 101.2 (Otsu, training)" in table
    assert "95% intervals over blocks of 0.5, 1 mm." in table
    assert table.splitlines()[-1] == standing(make())
    assert len({len(line.rstrip()) for line in table.splitlines()[:6]}) == 1


@pytest.mark.parametrize("unknown", list(KINDS)[1:])
def test_a_model_without_r2_stands_last(unknown):
    found = make(R2 | {unknown: float("nan")})
    others = [name for name in (NETWORK, "quadratic, 5 maps", "linear, 5 maps", "fa_1900", "mtr") if name != unknown]
    assert names_of(comparison_table(found)) == [*others, unknown]
    best = next(name for name in others if name != NETWORK and KINDS[name] == "regression")
    assert best in regions_table(found).splitlines()[0]


def test_a_network_below_others_is_not_put_first():
    assert names_of(comparison_table(make(R2 | {NETWORK: 0.3})))[3] == NETWORK


def test_the_sentence_says_where_the_network_is_not_ahead():
    assert standing(make()) == "The network is ahead of all of them in R2, RMSE and AUC; no interval of a difference contains 0."
    behind = {"mtr": {"r2": (-0.3, -0.1)}, "linear, 5 maps": {"rmse": (1.0, 4.0)}}
    assert standing(make(ahead=behind)) == "The network is behind linear, 5 maps (RMSE); mtr (R2); ahead in all other scores and models."
    level = {"fa_1900": {"rmse": (-3.0, 1.0), "auc": (0.0, 0.1)}}
    assert (
        standing(make(ahead=level))
        == "The network is not clearly different from fa_1900 (RMSE, AUC); ahead in all other scores and models."
    )
    both = standing(make(ahead=behind | level))
    assert both.startswith("The network is behind linear, 5 maps (RMSE); mtr (R2) and not clearly different from fa_1900 (RMSE, AUC)")
    unknown = {"mtr": {"auc": (float("nan"), float("nan"))}}
    assert "not clearly different from mtr (AUC)" in standing(make(ahead=unknown))


def test_a_network_that_is_ahead_of_none_is_not_called_ahead_of_the_others():
    worst = {name: {"r2": (-0.3, -0.1), "rmse": (1.0, 4.0), "auc": (-0.2, -0.1)} for name in list(KINDS)[1:]}
    assert "ahead of the others" not in standing(make(ahead=worst))


def test_regions_are_means_over_subjects_of_the_network_and_the_best_other():
    lines = regions_table(make()).splitlines()
    assert (NETWORK in lines[0], "quadratic, 5 maps" in lines[0], "linear" in lines[0]) == (True, True, False)
    assert [line.split()[0] for line in lines[2:]] == ["cortex", "thalamus"]
    assert lines[2].split()[1:] == ["0.675", "3", "nan", "0.525", "3", "nan"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_comparison(make(), tmp_path_factory.mktemp("comparison") / "out")


def test_files_hold_every_number(written):
    assert [path.name for path in written] == [
        "comparison.json", "comparison.csv", "regions.csv", "roc.png", "scatter.png", "bland_altman.png", "r2.png",
    ]  # fmt: skip
    content = json.loads(written[0].read_text())
    assert content["structures"] == make().about["structures"]
    assert [model["name"] for model in content["models"]] == list(KINDS)
    assert (content["models"][1]["scores"]["r2"], content["models"][1]["scores"]["psnr"]) == (0.2, None)
    assert content["models"][1]["network_ahead"]["rmse"] == [-9, -2]
    rows = list(csv.DictReader(written[1].open()))
    assert list(rows[0]) == ["model", "kind", *(f"{score}{end}" for score in SCORES for end in ("", "_low", "_high"))]
    assert [row["model"] for row in rows] == list(KINDS)
    assert (float(rows[3]["r2"]), float(rows[3]["r2_low"]), rows[3]["psnr"], rows[3]["kind"]) == (0.5, 0.375, "", "regression")
    regions = list(csv.DictReader(written[2].open()))
    assert len(regions) == 20
    assert regions[0] == {"subject": "s1", "region": "cortex", "voxels": "10", "model": NETWORK, "r2": "0.9", "rmse": "2.0", "bias": ""}


def test_pictures_change_with_what_was_found_and_without_regions_there_is_no_table_of_them(written, tmp_path):
    other = make(R2 | {"mtr": 0.35}, seed=1)
    other.regions = []
    files = write_comparison(other, tmp_path / "out")
    names = ["comparison.json", "comparison.csv", "roc.png", "scatter.png", "bland_altman.png", "r2.png"]
    assert ([path.name for path in files], (tmp_path / "out" / "regions.csv").exists()) == (names, False)
    for one, changed in zip(written[-4:], files[-4:], strict=True):
        assert not np.array_equal(matplotlib.image.imread(one), matplotlib.image.imread(changed)), one.name


def test_many_subjects_are_counted():
    found = make()
    found.about["scored_on"]["subjects"] = [f"s{n}" for n in range(7)]
    found.about["intervals"] |= {"resampled": "animals", "block_mm": None}
    table = comparison_table(found)
    assert "AF on 7 subjects (12,345 voxels)" in table
    assert "95% intervals over animals." in table
