"""The network from which others start in tests: four channels, two residual blocks, five features."""

from mrh_monai.network.sidecar import Sidecar
from mrh_monai.scaling import RobustScaling

NAMES = ["a", "b", "c", "d"]
SIDECAR = Sidecar("af", "u", NAMES, 2, 5, [0, 2], 1, RobustScaling(255.0, (0.0,) * 4, (1.0,) * 4, (1.0,) * 4, 99.0))
