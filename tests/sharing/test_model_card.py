from dataclasses import replace

import pytest

from helpers.random_weights import PARENT, SOURCE, calibration_of
from mrh_monai.network.sidecar import Sidecar
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.scaling import RobustScaling
from mrh_monai.sharing.model_card import fill_card

pytestmark = pytest.mark.sharing

SCALING = RobustScaling(250.0, (0.2,) * 67, (0.1,) * 67, (1.0,) * 67)
SIDECAR = Sidecar("nf", "8-bit nf", MRH_NET.names, 30, 64, [0, 2], 1, SCALING, "4" * 64, PARENT, SOURCE)


def mark(name):
    return f"<!-- card: {name} -->\nold {name}\n<!-- /card -->\n"


def test_facts_stand_where_the_readme_keeps_a_place():
    card = fill_card(f"one\n{mark('performance')}# two\n{mark('data')}# three\n{mark('training')}# four\n", SIDECAR, MRH_NET)
    order = ["one", "On the centre voxels", "# two", "### Data of this network", "# three", "### Training of this network", "# four"]
    assert [card.index(text) for text in order] == sorted(card.index(text) for text in order)
    assert "old" not in card
    assert card.endswith("# four\n")


@pytest.mark.parametrize("readme", ["", "# A\n", "# A\n<!-- card: data -->\nno end\n", "# A\n<!-- card: Data -->\n<!-- /card -->\n"])
def test_facts_without_a_place_go_to_the_end(readme):
    card = fill_card(readme, SIDECAR, MRH_NET)
    assert card.startswith(readme.rstrip())
    order = ["### Data of this network", "### Training of this network", "On the centre voxels of the validation patches"]
    places = [card.index(text, len(readme.rstrip())) for text in order]
    assert places == sorted(places)
    assert [card.count(text) for text in order] == [1, 1, 1]


def test_scores_data_and_protocol_of_the_run_are_told():
    card = fill_card("", SIDECAR, MRH_NET)
    for line in (
        "| trained on | subject01 (150 patches), subject02 (250 patches) |", "| patches | 400 |",
        "| validated on | subject03 (100 patches) |", f"| SHA-256 of a sample of the patches | {'1' * 64} |",
        "The 67 channels of this network, by contrast:", "| residual blocks, features | 30, 64 |",
        "| patch | 3 voxels along array axes 0, 2 |", "| largest stain | 250 (8-bit nf) |", "| recipe | fast |",
        "| best epoch, whose weights these are | 2 |", "| learning rate | 0.002 |", f"| started from | mrh_af (af), SHA-256 `{'0' * 64}` |",
        "| tensors copied | 1 |", "| tensors frozen | 0 |", "| software | mrh-monai 0.1.0 |",
        f"| SHA-256 of `models/model.pt` | `{'4' * 64}` |",
        "On the centre voxels of the validation patches: RMSE 12.5 (8-bit nf), R2 0.8750.", "No scores of whole test subjects",
    ):  # fmt: skip
        assert f"{line}\n" in card or (not line.startswith("|") and line in card), line


def test_all_channels_are_told_once():
    card = fill_card("", SIDECAR, MRH_NET)
    table = card.split("| contrast | channels | number | minutes |\n|---|---|---|---|\n")[1].split("\n<!--")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]
    assert [row[0] for row in rows] == [group.name for group in MRH_NET.groups]
    assert [int(row[2]) for row in rows] == [4, 30, 30, 1, 1, 1]
    named = []
    for run in ", ".join(row[1] for row in rows).split(", "):
        ends = [MRH_NET.names.index(name) for name in run.split(" to ")]
        named += range(ends[0], ends[-1] + 1)
    assert sorted(named) == list(range(67))


def test_scores_of_subjects_are_a_table_in_order():
    scores = {"s2": {"rmse": 3.14159, "r2": 0.5, "psnr": 1.0, "ssim": 0.9}, "s1": {"rmse": 2.0, "r2": 0.25}}
    card = fill_card("", SIDECAR, MRH_NET, scores)
    assert (
        "On whole test subjects, inside the mask (RMSE: 8-bit nf):\n\n| subject | RMSE | R2 | SSIM | PSNR (dB) |\n|---|---|---|---|---|\n"
        in card
    )
    assert "| s1 | 2 | 0.25 |  |  |\n| s2 | 3.142 | 0.5 | 0.9 | 1 |\n" in card
    assert "No scores" not in card


def test_what_intervals_held_is_told():
    card = fill_card("", replace(SIDECAR, intervals=calibration_of(1.0, 1.0, 1.0)), MRH_NET)
    assert "Intervals: made to hold 90% of the voxels of a subject; held on 3 subjects, each by the other two: 90 to 90%.\n" in card
    assert "Intervals" not in fill_card("", SIDECAR, MRH_NET)


def test_other_origins():
    scratch = fill_card("", replace(SIDECAR, parent=None, source={}), MRH_NET)
    for text in ("| started from | random weights |", "| source | not recorded |", "Its training recorded no scores."):
        assert text in scratch
    imported = {"imported": {"file": "net.mat", "sha256": "5" * 64}, "citation": "Liang 2022", "final_rmse_mean": 1.2345}
    card = fill_card("", replace(SIDECAR, parent=None, source=imported), MRH_NET)
    for text in (
        "| imported from | net.mat |",
        f"| SHA-256 of that file | {'5' * 64} |",
        "| published with | Liang 2022 |",
        "the RMSE of a patch was 1.23.",
    ):
        assert text in card
    held_out = fill_card("", replace(SIDECAR, source={"subjects": ["a"], "validation_subjects": []}), MRH_NET)
    assert "| trained on | a |\n| validated on | training patches that were held out |" in held_out


def test_a_cell_cannot_break_its_table():
    card = fill_card("", replace(SIDECAR, source={"subjects": ["a|b\n| c"], "recipe": "x\n\n# y"}), MRH_NET)
    assert "| trained on | a\\|b \\| c |" in card
    assert "| recipe | x # y |" in card
