"""Networks of random weights, every one of which matters, and bundles that hold them as trained ones, without training."""

import shutil
from pathlib import Path

import torch

from mrh_monai.network.calibration import Calibration, HeldSubject
from mrh_monai.network.checkpoint import save_checkpoint
from mrh_monai.network.interval_head import IntervalHead
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.network.sidecar import Sidecar
from mrh_monai.protocol.mr_protocol import MRProtocol
from mrh_monai.scaling import RobustScaling

TARGET_MAX = 250.0
PARENT = {"name": "mrh_af", "stain": "af", "sha256": "0" * 64, "copied": ["conv1.weight"], "frozen": []}
SOURCE = {
    "recipe": "fast", "seed": 4, "epochs": 3, "batch_size": 32, "learning_rate": 0.002, "patches": 400,
    "subjects": ["subject01", "subject02"], "patches_per_subject": [150, 250], "validation_patches": 100,
    "validation_subjects": ["subject03"], "data": "1" * 64,
    "versions": {"mrh-monai": "0.1.0"}, "epoch": 2, "val_rmse": 12.5, "val_r2": 0.875,
}  # fmt: skip


def random_network(channels=67, features=8, blocks=1, dims=2, seed=0):
    """Biases are not 0, blocks are not the identity, and most predictions are above 0."""
    torch.manual_seed(seed)
    network = MRHNet(channels, features, blocks, spatial_dims=dims, initialisation="he")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(-0.1, 0.1)
        network.conv5.bias.fill_(0.5)
    return network.eval()


def random_head(features=8, positions=9, seed=0):
    """Expected errors differ from voxel to voxel, and lie within their limits."""
    torch.manual_seed(seed)
    head = IntervalHead(positions, features)
    head.mean.uniform_(0, 0.2)
    head.deviation.uniform_(0.5, 1)
    head.median_error.fill_(0.02)
    return head.eval()


def calibration_of(*multipliers):
    """Held-out subjects whose intervals need these multipliers to hold 90%."""
    errors = torch.linspace(0, 1 / 0.9, 1001).double().numpy()
    return Calibration(tuple(HeldSubject.measured(f"held{n}", errors * m, errors * 0 + 1) for n, m in enumerate(multipliers)))


def sidecar_of(network, channels, axes=(0, 2), radius=1, stain="af", scaling=None, **more):
    count = len(channels)
    scaling = scaling or RobustScaling(TARGET_MAX, (0.2,) * count, (0.5,) * count, (1.0,) * count, 99.0)
    shape = len(network.blocks), network.conv1.out_channels, list(axes), radius
    return Sidecar(stain, f"8-bit {stain}", list(channels), *shape, scaling, **more)


def save_random_weights(bundle: Path, seed=0, residual_blocks=1, features=8, scaling=None, parent=False, multipliers=None):
    """Put a small network into a bundle, with an interval head where held-out subjects have multipliers."""
    channels = MRProtocol.from_metadata(bundle / "configs" / "metadata.json").names
    network = random_network(len(channels), features, residual_blocks, seed=seed)
    more = {"stain": bundle.name.removeprefix("mrh_"), "scaling": scaling, "parent": PARENT if parent else None, "source": SOURCE}
    head = None if multipliers is None else random_head(features)  # () for a head that no subject has measured
    more |= {} if multipliers is None else {"intervals": calibration_of(*multipliers)}
    save_checkpoint(bundle / "models" / "model.pt", network.state_dict(), sidecar_of(network, channels, **more), head)


def with_random_weights(bundle: Path, folder: Path, seed=0, residual_blocks=1, parent=False, **more) -> Path:
    """A copy of a bundle under ``folder``, with a small network in it."""
    root = Path(shutil.copytree(bundle, folder / bundle.name, ignore=shutil.ignore_patterns("model.*")))
    save_random_weights(root, seed, residual_blocks, parent=parent, **more)
    return root
