"""Configs of bundles name only what is promised for ever: public names of rooms, and of modules beside the rooms."""

import importlib
import inspect
import re
from types import ModuleType

import pytest

import mrh_monai
from helpers.paths import ROOT

CONFIGS = sorted((ROOT / "mrh_monai" / "bundle" / "template" / "configs").glob("*.yaml"))
RELEASED = sorted((ROOT / "mrh_monai" / "sharing" / "templates").glob("*.json"))  # the configs of every release
NAME = re.compile(r"\bmrh_monai((?:\.\w+)+)")


def promised():
    names = {words for path in (*CONFIGS, *RELEASED) for words in NAME.findall(re.sub(r"#.*", "", path.read_text(encoding="utf-8")))}
    return sorted(names)


def test_configs_name_something():
    assert len(promised()) > 30


@pytest.mark.parametrize("words", promised())
def test_a_config_names_a_room_and_a_public_name(words):
    room, name, *attributes = words.strip(".").split(".")
    module = importlib.import_module(f"mrh_monai.{room}")
    found = getattr(module, name)
    assert name in getattr(module, "__all__", vars(module)), f"{words} is not public"
    assert not name.startswith("_")
    assert not isinstance(found, ModuleType), f"{words} names a module inside a room, which may move"
    if attributes:
        assert inspect.isclass(found), f"{words} reaches into {name}, which is not a class"
        assert len(attributes) == 1
        assert not attributes[0].startswith("_")
        assert callable(getattr(found, attributes[0]))


def test_a_module_inside_a_room_has_no_name_of_its_face():
    """Otherwise `mrh_monai.room.name` would be the module or the name, depending on what was imported before."""
    for room in (path for path in (ROOT / "mrh_monai").iterdir() if (path / "__init__.pyi").is_file()):
        face = importlib.import_module(f"mrh_monai.{room.name}").__all__
        assert not {path.stem for path in room.glob("*.py")} & set(face), room.name


def test_configs_are_bound_to_the_package_alone():
    for path in CONFIGS:
        imports = re.findall(r"^\s*- \$((?:import|from) .*)$", path.read_text(), flags=re.M)
        assert set(imports) <= {"import torch", "import mrh_monai", "from monai.networks import trt_compile"}
    assert mrh_monai.__version__
