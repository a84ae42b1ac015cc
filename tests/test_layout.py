"""Tests mirror the rooms of the package, and import nothing from one another."""

import ast
import re
from pathlib import Path

import pytest

from helpers.paths import ROOT

PACKAGE, TESTS = ROOT / "mrh_monai", ROOT / "tests"
HELPERS = TESTS / "helpers"

# Modules without a test file of their own, and where they are tested.
ELSEWHERE = {
    "bundle/config_start.py": "every run of a bundle begins with it: bundle/test_bundle_runs.py",
    "cli/analysis_verbs.py": "a verb is tested beside what it calls: maps/test_map_volumes.py, comparison/test_comparison.py",
    "cli/option_types.py": "declarations without code, used by every verb: cli/test_prediction_verbs.py",
    "export/slab_graph.py": "the graph is compared with the network in every file that holds it: export/test_network_files.py",
    "figures/canvas.py": "the frame of every plot: figures/test_score_plots.py",
    "figures/channel_signals.py": "pictures of the report: report/test_page.py",
    "io/mat_files.py": "MATLAB's container is read with what it holds: io/test_patch_files.py, matlab/test_network_objects.py",
    "matlab/downloads.py": "a download needs the catalogue's record: matlab/test_catalogue.py",
    "studies/image_experiments.py": "experiments are run by name: studies/test_experiments.py",
    "studies/training_experiments.py": "experiments are run by name: studies/test_experiments.py",
    "training/training_state.py": "states are written and read by whole trainings: training/test_resume.py",
}

# Test files without a module: they test a whole room, or what several modules do together.
WHOLE_ROOM = {
    "bundle/test_bundle_runs.py": "whole trainings and predictions of a bundle",
    "bundle/test_promised_names.py": "the names that configs may use",
    "bundle/test_shipped_bundles.py": "the three bundles in `bundles/`",
    "bundle/test_tracking.py": "MONAI's experiment tracking in a whole training",
    "cli/test_overwriting.py": "what the verbs that write replace",
    "contributions/test_contribution_truth.py": "whether contributions find the images that matter, on data made for it",
    "data/test_turned_subjects.py": "coronal slices along any axis, in memory, on disk and as arrays",
    "export/test_zoo_exports.py": "MONAI's own export commands on a bundle",
    "matlab/test_damaged_networks.py": "damaged files through the whole import",
    "report/test_report_in_browser.py": "whole reports in Chromium",
    "sharing/test_received_bundles.py": "packed, received and run in another environment",
    "sharing/test_released_bundles.py": "bundles that earlier releases packed",
    "sharing/test_sharing_edge_cases.py": "packing and unpacking together",
    "sharing/test_verification_holes.py": "attacks on the whole verification",
    "training/test_resume.py": "trainings that are stopped and continued",
}


def modules():
    """Every module of the package, by its path inside it; a room's face has no code of its own."""
    found = (path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if not path.name.startswith("__"))
    return sorted(path.as_posix() for path in found if path.parts[:2] != ("bundle", "template"))


def imported(path: Path) -> set[str]:
    """Names of the modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or ""} | {f"{node.module or ''}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("module", modules())
def test_every_module_has_its_test_file_in_the_mirrored_place(module):
    path = Path(module)
    mirrored = TESTS / path.parent / f"test_{path.name}"
    if module in ELSEWHERE:
        assert not mirrored.exists(), f"{module} has a test file: take it off the list of those that have none"
    else:
        assert mirrored.is_file(), f"{module} has no {mirrored.relative_to(ROOT)}: write it, or say in ELSEWHERE where it is tested"


def test_the_list_of_modules_tested_elsewhere_names_modules_and_test_files():
    assert set(ELSEWHERE) <= set(modules())
    for module, reason in ELSEWHERE.items():
        named = re.findall(r"[\w/]+\.py", reason)
        assert named, f"{module}: say which test file tests it"
        assert [name for name in named if not (TESTS / name).is_file()] == [], module


def test_every_test_file_in_a_room_tests_a_module_or_says_what_it_tests():
    files = {path.relative_to(TESTS).as_posix() for path in TESTS.glob("*/test_*.py")}
    mirrored = {(Path(module).parent / f"test_{Path(module).name}").as_posix() for module in modules()}
    assert files - mirrored == set(WHOLE_ROOM)


def test_tests_stand_in_the_rooms_of_the_package():
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert {path.parent.relative_to(TESTS).parts[0] for path in TESTS.glob("*/**/test_*.py")} <= rooms | {"apps"}


def test_nothing_is_imported_from_a_test_module_or_a_conftest():
    own = {path.stem for path in TESTS.rglob("test_*.py")} | {"conftest", "tests"}
    wrong = {
        path.relative_to(TESTS).as_posix(): sorted(name for name in imported(path) if own & set(name.split(".")))
        for path in TESTS.rglob("*.py")
    }
    assert {path: names for path, names in wrong.items() if names} == {}


def test_helpers_are_in_their_package_and_fixtures_are_not():
    code = [path for path in TESTS.rglob("*.py") if HELPERS not in path.parents]
    assert [path for path in code if path.name != "conftest.py" and not path.name.startswith("test_")] == []
    assert [path.name for path in HELPERS.glob("*.py") if "@pytest.fixture" in path.read_text(encoding="utf-8")] == []
