import ast
import re
import subprocess
import sys

import pytest
import typer

from helpers.commands import mrh
from helpers.paths import ROOT
from mrh_monai.cli.app import app
from mrh_monai.errors import usable_remedy

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def test_usage_errors_have_status_2_and_debug_shows_the_traceback():
    assert mrh("predict").returncode == 2
    assert mrh("predikt").returncode == 2
    done = mrh("--debug", "datalist", "nowhere", "-o", "d.json")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_help_does_not_pay_for_torch():
    modules = "mrh_monai.cli.app, mrh_monai.subjects.subject, mrh_monai.subjects.datalist"
    code = f"import sys, {modules}; print('torch' in sys.modules, 'monai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False"]


def remedies():
    """All texts of the package that name an option; docstrings are for readers of the code."""
    found = set()
    for path in (ROOT / "mrh_monai").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, DOCUMENTED)}
        texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
        found |= {text for text in texts if re.search(r"(?<!`)--[a-z]", text) and text not in docstrings and " " in text}
    return sorted(found)


def options_of(verb):
    return {option for param in verb.params for option in param.opts if option.startswith("--")}


VERBS = typer.main.get_group(app).commands


def test_texts_name_options():
    assert len(remedies()) > 20
    assert any("--nan zero" in text for text in remedies())


@pytest.mark.parametrize("name", sorted(VERBS))
def test_no_remedy_names_an_option_that_the_verb_at_hand_does_not_have(name):
    options = options_of(VERBS[name]) | {"--debug"}
    for text in remedies():
        advised = usable_remedy(text, options)
        assert advised.strip()
        assert set(re.findall(r"--[a-z][\w-]*", re.sub("`.*?`", "", advised))) <= options, (text, advised)


def test_an_alternative_without_options_is_kept():
    two = "correct the scan, or set them to 0 as published with --nan zero"
    assert usable_remedy(two, {"--nan"}) == two
    assert usable_remedy(two, {"--mask"}) == "correct the scan"
    assert usable_remedy("give --new_channels True", {"--mask"}) == "give new_channels True"
    other_command = "name one; `mrh datalist --target-mask auto` writes one"
    assert usable_remedy(other_command, set()) == other_command
