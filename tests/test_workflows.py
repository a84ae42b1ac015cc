"""The hosted workflows run what the Makefile runs."""

import re

import pytest
import yaml

from helpers.paths import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
WORKFLOWS = ROOT / ".github" / "workflows"


def variable(name):
    """Return all values that the Makefile gives a variable, joined."""
    return " ".join(re.findall(rf"^{name} [:+]?= (.*)$", MAKEFILE, flags=re.M))


@pytest.fixture(scope="module")
def checks():
    return yaml.safe_load((WORKFLOWS / "checks.yml").read_text())["jobs"]


@pytest.fixture(scope="module")
def nightly():
    return yaml.safe_load((WORKFLOWS / "nightly.yml").read_text())["jobs"]


def test_the_same_tests_run_on_every_system(checks):
    (command,) = [step["run"] for step in checks["test"]["steps"] if "pytest" in step.get("run", "")]
    assert f'-m "not ({variable("SEPARATE")})"' in command
    for job in ("check", "test"):
        matrix = checks[job]["strategy"]["matrix"]
        assert {system.split("-")[0] for system in matrix["system"]} == {"ubuntu", "macos", "windows"}
        assert matrix["python"] == ["3.11", "3.12", "3.13"]


def test_the_same_checks_run_on_every_system(checks):
    typed = re.findall(r"^\t\$\(BIN\)/(.*)$", MAKEFILE.partition("check: $(READY)")[2].partition("\n\n")[0], flags=re.M)
    assert len(typed) == 4
    assert typed == [step["run"] for step in checks["check"]["steps"] if step.get("run", "python").split()[0] != "python"]


def test_every_target_with_tests_runs_at_night(nightly):
    targets = nightly["target"]["strategy"]["matrix"]["target"]
    assert {target for target in targets if target.startswith("test")} == set(variable("TEST_TARGETS").split())
    assert set(targets) <= set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, flags=re.M))


def test_markers_are_those_that_the_makefile_leaves_out_of_make_test(pytestconfig):
    markers = {line.partition(":")[0] for line in pytestconfig.getini("markers") if "make test-" in line}
    assert markers == set(variable("SEPARATE").split(" or "))
