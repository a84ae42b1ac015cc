"""Bundles from one template: the shipped ones, their chain from AF, and a new one."""

import json
import shutil
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
import yaml

from helpers.bundle_runs import SMALL, bundle_run
from helpers.paths import ROOT
from mrh_monai.bundle.template_rendering import SHIPPED, render
from mrh_monai.errors import root_cause
from mrh_monai.inference.predictor import PredictionOptions, predict
from mrh_monai.network.checkpoint import load_checkpoint
from mrh_monai.protocol.mr_protocol import MRProtocol
from mrh_monai.protocol.mrh_net import MRH_NET

pytestmark = pytest.mark.usefixtures("undo_hooks")

FEW = {**SMALL, "patches": 120, "epochs": 2, "validation_patches": 60}
TRANSFER = {key: value for key, value in FEW.items() if key != "residual_blocks"}


@pytest.mark.parametrize("spec", SHIPPED, ids=lambda spec: spec.folder)
def test_shipped_bundles_are_what_the_generator_writes(spec):
    root = ROOT / "bundles" / spec.folder
    found = {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file() and "models" not in path.parts
    }
    assert found == render(spec)


@pytest.mark.parametrize("spec", SHIPPED, ids=lambda spec: spec.folder)
def test_shipped_bundles_declare_their_parent(spec):
    root = ROOT / "bundles" / spec.folder
    metadata = json.loads((root / "configs" / "metadata.json").read_text())
    config = yaml.safe_load((root / "configs" / "train.yaml").read_text())
    assert MRProtocol.from_metadata(root / "configs" / "metadata.json") == MRH_NET
    assert config["stain"] == spec.stain
    if spec.folder == "mrh_af":
        assert ("pretrained" in metadata, config["pretrained"]) == (False, "none")
    else:
        assert metadata["pretrained"] == {"name": "mrh_af", "version": ">=0.2,<0.3"}
        assert config["pretrained"] == "$@bundle_root + '/../mrh_af'"
    assert not any("<<" in content.decode() for content in render(spec).values())


@pytest.fixture(scope="module")
def chain(study, tmp_path_factory):
    """Copies of the AF and NF bundles side by side, AF trained."""
    root = tmp_path_factory.mktemp("chain")
    for name in ("mrh_af", "mrh_nf"):
        shutil.copytree(ROOT / "bundles" / name, root / name, ignore=shutil.ignore_patterns("model.*"))
    bundle_run(root / "mrh_af", "train.yaml", datalist=str(study / "datalist.json"), output_dir=str(root / "af"), **FEW)
    return root


def nf(chain, study, out, **options):
    options = {"datalist": str(study / "datalist.json"), "output_dir": str(out), **TRANSFER, **options}
    bundle_run(chain / "mrh_nf", "train.yaml", **options)
    return load_checkpoint(chain / "mrh_nf" / "models" / "model.pt")


@pytest.mark.filterwarnings("ignore:.*patches were asked for")
@pytest.mark.parametrize(("recipe", "trained"), [("fast", 8), ("paper", 6), ("released", 12)])
def test_nf_starts_from_the_af_beside_it(chain, study, tmp_path, recipe, trained):
    parent, af = load_checkpoint(chain / "mrh_af" / "models" / "model.pt")
    state, sidecar = nf(chain, study, tmp_path, recipe=recipe)
    assert (sidecar.stain, sidecar.residual_blocks, sidecar.parent["name"]) == ("nf", af.residual_blocks, "mrh_af")
    assert sidecar.parent["sha256"] == af.sha256
    assert sidecar.scaling.channel_mean == af.scaling.channel_mean
    same = {key for key in state if torch.equal(state[key], parent[key])}
    assert set(sidecar.parent["frozen"]) <= same  # bit for bit after training
    if recipe != "paper":  # whose rate is so low that a step may leave a tensor as it was
        assert len(state) - len(same) == trained
    assert len(sidecar.parent["frozen"]) == len(state) - trained
    assert sidecar.parent["replaced"] == (["conv4.weight", "conv4.bias", "conv5.weight", "conv5.bias"] if recipe == "released" else [])
    bundle_run(chain / "mrh_nf", "inference.yaml", datalist=str(study / "datalist.json"), output_dir=str(tmp_path / "stain"))
    written = nibabel.load(tmp_path / "stain" / "subject04" / "subject04_nf.nii.gz").get_fdata(dtype=np.float32)
    np.testing.assert_array_equal(written, predict(chain / "mrh_nf", study / "subject04", options=PredictionOptions("cpu")).stain)


def test_from_scratch_on_purpose(chain, study, tmp_path):
    _, sidecar = nf(chain, study, tmp_path, pretrained="none", residual_blocks=1)
    assert sidecar.parent is None


def test_a_resumed_transfer_ends_with_the_same_model(chain, study, tmp_path):
    whole, _ = nf(chain, study, tmp_path / "whole", epochs=3)
    # The schedule depends on the epochs in all, so the run is stopped from within.
    from mrh_monai.training.recorder import RunRecorder

    plain = RunRecorder._epoch_completed

    def stop(self, trainer):
        plain(self, trainer)
        if trainer.state.epoch == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunRecorder, "_epoch_completed", stop)
        with pytest.raises((KeyboardInterrupt, RuntimeError)):
            nf(chain, study, tmp_path / "parts", epochs=3)
    resumed, _ = nf(chain, study, tmp_path / "parts", epochs=3, resume=True)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_wrong_parents_have_one_cause(chain, study, tmp_path):
    damaged = tmp_path / "mrh_af.zip"
    with zipfile.ZipFile(damaged, "w") as archive:
        archive.write(chain / "mrh_af" / "models" / "model.pt", "mrh_af/models/model.pt")
    empty = Path(shutil.copytree(ROOT / "bundles" / "mrh_af", tmp_path / "untrained", ignore=shutil.ignore_patterns("model.*")))
    for options, message in (
        ({"pretrained": str(damaged)}, "expected a zip with models/model.json, found a zip without it"),
        ({"pretrained": str(empty)}, "expected the parent's trained weights, found a bundle without weights"),
        ({"pretrained": str(chain / "mrh_nf")}, "expected another bundle as parent, found the bundle itself"),
        ({"residual_blocks": 4}, "expected 4 residual blocks as this network has, found 1"),
        ({"scaling": "published"}, "scaling: expected robust as the parent"),
        ({"batch_size": 5000}, "batch_size: expected at most the 120 patches that there are, found 5000"),
    ):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "checkpoint.pt").write_bytes(b"of an earlier run, to go on from")
        with pytest.raises(Exception) as caught:  # noqa: PT011  (MONAI wraps it in whatever it likes)
            nf(chain, study, tmp_path / "out", overwrite=True, **options)
        assert message in str(root_cause(caught.value))
        assert (tmp_path / "out" / "checkpoint.pt").read_bytes() == b"of an earlier run, to go on from"


def test_fewer_patches_than_the_recipes_batch_are_no_error(chain, study, tmp_path):
    options = {key: value for key, value in TRANSFER.items() if key != "batch_size"}
    datalist = {"datalist": str(study / "datalist.json"), "output_dir": str(tmp_path)}
    bundle_run(chain / "mrh_nf", "train.yaml", **{**options, **datalist, "patches": 50})
    _, sidecar = load_checkpoint(chain / "mrh_nf" / "models" / "model.pt")
    assert sidecar.source["patches"] == 50
