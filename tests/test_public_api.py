"""The names that users import: they exist, they are loaded only when they are used, and no module hides one of them."""

import ast
import importlib
import json
import subprocess
import sys
import tomllib

import pytest

import mrh_monai
from helpers.paths import ROOT

PACKAGE = ROOT / "mrh_monai"
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.pyi"))
HEAVY = ["torch", "monai", "nibabel", "numpy", "scipy", "ignite", "yaml", "h5py", "itk", "matplotlib", "sklearn", "skimage"]
# What README and docs promise.
PROMISED = [
    "MRH_NET", "Datalist", "MRHError", "MRHNet", "MRProtocol", "Prediction", "PredictionOptions", "Predictor", "Subject", "SubjectArrays",
    "compare", "contribution", "evaluate", "load_bundle", "make_phantom", "parameter_maps", "predict", "score", "train",
]  # fmt: skip


def run_python(code: str, *words: str) -> str:
    """Standard output of a Python process of its own."""
    done = subprocess.run([sys.executable, *words, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def names_in_stub(room: str) -> dict[str, str]:
    """The names that a room's face exports, and the module from which each comes."""
    names = {}
    for node in ast.parse((PACKAGE / room / "__init__.pyi").read_text(encoding="utf-8")).body:
        assert isinstance(node, ast.ImportFrom)
        assert node.level == 1
        for alias in node.names:
            assert alias.asname == alias.name, f"{room}: {alias.name} is exported under another name"
            names[alias.name] = node.module or alias.name
    return names


@pytest.mark.parametrize("name", mrh_monai.__all__)
def test_every_public_name_resolves(name):
    assert getattr(mrh_monai, name) is not None


def test_promised_names_are_public_and_documented():
    assert set(PROMISED) <= set(mrh_monai.__all__)
    for name in set(PROMISED) - {"MRH_NET"}:
        assert getattr(mrh_monai, name).__doc__, name


def test_every_room_is_reached_from_the_package():
    assert set(ROOMS) <= set(mrh_monai.__all__)
    assert set(ROOMS) == {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"cli"}


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = mrh_monai.no_such_name


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_of_a_rooms_face_comes_from_its_module(room):
    face = importlib.import_module(f"mrh_monai.{room}")
    names = names_in_stub(room)
    assert sorted(names) == sorted(face.__all__)
    for name, module in names.items():
        assert getattr(face, name) is getattr(importlib.import_module(f"mrh_monai.{room}.{module}"), name), name


@pytest.mark.parametrize("room", ROOMS)
def test_no_module_has_the_name_of_something_that_its_room_exports(room):
    """Python would put the module in the place of the name, as soon as anything imports the module."""
    modules = {path.stem for path in (PACKAGE / room).glob("*.py")} | {path.parent.name for path in (PACKAGE / room).glob("*/__init__.py")}
    assert modules & set(names_in_stub(room)) == set()


def test_importing_the_package_loads_no_heavy_library():
    loaded = run_python(f"import sys, mrh_monai; mrh_monai.__all__; print([name for name in {HEAVY} if name in sys.modules])")
    assert loaded.strip() == "[]"


@pytest.mark.parametrize("words", [["--help"], ["predict", "--help"], ["datalist", "--help"], ["import-matlab", "--help"]])
def test_help_loads_no_heavy_library(words):
    code = (
        "import sys\nfrom mrh_monai.cli.app import main\n"
        f"sys.argv = ['mrh', *{words}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    help_text, _, loaded = run_python(code).strip().rpartition("\n")
    assert "Usage: mrh" in help_text
    assert loaded == "[]"


def test_a_name_loads_no_more_than_it_needs():
    """Subjects and protocols are listed by scripts that have no use for torch."""
    code = (
        "import sys, json, mrh_monai; mrh_monai.Subject, mrh_monai.MRH_NET, mrh_monai.OptionError; print(json.dumps(sorted(sys.modules)))"
    )
    loaded = json.loads(run_python(code))
    assert "mrh_monai.subjects.subject" in loaded
    assert {"torch", "monai"} & set(loaded) == set()


def test_types_and_stubs_are_packaged():
    assert (PACKAGE / "py.typed").is_file()
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]["mrh_monai"]
    assert {"py.typed", "**/*.pyi"} <= set(packaged)
