"""A trained parent, and the folder of a bundle that declares it."""

import json

import pytest
import torch

from helpers.parents import SIDECAR
from mrh_monai.network.checkpoint import save_checkpoint
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.training.parent import load_parent


@pytest.fixture
def parent_bundle(tmp_path):
    """A bundle folder with trained weights and a version."""
    root = tmp_path / "mrh_af"
    torch.manual_seed(1)
    save_checkpoint(root / "models" / "model.pt", MRHNet(4, 5, 2, initialisation="he").state_dict(), SIDECAR)
    (root / "configs").mkdir()
    (root / "configs" / "metadata.json").write_text(json.dumps({"version": "0.1.3"}))
    return root


@pytest.fixture
def child(tmp_path):
    """The folder of a bundle that declares its parent."""
    root = tmp_path / "mrh_nf"
    (root / "configs").mkdir(parents=True)
    declared = {"pretrained": {"name": "mrh_af", "version": ">=0.1,<0.2"}}
    (root / "configs" / "metadata.json").write_text(json.dumps(declared))
    return root


@pytest.fixture
def parent(parent_bundle, child):
    return load_parent(parent_bundle, child)
