"""The table at the end of `make test-all`."""

import os
import subprocess
import sys

import pytest

from helpers.paths import ROOT

TESTS = """
import pytest

def test_one(): pass
@pytest.mark.skip(reason="no CUDA device")
def test_two(): pass
@pytest.mark.skip(reason="no CUDA device")
def test_three(): pass
def test_four(): pytest.skip("no real data")
@pytest.mark.xfail(reason="known")
def test_five(): raise AssertionError
"""
WHOLE_FILE = 'import pytest\npytest.skip("the SDK isn\'t installed", allow_module_level=True)'


@pytest.fixture
def results(tmp_path):
    """Run pytest on some files, as a target of the Makefile does."""
    (tmp_path / "results").mkdir()

    def run(target, **files):
        folder = tmp_path / target
        folder.mkdir()
        for name, text in files.items():
            (folder / f"test_{name}.py").write_text(text)
        report = tmp_path / "results" / f"{target}.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, folder, f"--junitxml={report}"]
        subprocess.run(command, check=False, cwd=folder)
        return tmp_path / "results"

    return run


def table(folder):
    done = subprocess.run([sys.executable, ROOT / "tools" / "skip_table.py", folder], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


def test_skips_are_counted_by_target_and_reason(results):
    results("test", ordinary=TESTS)
    status, lines = table(results("test-deploy", deploy=WHOLE_FILE))
    assert status == 0
    assert [line.split(maxsplit=2) for line in lines[3:6]] == [
        ["2", "test", "no CUDA device"],
        ["1", "test", "no real data"],
        ["1", "test-deploy", "the SDK isn't installed"],
    ]
    assert lines[-3] == "  Failed as their marks `xfail` expect: 1 tests."
    assert lines[-1] == "1 passed, 0 failed, 4 skipped"


def test_a_failure_and_a_missing_environment_end_with_status_1(results):
    folder = results("test", failing="def test_one(): assert False")
    (folder / "failed").write_text("make test\nmake test-label\n")
    status, lines = table(folder)
    assert status == 1
    assert "No test was skipped." in lines
    assert "  make test-label failed before its tests began; its output stands above." in lines
    assert lines[-1] == "0 passed, 1 failed, 0 skipped"


def test_no_results_are_no_success(tmp_path):
    assert table(tmp_path)[0] == 1
    assert table(tmp_path / "nothing")[0] == 2
