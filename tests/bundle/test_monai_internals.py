"""MONAI still works inside as `monai_internals.py` expects. If one of these tests fails after an update, only that file has to change."""

import json
import subprocess
import sys

import pytest
import torch
from monai.bundle import ConfigWorkflow

from mrh_monai.bundle.monai_internals import running_config, running_config_folder

CHANGED = (
    "MONAI has changed: {0}. The bundles find their own folder and refuse unknown options by it. Read how MONAI's `ConfigWorkflow`, "
    "`ConfigParser` and `ckpt_export` work now, and correct mrh_monai/bundle/monai_internals.py."
)
CONFIG = {
    "imports": ["$import mrh_monai.bundle.monai_internals as internals"],
    "found": "$(internals.running_config(), internals.running_config_folder())",
    "run": ["@found"],
}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "mrh_x" / "configs" / "inference.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(CONFIG))
    (path.parent / "metadata.json").write_text("{}")
    return path


def test_an_expression_finds_the_config_that_it_stands_in(config):
    workflow = ConfigWorkflow(config_file=str(config), workflow_type="infer", logging_file=False, typed=5)
    workflow.initialize()
    try:
        ((whole, folder),) = workflow.run()
    except RuntimeError as error:
        pytest.fail(CHANGED.format(f"an expression no longer finds the parser that evaluates it ({error.__cause__ or error})"))
    assert whole.get("typed") == 5, CHANGED.format("the config that is being run does not show what was typed")
    assert folder == config.parent, CHANGED.format("a workflow does not tell the folder of its config file")


def test_commands_without_a_workflow_know_their_config_file(config, tmp_path):
    """`ckpt_export` stops at the network that this config lacks, but first it evaluates what the network's id refers to."""
    content = {**CONFIG, "network_def": "$print('FOLDER', internals.running_config_folder())"}
    config.write_text(json.dumps(content))
    torch.save({}, tmp_path / "none.pt")
    command = ["ckpt_export", "--bundle_root", str(config.parents[1]), "--net_id", "network_def", "--config_file", str(config)]
    command += ["--ckpt_file", str(tmp_path / "none.pt"), "--meta_file", str(config.parent / "metadata.json"), "--filepath", "x.ts"]
    done = subprocess.run([sys.executable, "-m", "monai.bundle", *command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"FOLDER {config.parent}" in done.stdout, CHANGED.format(f"ckpt_export keeps its config file elsewhere ({done.stderr[-300:]})")


def test_outside_of_a_config_nothing_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert running_config_folder() == tmp_path / "configs"
    with pytest.raises(RuntimeError, match="no config of a bundle is being evaluated"):
        running_config()


def test_nothing_else_reads_the_inside_of_monai():
    from helpers.paths import ROOT

    inside = ("_getframe", "config_root_path", "config_file_", "f_locals", "f_back")
    files = [path for folder in ("mrh_monai", "apps") for path in (ROOT / folder).rglob("*.py") if path.name != "monai_internals.py"]
    assert [(path.name, word) for path in files for word in inside if word in path.read_text()] == []
