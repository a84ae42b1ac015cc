"""What a network must beat: single MR markers, and linear and quadratic regression on maps or on all images of a voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from mrh_monai.evaluation.scores import r2

FIVE_MAPS = ("t2w", "mtr", "fa", "md", "mk")
CHUNK = 20_000  # voxels whose squares and products are in memory at once
# Far below what the data weigh; it only keeps thousands of nearly collinear products of images solvable.
RIDGE = 1.0


@dataclass(frozen=True)
class Voxels:
    """Voxels of one or more subjects, as regressions see them.

    Attributes:
        channels: (N, C) float32, scaled as for the network.
        maps: (N,) each, of `mrh_monai.maps.map_fits.parameter_maps`, ``t2w`` divided by the subject's level.
        target: (N,) in the stain's units.
    """

    channels: np.ndarray
    maps: dict[str, np.ndarray]
    target: np.ndarray


def join(parts: Sequence[Voxels]) -> Voxels:
    """The voxels of several subjects together."""
    maps = {name: np.concatenate([part.maps[name] for part in parts]) for name in parts[0].maps}
    return Voxels(np.concatenate([part.channels for part in parts]), maps, np.concatenate([part.target for part in parts]))


@dataclass
class Baseline:
    """A regression from some values of a voxel to its stain.

    Attributes:
        name: As in tables.
        kind: ``marker``: one value and a straight line; ``regression``: several.
        maps: Names of the maps it takes.
        channels: Indices of the images it takes.
        degree: 1 for linear, 2 with all squares and products too.
    """

    name: str
    kind: str
    maps: tuple[str, ...] = ()
    channels: tuple[int, ...] = ()
    degree: int = 1
    _model: Any = field(default=None, repr=False)

    def fit(self, voxels: Voxels) -> Baseline:
        """Fit by least squares."""
        steps: list[Any] = [StandardScaler()]
        if self.degree == 1:
            steps.append(LinearRegression())
        else:
            # Thousands of products of nearly collinear images need float64; their table is not copied more often than it must be.
            steps += [PolynomialFeatures(self.degree, include_bias=False), StandardScaler(copy=False), Ridge(RIDGE, copy_X=False)]
        self._model = make_pipeline(*steps).fit(self._inputs(voxels), voxels.target)
        return self

    def predict(self, voxels: Voxels) -> np.ndarray:
        """(N,) float32, in the stain's units."""
        inputs = self._inputs(voxels)
        parts = [self._model.predict(inputs[start : start + CHUNK]) for start in range(0, len(inputs), CHUNK)]
        return np.concatenate(parts).astype(np.float32)

    def _inputs(self, voxels: Voxels) -> np.ndarray:
        columns = [*(voxels.maps[name] for name in self.maps), *(voxels.channels[:, index] for index in self.channels)]
        return np.column_stack(columns).astype(np.float64)


def baselines(voxels: Voxels, names: Sequence[str]) -> list[Baseline]:
    """All that a network is compared with, fitted.

    Every map, the single image that goes best with the stain of these voxels, and regressions on five maps (T2-weighted, MTR, FA and MD of
    the lowest shell, MK; those of them that there are) and on all images.

    Args:
        voxels: Of the training subjects.
        names: Of the channels.
    """
    found = [Baseline(name, "marker", maps=(name,)) for name in voxels.maps]
    best = int(np.nanargmax([r2(values, voxels.target) for values in voxels.channels.T]))
    found.append(Baseline(f"{names[best]} (best image)", "marker", channels=(best,)))
    # Maps of several shells stand lowest shell first.
    five = [match for wanted in FIVE_MAPS if (match := next((name for name in voxels.maps if name.split("_")[0] == wanted), None))]
    everything = tuple(range(len(names)))
    for degree, word in ((1, "linear"), (2, "quadratic")):
        if len(five) > 1:
            found.append(Baseline(f"{word}, {len(five)} maps", "regression", maps=tuple(five), degree=degree))
        if len(names) > 1:
            found.append(Baseline(f"{word}, {len(names)} images", "regression", channels=everything, degree=degree))
    return [baseline.fit(voxels) for baseline in found]
