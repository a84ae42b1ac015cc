"""Weights with their sidecar on disk."""

import pytest

from mrh_monai.network import MRHNet, Sidecar, save_checkpoint
from mrh_monai.scaling import RobustScaling


@pytest.fixture
def saved(tmp_path):
    """Path of the weights, the network, and the sidecar as written."""
    network = MRHNet(3, 4, 2)
    scaling = RobustScaling(255.0, (0.0,) * 3, (1.0,) * 3, (1.0,) * 3, 99.0)
    sidecar = Sidecar("af", "units", ["a", "b", "c"], 2, 4, [0, 2], 1, scaling, source={"seed": 1})
    return tmp_path / "model.pt", network, save_checkpoint(tmp_path / "model.pt", network.state_dict(), sidecar)
