"""Read the voxels of subjects that are compared, and score every model on one subject after another."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.comparison.regression_models import Baseline, Voxels
from mrh_monai.data import SubjectInMemory, input_kind, load_subject
from mrh_monai.errors import MRHWarning, SubjectError
from mrh_monai.evaluation import BlockSums, Regions, auc, blocks_of, r2, rmse, roc, ssim_map, stain_range, structures, sum_blocks
from mrh_monai.inference import Predictor
from mrh_monai.maps import MapPlan, fit_maps, plan_maps
from mrh_monai.scaling import LEVEL_PERCENTILE, robust_level
from mrh_monai.subjects import AnySubject

NETWORK = "MRH network"
PICTURED_VOXELS = 100_000


class VoxelReader:
    """Reads subjects as voxels with their images, maps and target.

    Args:
        predictor: The network that is compared.
        gradients: Gradient tables, see `mrh_monai.maps.plan_maps`; None to make no maps.

    Attributes:
        predictor: The network that is compared.
        sources: Where the gradient tables of the subjects came from.
    """

    def __init__(self, predictor: Predictor, gradients: Sequence[Path | str] | None):
        self.predictor, self.gradients = predictor, gradients
        self.sources: set[str] = set()
        self._names: list[str] | None = None

    def load(self, subject: AnySubject) -> SubjectInMemory:
        """Read one subject with its target into memory."""
        return load_subject(subject, self.predictor.protocol, self.predictor.reading(need_target=True))

    def support(self, loaded: SubjectInMemory) -> np.ndarray:
        """Return the voxels that the network predicts, (X, Y, Z) bool."""
        sidecar = self.predictor.sidecar
        return sidecar.scaling.support(loaded.mask, sidecar.patch)

    def draw(self, subject: AnySubject, count: int, rng: np.random.Generator) -> Voxels:
        """Read some voxels of a subject, drawn at random from those with an intact target; at least one voxel."""
        loaded = self.load(subject)
        inside = np.flatnonzero(loaded.scored)
        chosen = np.zeros(loaded.mask.shape, bool)
        chosen.flat[rng.permutation(inside)[: max(count, 1)]] = True
        return self.voxels(subject, loaded, chosen)

    def voxels(self, subject: AnySubject, loaded: SubjectInMemory, chosen: np.ndarray) -> Voxels:
        """Return the voxels of a subject in memory that lie in ``chosen``, (X, Y, Z) bool."""
        gain, offset = self.predictor.sidecar.scaling.coefficients(loaded, self.support(loaded))
        signals = loaded.image[chosen]
        plan = self._plan(subject)
        maps = {} if plan is None else fit_maps(signals, plan)
        if "t2w" in maps:
            maps["t2w"] = maps["t2w"] / np.float32(robust_level(loaded.level_values, LEVEL_PERCENTILE))
        assert loaded.target is not None
        return Voxels(signals.astype(np.float32) * gain + offset, maps, loaded.target[chosen].astype(np.float64))

    def _plan(self, subject: AnySubject) -> MapPlan | None:
        """Plan the maps of one subject. Each has a gradient table of its own, but all must allow the same maps."""
        if self.gradients is None:
            return None
        protocol = self.predictor.protocol
        with warnings.catch_warnings():
            if self._names is not None:
                warnings.simplefilter("ignore", MRHWarning)  # the first subject has given the same warning
            plan = plan_maps(input_kind(subject).image_headers(subject, protocol), protocol, self.gradients)
        if self._names is not None and self._names != plan.names:
            expected = f"the maps {', '.join(self._names)}"
            raise SubjectError(subject.name, expected, ", ".join(plan.names), "compare subjects of one protocol")
        self._names = plan.names
        if plan.gradients is not None:
            self.sources.add(plan.gradients.source)
        return plan


class ModelBench:
    """Scores every model on one subject after another.

    Args:
        reader: Reads the subjects, and holds the network.
        baselines: Models with which the network is compared, fitted.
        side: Side of the threshold on which structures lie.
        threshold: Threshold in the stain's units.
        block_mm: Edge of the blocks in mm.
        regions: Regions to score; None for no regions.

    Attributes:
        names: Names of all models, the network first.
        subjects: Names of the subjects so far.
        sums: Sums of each subject, for each model.
        scores: Scores of each subject, for each model.
        curves: ROC curve of each subject, for each model.
        pairs: Target and prediction (2, N) of some voxels of each subject, for each model.
        region_rows: Scores of each region.
        edges: Edge of the blocks of each subject in mm.
        voxels: Number of voxels so far.
    """

    def __init__(
        self, reader: VoxelReader, baselines: Sequence[Baseline], side: str, threshold: float, block_mm: float, regions: Regions | None
    ):
        self.reader, self.baselines, self.side, self.threshold = reader, baselines, side, threshold
        self.block_mm, self.regions = block_mm, regions
        self.names = [NETWORK, *(baseline.name for baseline in baselines)]
        self.subjects: list[str] = []
        self.sums: dict[str, list[BlockSums]] = {name: [] for name in self.names}
        self.scores: dict[str, list[dict[str, float]]] = {name: [] for name in self.names}
        self.curves: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in self.names}
        self.pairs: dict[str, list[np.ndarray]] = {name: [] for name in self.names}
        self.region_rows: list[dict[str, Any]] = []
        self.edges: list[float] = []
        self.voxels = 0

    def add(self, subject: AnySubject) -> None:
        """Predict one subject with every model, and score the predictions.

        Raises:
            OptionError: All voxels of the subject lie on one side of the threshold.
        """
        loaded = self.reader.load(subject)
        scored = loaded.scored & self.reader.support(loaded)
        voxels = self.reader.voxels(subject, loaded, scored)
        predictions = {NETWORK: self._predict(loaded, scored)} | {each.name: each.predict(voxels) for each in self.baselines}
        target = voxels.target
        assert loaded.target is not None
        found, _ = structures(target, self.side, self.threshold, f"--threshold in {subject.name}")
        # A detector of voxels below the threshold looks for low predictions. We exchange the two classes, and the area does not change.
        highest = found if self.side == "above" else ~found
        block, edge = blocks_of(scored, loaded.spacing, self.block_mm)
        data_range = stain_range(target)
        some = np.random.default_rng(0).permutation(len(target))[:PICTURED_VOXELS]
        for name, prediction in predictions.items():
            in_place = np.zeros(scored.shape, np.float32)
            in_place[scored] = prediction
            similarity = ssim_map(in_place, loaded.target, scored, data_range)
            sums = sum_blocks(prediction, target, similarity, highest, block, data_range)
            self.sums[name].append(sums)
            self.scores[name].append(sums.whole | {"auc": auc(prediction, found, self.side)})
            self.curves[name].append(roc(prediction, found, self.side))
            self.pairs[name].append(np.stack([target[some], prediction[some]]))
            if self.regions is not None:
                self._add_regions(self.regions.need_some(scored), {"subject": subject.name, "model": name}, prediction, target)
        self.subjects.append(subject.name)
        self.edges.append(edge)
        self.voxels += len(target)

    def _predict(self, loaded: SubjectInMemory, scored: np.ndarray) -> np.ndarray:
        """(N,) float32 stain of the scored voxels, by the network."""
        predictor = self.reader.predictor
        coefficients = predictor.sidecar.scaling.coefficients(loaded, self.reader.support(loaded))
        return np.asarray(predictor.trained.predict(loaded.slabs, scored, coefficients, predictor.computing)[scored])

    def _add_regions(self, regions: dict[str, np.ndarray], row: dict[str, str], prediction: np.ndarray, target: np.ndarray) -> None:
        for region, inside in regions.items():
            p, t = prediction[inside], target[inside]
            counted = {"subject": row["subject"], "region": region, "voxels": int(inside.sum()), "model": row["model"]}
            self.region_rows.append(counted | {"r2": r2(p, t), "rmse": rmse(p, t), "bias": float((p - t).mean())})
