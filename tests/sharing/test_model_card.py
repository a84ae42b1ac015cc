from dataclasses import replace

import pytest

from helpers.random_weights import PARENT, SOURCE
from mrh_monai.network.checkpoint import Sidecar
from mrh_monai.protocol.mr_protocol import MRH_NET
from mrh_monai.scaling.intensity_scaling import Scaling
from mrh_monai.sharing.model_card import fill_card

pytestmark = pytest.mark.sharing

SCALING = Scaling("robust", (0.2,) * 67, (0.1,) * 67, 250.0, (1.0,) * 67)
SIDECAR = Sidecar("nf", "8-bit nf", MRH_NET.names, 30, 64, [0, 2], 1, SCALING, "4" * 64, PARENT, SOURCE)


def mark(name):
    return f"<!-- card: {name} -->\nold {name}\n<!-- /card -->\n"


def test_facts_stand_where_the_readme_keeps_a_place():
    card = fill_card(f"one\n{mark('performance')}# two\n{mark('data')}# three\n{mark('training')}# four\n", SIDECAR, MRH_NET)
    order = ["one", "On the centres", "# two", "### Data of this network", "# three", "### Training of this network", "# four"]
    assert [card.index(text) for text in order] == sorted(card.index(text) for text in order)
    assert "old" not in card
    assert card.endswith("# four\n")


@pytest.mark.parametrize("readme", ["", "# A\n", "# A\n<!-- card: data -->\nno end\n", "# A\n<!-- card: Data -->\n<!-- /card -->\n"])
def test_facts_without_a_place_go_to_the_end(readme):
    card = fill_card(readme, SIDECAR, MRH_NET)
    assert card.startswith(readme.rstrip())
    order = ["### Data of this network", "### Training of this network", "On the centres of the validation patches"]
    places = [card.index(text, len(readme.rstrip())) for text in order]
    assert places == sorted(places)
    assert [card.count(text) for text in order] == [1, 1, 1]


def test_scores_data_and_protocol_of_the_run_are_told():
    card = fill_card("", SIDECAR, MRH_NET)
    for line in (
        "| trained on | subject01 (150 patches), subject02 (250 patches) |", "| patches | 400 |",
        "| validated on | subject03 (100 patches) |", f"| SHA-256 of a sample of the patches | {'1' * 64} |",
        "Channels of this network, in their order (67):", "| residual blocks, features | 30, 64 |",
        "| patch | 3 voxels along array axes 0, 2 |", "| largest stain | 250 (8-bit nf) |", "| recipe | fast |",
        "| epoch kept, the best | 2 |", "| learning rate | 0.002 |", f"| started from | mrh_af (af), SHA-256 `{'0' * 64}` |",
        "| tensors copied | 1 |", "| tensors frozen | 0 |", "| software | mrh-monai 0.1.0 |",
        f"| SHA-256 of `models/model.pt` | `{'4' * 64}` |",
        "On the centres of the validation patches: RMSE 12.5 (8-bit nf), R2 0.8750.", "No scores on whole test subjects",
    ):  # fmt: skip
        assert f"{line}\n" in card or (not line.startswith("|") and line in card), line


def test_all_channels_are_told_once():
    card = fill_card("", SIDECAR, MRH_NET)
    rows = card.split("| channels | b-value, s/mm^2 | minutes |\n|---|---|---|\n")[1].split("\n<!--")[0].splitlines()
    names = [row.split(" | ")[0].removeprefix("| ") for row in rows]
    counts = [int(name.rsplit("(", 1)[1].rstrip(")")) if "(" in name else 1 for name in names]
    assert sum(counts) == 67
    assert names[0].split(" to ")[0] == MRH_NET.names[0]
    assert names[-1] == MRH_NET.names[-1]


def test_scores_of_subjects_are_a_table_in_order():
    scores = {"s2": {"rmse": 3.14159, "r2": 0.5, "psnr": 1.0, "ssim": 0.9}, "s1": {"rmse": 2.0, "r2": 0.25}}
    card = fill_card("", SIDECAR, MRH_NET, scores)
    assert "On whole subjects, inside the mask (RMSE and MAE: 8-bit nf):\n\n| subject | RMSE | R2 | SSIM |\n|---|---|---|---|\n" in card
    assert "| s1 | 2 | 0.25 |  |\n| s2 | 3.142 | 0.5 | 0.9 |\n" in card
    assert "No scores" not in card


def test_other_origins():
    scratch = fill_card("", replace(SIDECAR, parent=None, source={}), MRH_NET)
    for text in ("| started from | scratch |", "| source | not recorded |", "Its training recorded no scores."):
        assert text in scratch
    imported = {"imported": {"file": "net.mat", "sha256": "5" * 64}, "citation": "Liang 2022", "final_rmse_mean": 1.2345}
    card = fill_card("", replace(SIDECAR, parent=None, source=imported), MRH_NET)
    for text in ("| imported from | net.mat |", f"| its SHA-256 | {'5' * 64} |", "| published with | Liang 2022 |", "RMSE 1.23 a patch."):
        assert text in card
    held_out = fill_card("", replace(SIDECAR, source={"subjects": ["a"], "validation_subjects": []}), MRH_NET)
    assert "| trained on | a |\n| validated on | training patches held out |" in held_out


def test_a_cell_cannot_break_its_table():
    card = fill_card("", replace(SIDECAR, source={"subjects": ["a|b\n| c"], "recipe": "x\n\n# y"}), MRH_NET)
    assert "| trained on | a\\|b \\| c |" in card
    assert "| recipe | x # y |" in card
