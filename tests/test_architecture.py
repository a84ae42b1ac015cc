"""The table of docs/architecture.md is complete, and imports point down it."""

import ast
import re
import subprocess
import sys

from helpers.paths import ROOT

PACKAGE = ROOT / "mrh_monai"


def rows():
    table = re.findall(r"^\| (`[^|]*?) \|", (ROOT / "docs" / "architecture.md").read_text(), flags=re.M)
    return [re.findall(r"`(\w+)\.py`", row) for row in table]


def imported(name):
    tree = ast.parse((PACKAGE / f"{name}.py").read_text())
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {module.split(".")[1] for module in modules if module.startswith("mrh_monai.")}


def test_every_module_has_its_row():
    assert sorted(name for row in rows() for name in row) == sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


def test_imports_point_down():
    place = {name: index for index, row in enumerate(rows()) for name in row}
    upward = [(name, other) for name in place for other in imported(name) if name != other and place[other] <= place[name]]
    assert upward == []


def test_importing_the_package_installs_no_hook():
    code = "import sys; before = sys.excepthook; import mrh_monai.training.recorder, mrh_monai.bundle.options, mrh_monai.cli.app; print(sys.excepthook is before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "True"
