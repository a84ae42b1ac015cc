"""Diffusion signals of the published gradient table, and the maps that fit them."""

import numpy as np

from mrh_monai.maps.gradient_table import GradientTable
from mrh_monai.maps.map_families import MeanKurtosis, TensorMaps
from mrh_monai.maps.map_plan import MapPlan
from mrh_monai.protocol.mrh_net import SHELL_2000, SHELL_5000


def two_shells(b0: float = 0.0) -> GradientTable:
    """The published table, whose unweighted volumes have another b-value."""
    rows = np.array(SHELL_2000 + SHELL_5000)
    b_values = np.where(rows[:, 0] < 100, b0, rows[:, 0])
    return GradientTable(b_values, rows[:, 1:], np.repeat([0, 1], 32), "t")


def plan_of(table: GradientTable) -> MapPlan:
    """A tensor of each shell and the kurtosis, of volumes that are the channels in their order."""
    channels = tuple(range(len(table)))
    tensors = [TensorMaps(shell, table, table.fitted_with(members), channels) for shell, members in table.shells.items()]
    return MapPlan((*tensors, MeanKurtosis(table, channels)), table, channels)


def noisy_signals(rng: np.random.Generator, voxels: int = 50) -> tuple[GradientTable, np.ndarray]:
    """The table and signals (N, 64) int16 of voxels that hold one turned tensor, with the noise of a scan."""
    table = two_shells(43.5)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    tensor = turn @ np.diag([1.7e-3, 0.4e-3, 0.2e-3]) @ turn.T
    weights = np.einsum("ni,ij,nj->n", table.directions, tensor, table.directions)
    clean = rng.uniform(2000, 8000, (voxels, 1)) * np.exp(-table.b_values * weights * rng.uniform(0.3, 1, (voxels, 1)))
    return table, np.rint(np.maximum(clean + rng.normal(0, 30, clean.shape), 1)).astype(np.int16)
