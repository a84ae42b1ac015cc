"""Networks whose every weight matters, and bundles that hold them, without training."""

import shutil
from pathlib import Path

import torch
from conftest import ROOT

from mrh_monai.checkpoint import Sidecar, save_checkpoint
from mrh_monai.network import MRHNet
from mrh_monai.protocol import MRH_NET
from mrh_monai.scaling import Scaling

TARGET_MAX = 250.0


def random_network(channels=67, features=64, blocks=1, dims=2, seed=0):
    """Biases are not 0, and blocks are not the identity."""
    torch.manual_seed(seed)
    network = MRHNet(channels, features, blocks, spatial_dims=dims, initialisation="he")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(-0.1, 0.1)
    return network.eval()


def sidecar_of(network, channels, axes=(0, 2), radius=1, stain="af"):
    count = len(channels)
    scaling = Scaling("robust", (0.5,) * count, (0.25,) * count, TARGET_MAX, (1.0,) * count, 99.0)
    return Sidecar(stain, "u", list(channels), len(network.blocks), network.conv1.out_channels, list(axes), radius, scaling)


def bundle_with_weights(folder: Path, name="mrh_af", blocks=1) -> Path:
    """A copy of a shipped bundle, and random weights in it."""
    bundle = Path(shutil.copytree(ROOT / "bundles" / name, folder / name, ignore=shutil.ignore_patterns("model.*")))
    network = random_network(blocks=blocks)
    save_checkpoint(bundle / "models" / "model.pt", network.state_dict(), sidecar_of(network, MRH_NET.names, stain=name[4:]))
    return bundle
