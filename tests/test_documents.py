"""Documents say what is true: the page on Python is executed, and the journeys name files that exist."""

import doctest
import re
import warnings

import pytest

from helpers.paths import ROOT
from mrh_monai.errors import MRHWarning


@pytest.mark.analysis
def test_the_page_on_python_runs_as_it_stands():
    pytest.importorskip("dipy", reason="the page computes parameter maps; pip install 'mrh-monai[analysis]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MRHWarning)  # the digital mouse brain has no gradient table of its own
        found = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 25
    assert found.failed == 0


def test_the_journeys_open_at_most_three_source_files_and_name_files_that_exist():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    table = page.partition("## Journeys")[2].partition("## Style")[0]
    rows = [line.split("|")[1:4] for line in table.splitlines() if line.startswith("| ") and "you add" not in line]
    assert len(rows) >= 7
    for addition, files, _ in rows:
        paths = re.findall(r"`(mrh_monai/[^`]+)`", files)
        assert len(paths) <= 3, addition
        for path in paths:
            assert "<" in path or (ROOT / path).is_file(), (addition, path)
