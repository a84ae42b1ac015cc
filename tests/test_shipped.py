"""What MONAI's model zoo asks of each shipped bundle."""

import json
import shutil

import pytest
from conftest import ROOT
from monai.bundle import ConfigParser, verify_metadata, verify_net_in_out
from monai.bundle.properties import InferProperties, TrainProperties
from monai.utils.enums import BundleProperty, BundlePropertyConfig
from test_bundle import SMALL, bundle_run, undo_hooks  # noqa: F401 (a fixture)

from mrh_monai.bundles import SHIPPED

pytestmark = pytest.mark.usefixtures("undo_hooks")


@pytest.fixture(params=[spec.folder for spec in SHIPPED])
def bundle(request):
    return ROOT / "bundles" / request.param


def test_metadata_is_valid_under_the_schema(bundle, shared):
    schema = shared / "model_zoo" / "meta_schema_20240725.json"
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(schema))


def test_metadata_has_what_the_model_zoo_asks_for(bundle):
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert metadata["version"] in metadata["changelog"]
    assert (bundle / "LICENSE").is_file()
    assert (bundle / "docs" / "README.md").is_file()
    assert not list(bundle.rglob("*.py"))


@pytest.mark.parametrize(("config", "properties"), [("train.yaml", TrainProperties), ("inference.yaml", InferProperties)])
def test_configs_have_the_ids_that_monai_asks_for(bundle, config, properties):
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / config)
    required = {values[BundlePropertyConfig.ID] for values in properties.values() if values[BundleProperty.REQUIRED]}
    assert {name for name in required if name not in parser} == set()


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
