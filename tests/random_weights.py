"""Bundles with weights that nobody trained, saved as trained ones are."""

import shutil
from pathlib import Path

import torch

from mrh_monai.checkpoint import Sidecar, save_checkpoint
from mrh_monai.network import MRHNet
from mrh_monai.protocol import Protocol
from mrh_monai.scaling import Scaling

PARENT = {"name": "mrh_af", "stain": "af", "sha256": "0" * 64, "copied": ["conv1.weight"], "frozen": []}
SOURCE = {
    "recipe": "fast", "seed": 4, "epochs": 3, "batch_size": 32, "learning_rate": 0.002, "patches": 400,
    "subjects": ["subject01", "subject02"], "patches_per_subject": [150, 250], "validation_patches": 100,
    "validation_subjects": ["subject03"], "data": "1" * 64,
    "versions": {"mrh-monai": "0.1.0"}, "epoch": 2, "val_rmse": 12.5, "val_r2": 0.875,
}  # fmt: skip


def with_random_weights(bundle: Path, folder: Path, seed: int = 0, residual_blocks: int = 1, parent: bool = False) -> Path:
    """A copy of a bundle under ``folder``, with a small network of He's initialisation."""
    root = folder / bundle.name
    shutil.copytree(bundle, root, ignore=shutil.ignore_patterns("model.*"))
    stain = bundle.name.removeprefix("mrh_")
    channels = Protocol.from_metadata(root / "configs" / "metadata.json").names
    torch.manual_seed(seed)
    network = MRHNet(len(channels), 8, residual_blocks, initialisation="he")
    torch.nn.init.constant_(network.conv5.bias, 0.5)  # predictions of either sign would hide what is cut off at 0
    scaling = Scaling("robust", *((value,) * len(channels) for value in (0.2, 0.1)), 250.0, (1.0,) * len(channels))
    lineage = PARENT if parent else None
    units = f"8-bit {stain}"
    sidecar = Sidecar(stain, units, channels, residual_blocks, 8, [0, 2], 1, scaling, parent=lineage, source=SOURCE)
    save_checkpoint(root / "models" / "model.pt", network.state_dict(), sidecar)
    return root
