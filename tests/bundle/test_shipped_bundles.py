"""What MONAI's model zoo asks of each shipped bundle, from a working directory that is none of its."""

import json
import re
import shutil
import tomllib

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, create_workflow, load, run, verify_metadata, verify_net_in_out

from helpers.bundle_runs import SMALL, bundle_run
from helpers.paths import ROOT
from helpers.random_weights import with_random_weights
from mrh_monai.bundle.template_rendering import SHIPPED
from mrh_monai.errors import DatalistError, root_cause
from mrh_monai.network.checkpoint import load_checkpoint
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.sharing.packing import pack
from mrh_monai.sharing.unpacking import unpack

pytestmark = pytest.mark.usefixtures("undo_hooks")

# Of the zoo's own cards, in their order.
SECTIONS = [
    "# Model Overview", "## Data", "## Training configuration", "### Input", "### Output", "## Performance", "## MONAI Bundle Commands",
    "# References", "# License",
]  # fmt: skip


@pytest.fixture(params=[spec.folder for spec in SHIPPED])
def bundle(request, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return ROOT / "bundles" / request.param


def test_metadata_is_valid_under_the_schema(bundle, shared):
    schema = shared / "model_zoo" / "meta_schema_20240725.json"
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(schema))


def test_metadata_of_a_packed_bundle_is_valid_too(bundle, shared, tmp_path):
    pack(with_random_weights(bundle, tmp_path, parent=True), tmp_path / "sent.zip")
    received = unpack(tmp_path / "sent.zip", tmp_path / "received")
    metadata = str(received / "configs" / "metadata.json")
    verify_metadata(meta_file=metadata, filepath=str(shared / "model_zoo" / "meta_schema_20240725.json"))
    config = str(received / "configs" / "inference.yaml")
    verify_net_in_out(net_id="network_def", meta_file=metadata, config_file=config, device="cpu", bundle_root=str(received))


def test_metadata_has_what_the_model_zoo_asks_for(bundle):
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert metadata["version"] in metadata["changelog"]
    assert (bundle / "LICENSE").is_file()
    assert (bundle / "docs" / "README.md").is_file()
    assert not list(bundle.rglob("*.py"))


def test_the_card_has_the_zoos_sections_in_their_order(bundle):
    headings = re.findall(r"^#+ .*$", (bundle / "docs" / "README.md").read_text(), flags=re.M)
    assert [heading for heading in headings if heading in SECTIONS] == SECTIONS


def test_metadata_names_every_package_that_is_needed(bundle):
    """All that the package itself depends on, in the versions that are tested; three have keys of their own."""
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    named = metadata["required_packages_version"] | {name: metadata[f"{name}_version"] for name in ("monai", "numpy")}
    named["torch"] = metadata["pytorch_version"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.match(r"[\w-]+", requirement)[0] for requirement in project["dependencies"]}
    assert set(named) == needed | {"mrh-monai"}
    tested = dict(line.lower().split("==") for line in (ROOT / "constraints.txt").read_text().split())
    assert {name: tested[name] for name in needed} == {name: named[name] for name in needed}


def test_workflows_have_all_properties_that_monai_asks_for(bundle, study, tmp_path):
    received = with_random_weights(bundle, tmp_path)
    options = {"datalist": str(study / "datalist.json"), "output_dir": str(tmp_path / "out"), "device": "cpu"}
    for config, kind, more in (
        ("train.yaml", "train", {"pretrained": "none", "patches": 100, "residual_blocks": 1}),
        ("inference.yaml", "infer", {}),
    ):
        workflow = ConfigWorkflow(config_file=str(received / "configs" / config), workflow_type=kind, logging_file=False, **options, **more)
        workflow.initialize()
        assert workflow.check_properties() == []
        assert workflow.get_workflow_type() == kind
        assert workflow.bundle_root == str(received)


def test_a_workflow_made_in_python_infers(bundle, study, tmp_path):
    received = with_random_weights(bundle, tmp_path)
    workflow = create_workflow(
        config_file=str(received / "configs" / "inference.yaml"),
        workflow_type="infer",
        logging_file=False,
        datalist=str(study / "datalist.json"),
        output_dir=str(tmp_path / "out"),
        report=False,
    )
    workflow.run()
    workflow.finalize()
    assert len(list((tmp_path / "out").rglob("*.nii.gz"))) == 1


@pytest.mark.parametrize("config", ["inference.yaml", "../configs/inference.yaml"])
def test_a_config_finds_its_bundle_from_beside_it(bundle, study, tmp_path, monkeypatch, config):
    received = with_random_weights(bundle, tmp_path)
    monkeypatch.chdir(received / "configs")
    run(config_file=config, logging_file=False, datalist=str(study / "datalist.json"), output_dir=str(tmp_path / "out"), report=False)
    assert len(list((tmp_path / "out").rglob("*.nii.gz"))) == 1


def test_what_cannot_begin_leaves_no_folder(bundle, tmp_path):
    received = with_random_weights(bundle, tmp_path)
    with pytest.raises(RuntimeError) as caught:
        bundle_run(received, "inference.yaml", datalist=str(tmp_path / "none.json"), output_dir=str(tmp_path / "out"))
    assert isinstance(root_cause(caught.value), DatalistError)
    assert not (tmp_path / "out").exists()


def test_monais_load_gives_the_weights(bundle, tmp_path):
    """A state dict, or a network that is given or, from JSON, the one that the config describes."""
    received = with_random_weights(bundle, tmp_path)
    state, sidecar = load_checkpoint(received / "models" / "model.pt")
    options = {"name": bundle.name, "bundle_dir": received.parent, "device": "cpu"}
    with pytest.warns(UserWarning, match="return state dict instead"):
        found = load(**options)
    assert all(torch.equal(found[key], state[key]) for key in state | found)
    networks = [load(**options, model=MRHNet(67, sidecar.features, sidecar.residual_blocks))]
    config = received / "configs" / "inference.yaml"
    ConfigParser.export_config_file(ConfigParser.load_config_file(config), str(config.with_suffix(".json")), fmt="json")
    networks.append(load(**options, workflow_type="inference"))
    for network in networks:
        assert all(torch.equal(network.state_dict()[key], state[key]) for key in state | network.state_dict())


@pytest.mark.parametrize("config", ["inference.yaml", "train.yaml"])
def test_network_takes_and_gives_what_metadata_says(bundle, config):
    options = {"output_dir": "unused", "datalist": "unused", "pretrained": "none"} if config == "train.yaml" else {}
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / config),
        device="cpu",
        bundle_root=str(bundle),
        **options,
    )


def test_a_bundle_zipped_alone_is_whole(bundle, study, tmp_path):
    """What comes out of the zip, with nothing beside it, trains on purpose from scratch and infers."""
    copy = shutil.copytree(bundle, tmp_path / "sent" / bundle.name, ignore=shutil.ignore_patterns("model.*"))
    shutil.make_archive(str(tmp_path / "bundle"), "zip", copy.parent, copy.name)
    shutil.unpack_archive(tmp_path / "bundle.zip", tmp_path / "received")
    received, data = tmp_path / "received" / bundle.name, {"datalist": str(study / "datalist.json")}
    few = {**SMALL, "patches": 100, "epochs": 1, "validation_patches": 50}
    bundle_run(received, "train.yaml", output_dir=str(tmp_path / "out"), pretrained="none", **data, **few)
    bundle_run(received, "inference.yaml", output_dir=str(tmp_path / "stain"), **data)
    assert len(list((tmp_path / "stain").rglob("*.nii.gz"))) == 1
