"""The MR parameter maps. To add one, write a class here and make it in `plan_maps`.

Sources: Basser et al., Biophys J 1994;66:259 (tensor); Jensen et al., Magn Reson Med 2005;53:1432, and Tabesh et al., Magn Reson Med
2011;65:823 (kurtosis).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mrh_monai.maps.gradient_table import GradientTable
from mrh_monai.optional_imports import import_optional
from mrh_monai.protocol import UNWEIGHTED_BELOW

TENSOR_UNKNOWNS, KURTOSIS_UNKNOWNS = 7, 22  # elements of the tensors and the unweighted signal
MILLI = 1e3  # mm^2/s to 1e-3 mm^2/s, which is um^2/ms
LARGEST_KURTOSIS = 10


class MapFamily(Protocol):
    """Maps that are computed together.

    Attributes:
        names: Names of the maps, as in file names.
    """

    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102

    def compute(self, signals: np.ndarray, floor: float) -> dict[str, np.ndarray]:
        """Compute the maps of some voxels.

        Args:
            signals: (N, C) raw intensities.
            floor: Smallest positive signal of the diffusion volumes. Noise leaves some integers at 0, whose logarithm would outweigh all
                others; the floor takes their place.

        Returns:
            (N,) values of each map.
        """
        ...


@dataclass(frozen=True)
class T2Weighted:
    """The T2-weighted intensity itself, ``t2w``.

    Attributes:
        channel: The T2-weighted image.
    """

    channel: int
    names: tuple[str, ...] = ("t2w",)

    def compute(self, signals: np.ndarray, floor: float) -> dict[str, np.ndarray]:
        """Return the intensities."""
        return {"t2w": signals[:, self.channel]}


@dataclass(frozen=True)
class TransferRatio:
    """The magnetization transfer ratio ``mtr``, (off - on) / off, from -1 to 1.

    Attributes:
        on: The image with magnetization transfer.
        off: The image without magnetization transfer.
    """

    on: int
    off: int
    names: tuple[str, ...] = ("mtr",)

    def compute(self, signals: np.ndarray, floor: float) -> dict[str, np.ndarray]:
        """Return the ratio; 0 where there is no signal."""
        on, off = (signals[:, channel].astype(np.float64) for channel in (self.on, self.off))
        return {"mtr": np.divide(off - on, off, out=np.zeros_like(off), where=off > 0).clip(-1, 1)}


@dataclass(frozen=True)
class TensorMaps:
    """Maps of the diffusion tensor of one shell, fitted to the logarithms by least squares.

    ``fa`` from 0 to 1, and ``md``, ``ad``, ``rd`` in 1e-3 mm^2/s, each with the nominal b-value, as ``fa_1900``.

    Attributes:
        shell: Nominal b-value of the shell in s/mm^2.
        gradients: Gradient table of the diffusion volumes.
        volumes: (N,) bool, the volumes that are fitted.
        channels: Channels of the diffusion volumes.
    """

    shell: int
    gradients: GradientTable
    volumes: np.ndarray
    channels: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The maps with the nominal b-value of the shell."""
        return tuple(f"{name}_{self.shell}" for name in ("fa", "md", "ad", "rd"))

    def compute(self, signals: np.ndarray, floor: float) -> dict[str, np.ndarray]:
        """Fit the tensors."""
        dti = import_optional("dipy.reconst.dti", "analysis")
        values = _diffusion_signals(signals, self.channels, floor)[:, self.volumes]
        fit = dti.TensorModel(_dipy_table(self.gradients, self.volumes), fit_method="OLS").fit(values)
        return dict(zip(self.names, (fit.fa, fit.md * MILLI, fit.ad * MILLI, fit.rd * MILLI), strict=True))


@dataclass(frozen=True)
class MeanKurtosis:
    """The mean kurtosis ``mk`` of a kurtosis tensor, fitted to the logarithms of all shells by least squares, from -3/7 to 10.

    The numbers are those of dipy's ``DiffusionKurtosisModel(fit_method="OLS")``. All voxels are computed at once, since dipy goes voxel by
    voxel, which takes a hundred times as long.

    Attributes:
        gradients: Gradient table of the diffusion volumes.
        channels: Channels of the diffusion volumes.
    """

    gradients: GradientTable
    channels: tuple[int, ...]
    names: tuple[str, ...] = ("mk",)

    def compute(self, signals: np.ndarray, floor: float) -> dict[str, np.ndarray]:
        """Fit the kurtosis tensors."""
        dti, dki, utils = (import_optional(f"dipy.reconst.{name}", "analysis") for name in ("dti", "dki", "utils"))
        values = _diffusion_signals(signals, self.channels, floor)
        table = _dipy_table(self.gradients, np.ones(len(self.gradients), bool))
        solution = np.log(values) @ np.linalg.pinv(utils.dki_design_matrix(table)).T
        eigenvalues, vectors = dti.decompose_tensor(dti.from_lower_triangular(solution[:, :6]))
        mean = solution[:, [0, 2, 5]].mean(1, keepdims=True)
        kurtosis = np.divide(solution[:, 6:21], mean**2, out=np.zeros((len(values), 15)), where=np.abs(mean) > 0)
        parameters = np.concatenate([eigenvalues, vectors.reshape(-1, 9), kurtosis], 1)
        return {"mk": dki.mean_kurtosis(parameters, max_kurtosis=LARGEST_KURTOSIS)}


def allows_tensor(gradients: GradientTable, volumes: np.ndarray) -> bool:
    """Return whether some volumes (N,) bool have enough directions for a tensor."""
    return _rank(gradients, volumes, 2) == TENSOR_UNKNOWNS


def allows_kurtosis(gradients: GradientTable) -> bool:
    """Return whether there are two shells with enough directions for a kurtosis tensor."""
    return len(gradients.shells) > 1 and _rank(gradients, np.ones(len(gradients), bool), 4) == KURTOSIS_UNKNOWNS


def _diffusion_signals(signals: np.ndarray, channels: Sequence[int], floor: float) -> np.ndarray:
    return np.maximum(signals[:, list(channels)].astype(np.float64), floor)


def _dipy_table(gradients: GradientTable, volumes: np.ndarray) -> Any:
    make = import_optional("dipy.core.gradients", "analysis").gradient_table
    return make(gradients.b_values[volumes], bvecs=gradients.directions[volumes], b0_threshold=UNWEIGHTED_BELOW)


def _rank(gradients: GradientTable, volumes: np.ndarray, order: int) -> int:
    """Return how many parameters can be fitted to these volumes: of a tensor (``order`` 2), or of tensor and kurtosis (``order`` 4)."""
    b, g = gradients.nominal_b_values[volumes] / 1000, gradients.directions[volumes]
    second = np.stack([g[:, i] * g[:, j] for i in range(3) for j in range(i, 3)], 1)
    columns = [np.ones((len(b), 1)), b[:, None] * second]
    if order == 4:
        columns.append(b[:, None] ** 2 * np.stack([second[:, i] * second[:, j] for i in range(6) for j in range(i, 6)], 1))
    return int(np.linalg.matrix_rank(np.concatenate(columns, 1), tol=1e-4))
