"""Configs of every release stay this project's own; lines of two releases together do not."""

import copy
import json
from dataclasses import replace

import pytest
import yaml

from helpers.paths import ROOT
from mrh_monai import __version__
from mrh_monai.bundle.template_rendering import SHIPPED, render
from mrh_monai.sharing import template_history
from mrh_monai.sharing.template_history import FOLDER, VersionTemplate, compare_with_releases, current_template, write_current_template

pytestmark = pytest.mark.sharing

OLDER = {"train": "$@recorder.begin(@train::trainer)", "inference": "$@evaluator.begin()"}


def test_the_stored_template_of_this_version_is_the_template(tmp_path):
    path = write_current_template(tmp_path)
    stored = FOLDER / f"{__version__}.json"
    assert stored.read_text() == path.read_text(), "type `make bundles`, which writes the stored template of this version again"


def test_every_release_is_stored():
    versions = [template.version for template in template_history.version_templates()]
    assert versions[0] == __version__
    assert versions[-1] == "0.2.0"
    assert len(set(versions)) == len(versions)


def test_templates_are_plain_values():
    for path in FOLDER.glob("*.json"):
        content = json.loads(path.read_text())
        assert set(content) == {"configs", "logging"}
        assert {"train", "inference", "evaluate"} <= set(content["configs"])


@pytest.fixture
def older(monkeypatch):
    """A made-up older release, 0.1.9, whose last lines differ from those of this one; and the files of a bundle of either."""
    now = current_template()
    configs = copy.deepcopy(dict(now.configs))
    configs["train"]["run"] = [OLDER["train"]]
    configs["inference"]["run"][2] = OLDER["inference"]
    templates = (now, VersionTemplate("0.1.9", configs, now.logging))
    monkeypatch.setattr(template_history, "version_templates", lambda: templates)
    return {template.version: files_of(template) for template in templates}


def files_of(template):
    return {f"configs/{name}.yaml": yaml.safe_dump(config).encode() for name, config in template.configs.items()}


def test_bundles_of_an_older_release_are_still_ours(older):
    assert compare_with_releases(older["0.1.9"]) == ("0.1.9", [], [])
    assert compare_with_releases(older[__version__]) == (__version__, [], [])
    shipped = render(SHIPPED[0])
    assert compare_with_releases(shipped) == (__version__, [], [])


def test_a_mix_of_two_releases_is_not_ours(older):
    train, inference = "configs/train.yaml", "configs/inference.yaml"
    now, before = older[__version__], older["0.1.9"]
    assert compare_with_releases({train: before[train]}).foreign == []
    assert compare_with_releases({inference: now[inference]}).foreign == []
    mixed = compare_with_releases({**now, train: before[train]})
    assert (mixed.version, [(code.file, code.text) for code in mixed.foreign]) == (__version__, [(train, OLDER["train"])])
    lines = yaml.safe_load(now[inference])
    lines["initialize"].append(OLDER["inference"])
    within = compare_with_releases({inference: yaml.safe_dump(lines).encode()})
    assert [code.text for code in within.foreign] == [OLDER["inference"]]


def test_differences_are_those_from_the_nearest_release(older):
    changed = yaml.safe_load(older["0.1.9"]["configs/train.yaml"])
    changed["run"].append("$evil")
    found = compare_with_releases({**older["0.1.9"], "configs/train.yaml": yaml.safe_dump(changed).encode()})
    assert (found.version, [code.text for code in found.foreign]) == ("0.1.9", ["$evil"])


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (("seed",), 7, "configs/train.yaml, seed: 7 (in the release: 0)"),
        (("recipes", "fast", "loss"), None, 'recipes::fast::loss: removed (in the release: "$torch.nn.L1Loss()")'),
        (("recipes", "fast", "mirror"), "false", 'recipes::fast::mirror: "false" (in the release: false)'),
        (("initialize", 0), None, "configs/train.yaml, initialize::"),
    ],
)
def test_changed_and_removed_values_are_listed_and_stay_ours(place, value, text):
    files = render(SHIPPED[1])
    config = yaml.safe_load(files["configs/train.yaml"])
    inner = config
    for key in place[:-1]:
        inner = inner[key]
    if value is None:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    found = compare_with_releases({**files, "configs/train.yaml": yaml.safe_dump(config).encode()})
    assert text in "\n".join(map(str, found.changed))
    assert place[0] == "initialize" or (found.foreign, len(found.changed)) == ([], 1)


def test_the_logging_of_an_older_release_goes_with_its_configs_only(older, monkeypatch):
    now, before = template_history.version_templates()
    monkeypatch.setattr(template_history, "version_templates", lambda: (now, replace(before, logging="[loggers]\nkeys=old")))
    old_logging = {"configs/logging.conf": b"[loggers]\nkeys=old\n"}
    assert compare_with_releases({**older["0.1.9"], **old_logging}) == ("0.1.9", [], [])
    assert [code.kind for code in compare_with_releases({**older[__version__], **old_logging}).foreign] == ["logging"]


def test_templates_are_in_the_wheel():
    assert '"sharing/templates/*.json"' in (ROOT / "pyproject.toml").read_text()
