"""Documents say what is true: the page on Python is executed, and the journeys name files that exist."""

import doctest
import importlib
import inspect
import re
import warnings

import pytest

import mrh_monai
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


def test_every_public_function_has_an_example_that_runs():
    """In its own docstring, or on the page on Python."""
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    runs = re.compile(r">>> (?!.*# doctest: \+SKIP)")
    functions = [name for name in mrh_monai.__all__ if inspect.isfunction(getattr(mrh_monai, name))]
    assert len(functions) >= 9
    without = [name for name in functions if f"mrh_monai.{name}(" not in page and not runs.search(getattr(mrh_monai, name).__doc__)]
    assert without == []


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


def found_by_python(name):
    """Whether a dotted name is a module, or a name inside one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            found = getattr(found, part, None)
        return found is not None
    return False


def test_dotted_names_in_documents_and_docstrings_exist():
    texts = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("mrh_monai/**/*.py"), *ROOT.glob("mrh_monai/**/*.md")]
    named = {(path.name, name) for path in texts for name in re.findall(r"\bmrh_monai(?:\.[A-Za-z_]\w*)+", path.read_text())}
    assert len(named) > 100
    assert [pair for pair in sorted(named) if not found_by_python(pair[1])] == []
