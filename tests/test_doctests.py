"""The examples in the docstrings of the package run, give what they say, and leave no file behind."""

import doctest
import importlib
import re

import pytest

from helpers.paths import ROOT

PACKAGE = ROOT / "mrh_monai"
# Modules whose examples need more than the package itself, and the library that brings it.
NEED_LIBRARY = {
    "matlab/catalogue.py": "pooch",
    "matlab/network_export.py": "h5py",
}


def modules_with_examples() -> list[str]:
    """Paths inside the package. An example that needs a trained bundle has ``+SKIP``, and counts for nothing here."""
    runs = re.compile(r">>> (?!.*# doctest: \+SKIP)")
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if runs.search(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("module", modules_with_examples())
def test_examples_give_what_they_say(module, tmp_path, monkeypatch, capsys):
    if module in NEED_LIBRARY:
        pytest.importorskip(NEED_LIBRARY[module], reason=f"the examples of {module} need {NEED_LIBRARY[module]}")
    monkeypatch.chdir(tmp_path)
    name = ".".join(("mrh_monai", *module.removesuffix(".py").removesuffix("/__init__").split("/")))
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0, capsys.readouterr().out
    assert result.attempted > 0, f"{module} has examples, but none is in a docstring"
    assert list(tmp_path.iterdir()) == [], f"the examples of {module} leave files behind"


def test_the_list_of_libraries_names_modules_with_examples():
    assert set(NEED_LIBRARY) <= set(modules_with_examples())


def test_what_users_call_first_has_an_example():
    """At least the vocabulary of every script: subjects, protocols, predictions, networks."""
    expected = {"subjects/datalist.py", "inference/prediction.py", "network/mrh_net.py", "protocol/mr_protocol.py", "patch_geometry.py"}
    assert expected <= set(modules_with_examples())
