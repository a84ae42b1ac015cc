"""What MONAI's model zoo asks of each shipped bundle, from a working directory that is none of its."""

import json
import re
import shutil
import tomllib

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, create_workflow, load, run, verify_metadata, verify_net_in_out

from helpers.bundle_runs import SMALL, bundle_run
from helpers.paths import BUNDLE, ROOT
from helpers.random_weights import with_random_weights
from mrh_monai.bundle.template_rendering import SHIPPED
from mrh_monai.errors import DatalistError, root_cause
from mrh_monai.network.checkpoint import load_checkpoint
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.network.sidecar import read_sidecar
from mrh_monai.sharing.packing import pack
from mrh_monai.sharing.unpacking import unpack

SCHEMA = ROOT / "tests" / "data" / "bundle_metadata.schema.json"

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


def test_metadata_is_valid_under_the_schema(bundle):
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(SCHEMA))


def test_metadata_is_valid_under_the_zoos_own_schema(bundle, shared):
    schema = shared / "model_zoo" / "meta_schema_20240725.json"
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(schema))


@pytest.mark.parametrize("key", ["version", "monai_version", "network_data_format", "channels"])
def test_metadata_without_a_required_key_are_refused(tmp_path, key):
    metadata = json.loads((BUNDLE / "configs" / "metadata.json").read_text())
    del metadata[key]
    check_refused(metadata, tmp_path, f"'{key}' is a required property")


@pytest.mark.parametrize(
    ("path", "wrong", "sentence"),
    [
        (("version",), "0.2", "'0.2' does not match"),
        (("changelog",), {}, "non-empty"),
        (("required_packages_version", "nibabel"), ">=5", "'>=5' does not match"),
        (("network_data_format", "inputs", "image", "dtype"), "float64", "'float32' was expected"),
        (("network_data_format", "outputs", "pred", "num_channels"), 2, "1 was expected"),
        (("network_data_format", "inputs", "image", "spatial_shape"), [3, 3, 3], "is too long"),
        (("channels", 0, "name"), "", "'' does not match"),
        (("channels", 2, "direction"), [0.0, 1.0], "is too short"),
        (("channels", 2, "bvalue"), 2000, "'bvalue' was unexpected"),
    ],
)
def test_metadata_with_a_wrong_value_are_refused(tmp_path, path, wrong, sentence):
    metadata = json.loads((BUNDLE / "configs" / "metadata.json").read_text())
    place = metadata
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = wrong
    check_refused(metadata, tmp_path, sentence)


def check_refused(metadata, tmp_path, sentence):
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match=re.escape(sentence)):
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(SCHEMA))


def test_channels_of_the_metadata_agree_with_each_other(bundle):
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    image, names = metadata["network_data_format"]["inputs"]["image"], [channel["name"] for channel in metadata["channels"]]
    assert image["num_channels"] == len(names) == len(set(names))
    assert [image["channel_def"][str(index)].split(",")[0] for index in range(len(names))] == names


def test_metadata_of_a_packed_bundle_is_valid_too(bundle, tmp_path):
    pack(with_random_weights(bundle, tmp_path, parent=True), tmp_path / "sent.zip")
    received = unpack(tmp_path / "sent.zip", tmp_path / "received")
    metadata = str(received / "configs" / "metadata.json")
    verify_metadata(meta_file=metadata, filepath=str(SCHEMA))
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
        ("train.yaml", "train", {"pretrained": "none", "patches": 100, "validation_patches": 50, "residual_blocks": 1}),
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
    stain = read_sidecar(tmp_path / "out" / "model.pt").stain
    written = {path.name for path in (tmp_path / "stain").rglob("*.nii.gz")}
    assert written == {f"subject04_{stain}{bound}.nii.gz" for bound in ("", "_lower", "_upper")}  # one subject validates
