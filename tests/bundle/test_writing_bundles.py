"""A bundle for a stain of one's own: written, trained, and started from another bundle."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from helpers.bundle_runs import SMALL, bundle_run
from helpers.paths import ROOT
from helpers.subjects import write_nifti
from mrh_monai.bundle.writing_bundles import new_bundle
from mrh_monai.errors import CheckpointError, OptionError, OutputError, root_cause
from mrh_monai.network.checkpoint import load_checkpoint
from mrh_monai.protocol.mr_protocol import MRProtocol

pytestmark = pytest.mark.usefixtures("undo_hooks")

FEW = {**SMALL, "patches": 120, "epochs": 2, "validation_patches": 60}
TRANSFER = {key: value for key, value in FEW.items() if key != "residual_blocks"}


@pytest.fixture(scope="module")
def trained_af(study, tmp_path_factory):
    """A copy of the AF bundle, trained."""
    root = Path(
        shutil.copytree(ROOT / "bundles" / "mrh_af", tmp_path_factory.mktemp("af") / "mrh_af", ignore=shutil.ignore_patterns("model.*"))
    )
    bundle_run(root, "train.yaml", datalist=str(study / "datalist.json"), output_dir=str(root.parent / "out"), **FEW)
    return root


@pytest.fixture
def own(tmp_path, rng):
    """Three subjects of two images and a stain, a protocol, and a datalist."""
    (tmp_path / "protocol.yaml").write_text("channels: [{name: t1, minutes: 5}, {name: adc, b_value: 1000, direction: [1, 0, 0]}]")
    entries = []
    for index in range(3):
        folder = tmp_path / f"s{index}"
        image = rng.uniform(1, 2, (9, 5, 8, 2)).astype(np.float32)
        for name, voxels in (("t1", image[..., 0]), ("adc", image[..., 1]), ("nissl", image.sum(-1) * 40)):
            write_nifti(folder / f"{name}.nii.gz", voxels)
        write_nifti(folder / "mask.nii.gz", np.ones((9, 5, 8), np.uint8))
        files = {"image": [f"s{index}/t1.nii.gz", f"s{index}/adc.nii.gz"], "mask": f"s{index}/mask.nii.gz"}
        entries.append({"subject": f"s{index}", **files, "target": f"s{index}/nissl.nii.gz"})
    (tmp_path / "list.json").write_text(json.dumps({"training": entries[:1], "validation": entries[1:2], "test": entries[2:]}))
    return tmp_path


def test_a_new_bundle_trains_evaluates_and_infers_at_once(own):
    spec = new_bundle(own / "mrh_nissl", "nissl", own / "protocol.yaml", stain_name="Nissl stain", units="optical density")
    assert (spec.title, spec.parent, spec.protocol.names) == ("MRH-NISSL", None, ["t1", "adc"])
    options = {"datalist": str(own / "list.json"), "output_dir": str(own / "out")}
    bundle_run(own / "mrh_nissl", "train.yaml", **options, **{**FEW, "patches": 80})
    bundle_run(own / "mrh_nissl", "inference.yaml", "evaluate.yaml", **options)
    scores = json.loads((own / "out" / "scores.json").read_text())["s2"]
    assert scores["r2"] > 0.2
    assert nibabel.load(own / "out" / "s2" / "s2_nissl.nii.gz").shape == (9, 5, 8)
    metadata = json.loads((own / "mrh_nissl" / "configs" / "metadata.json").read_text())
    assert metadata["network_data_format"]["inputs"]["image"]["channel_def"] == {"0": "t1", "1": "adc, b = 1000 s/mm^2"}
    assert metadata["channels"][0] == {"name": "t1", "minutes": 5}


def test_a_new_bundle_starts_from_another_of_other_channels_if_told_to(own, trained_af):
    new_bundle(own / "deep" / "mrh_t1", "t1stain", own / "protocol.yaml", pretrained=trained_af)
    config = yaml.safe_load((own / "deep" / "mrh_t1" / "configs" / "train.yaml").read_text())
    assert config["pretrained"].endswith("/mrh_af'")
    options = {"datalist": str(own / "list.json"), "output_dir": str(own / "out"), **TRANSFER, "patches": 80}
    with pytest.raises(RuntimeError) as caught:
        bundle_run(own / "deep" / "mrh_t1", "train.yaml", **options)
    cause = root_cause(caught.value)
    assert isinstance(cause, CheckpointError)
    assert "found 2 that only this bundle has: t1, adc; 67 that only the parent has" in str(cause)
    bundle_run(own / "deep" / "mrh_t1", "train.yaml", new_channels=True, **options)
    _, sidecar = load_checkpoint(own / "deep" / "mrh_t1" / "models" / "model.pt")
    assert (sidecar.parent["new_channels"], len(sidecar.parent["dropped_channels"])) == (["t1", "adc"], 67)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"stain": "a b"}, OptionError, "stain: expected a short name"),
        ({"stain": "../x"}, OptionError, "stain: expected a short name"),
        ({"units": "a: b\n$x"}, OptionError, "--units: expected a few plain words"),
        ({"channels": "absent.yaml"}, OptionError, "absent.yaml: expected a YAML file with a list `channels`"),
        ({"pretrained": "absent"}, OptionError, "absent: expected a bundle folder to start from, found no such folder"),
        ({"pretrained": ROOT / "pyproject.toml"}, OptionError, "pyproject.toml: expected a bundle folder to start from, found a file"),
    ],
)
def test_wrong_words_for_a_new_bundle_leave_nothing(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        new_bundle(tmp_path / "new", **{"stain": "x", **options})
    assert not (tmp_path / "new").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(OutputError, match="expected a new folder, found a file or a folder that is not empty"):
        new_bundle(tmp_path / "full", "x")


NO_PROTOCOLS = ("", "[]", "channels: []", "channels: [a]", "channels: [{nam: a}]", "channels: [{name: 3}]", "a: [")


@pytest.mark.parametrize("text", [*NO_PROTOCOLS, "channels: [{name: a}, {name: a}]"])
def test_wrong_protocols_are_one_sentence(tmp_path, text):
    (tmp_path / "protocol.yaml").write_text(text)
    with pytest.raises(OptionError, match=r"protocol\.yaml(, (protocol|channel 3, name))?: expected"):
        MRProtocol.from_yaml(tmp_path / "protocol.yaml")


@pytest.mark.parametrize("stain", ["null", "yes", "123", "1e5"])
def test_words_that_yaml_takes_for_something_else_stay_words(tmp_path, stain):
    new_bundle(tmp_path / "new", stain, units="-")
    config = yaml.safe_load((tmp_path / "new" / "configs" / "train.yaml").read_text())
    assert (config["stain"], config["units"]) == (stain, "-")


def test_a_new_bundle_declares_the_version_that_its_parent_has(tmp_path):
    parent = Path(shutil.copytree(ROOT / "bundles" / "mrh_af", tmp_path / "mine" / "mrh_af", ignore=shutil.ignore_patterns("model.*")))
    metadata = json.loads((parent / "configs" / "metadata.json").read_text())
    (parent / "configs" / "metadata.json").write_text(json.dumps({**metadata, "version": "2.3"}))
    new_bundle(tmp_path / "new", "x", pretrained=parent)
    declared = json.loads((tmp_path / "new" / "configs" / "metadata.json").read_text())["pretrained"]
    assert declared == {"name": "mrh_af", "version": ">=2.3,<2.4"}
    assert "starts from `mrh_af` at `../mine/mrh_af`" in (tmp_path / "new" / "docs" / "README.md").read_text()
    (parent / "configs" / "metadata.json").write_text(json.dumps({**metadata, "version": "newest"}))
    with pytest.raises(OptionError, match=r"metadata\.json: expected bundle metadata with a version such as 0\.2\.0"):
        new_bundle(tmp_path / "other", "x", pretrained=parent)
    odd = Path(shutil.copytree(ROOT / "bundles" / "mrh_af", tmp_path / "it's" / "mrh_af", ignore=shutil.ignore_patterns("model.*")))
    with pytest.raises(OptionError, match="pretrained: expected a path of letters"):
        new_bundle(tmp_path / "other", "x", pretrained=odd)
