"""The models that a network must beat: single MR markers, and linear and quadratic regressions on the maps or images of a voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from mrh_monai.evaluation import r2

FIVE_MAPS = ("t2w", "mtr", "fa", "md", "mk")
CHUNK = 20_000  # number of voxels whose squares and products are in memory at once
# Ridge term, small compared with the data. It only keeps thousands of nearly collinear products of images solvable.
RIDGE = 1.0


@dataclass(frozen=True)
class Voxels:
    """Voxels of one or more subjects, as regressions see them.

    Attributes:
        channels: (N, C) float32 images, scaled as for the network.
        maps: (N,) for each map of `mrh_monai.maps.fit_maps`; ``t2w`` is divided by the level of the subject.
        target: (N,) true stain, in its own units.
    """

    channels: np.ndarray
    maps: dict[str, np.ndarray]
    target: np.ndarray


def join(parts: Sequence[Voxels]) -> Voxels:
    """Return the voxels of several subjects together."""
    maps = {name: np.concatenate([part.maps[name] for part in parts]) for name in parts[0].maps}
    return Voxels(np.concatenate([part.channels for part in parts]), maps, np.concatenate([part.target for part in parts]))


@dataclass
class Baseline:
    """A regression from some values of a voxel to its stain.

    Attributes:
        name: Name in tables.
        kind: ``marker`` for a straight line through one value, ``regression`` for several values.
        maps: Names of the maps that it takes.
        channels: Indices of the images that it takes.
        degree: 1 for a linear regression; 2 for a quadratic one, with all squares and products too.
    """

    name: str
    kind: Literal["marker", "regression"]
    maps: tuple[str, ...] = ()
    channels: tuple[int, ...] = ()
    degree: int = 1
    _model: Any = field(default=None, repr=False)

    def fit(self, voxels: Voxels) -> Baseline:
        """Fit the regression by least squares, and return it."""
        steps: list[Any] = [StandardScaler()]
        if self.degree == 1:
            steps.append(LinearRegression())
        else:
            # Thousands of products of nearly collinear images need float64. Their table is not copied more often than necessary.
            steps += [PolynomialFeatures(self.degree, include_bias=False), StandardScaler(copy=False), Ridge(RIDGE, copy_X=False)]
        self._model = make_pipeline(*steps).fit(self._inputs(voxels), voxels.target)
        return self

    def predict(self, voxels: Voxels) -> np.ndarray:
        """Return the predicted stain (N,) float32, in its own units."""
        inputs = self._inputs(voxels)
        parts = [self._model.predict(inputs[start : start + CHUNK]) for start in range(0, len(inputs), CHUNK)]
        return np.concatenate(parts).astype(np.float32)

    def _inputs(self, voxels: Voxels) -> np.ndarray:
        columns = [*(voxels.maps[name] for name in self.maps), *(voxels.channels[:, index] for index in self.channels)]
        return np.column_stack(columns).astype(np.float64)


def baselines(voxels: Voxels, names: Sequence[str]) -> list[Baseline]:
    """Return all models with which a network is compared, fitted.

    These are a straight line for every map, a straight line for the single image that correlates best with the stain of these voxels, and
    regressions on five maps (T2-weighted, MTR, FA and MD of the lowest shell, MK; as far as they exist) and on all images.

    Args:
        voxels: Voxels of the training subjects.
        names: Names of the channels.
    """
    found = [Baseline(name, "marker", maps=(name,)) for name in voxels.maps]
    best = int(np.nanargmax([r2(values, voxels.target) for values in voxels.channels.T]))
    found.append(Baseline(f"{names[best]} (best image)", "marker", channels=(best,)))
    # If there are maps of several shells, those of the lowest shell come first.
    five = [match for wanted in FIVE_MAPS if (match := next((name for name in voxels.maps if name.split("_")[0] == wanted), None))]
    everything = tuple(range(len(names)))
    for degree, word in ((1, "linear"), (2, "quadratic")):
        if len(five) > 1:
            found.append(Baseline(f"{word}, {len(five)} maps", "regression", maps=tuple(five), degree=degree))
        if len(names) > 1:
            found.append(Baseline(f"{word}, {len(names)} images", "regression", channels=everything, degree=degree))
    return [baseline.fit(voxels) for baseline in found]
