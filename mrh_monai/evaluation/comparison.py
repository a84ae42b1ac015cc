"""A network against every usual MR marker and regression, on subjects that none of them was fitted on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mrh_monai.data import LoadedSubject, Subject, is_patch_file, load_subject, read_datalist, read_headers, section
from mrh_monai.errors import MRHWarning, SubjectError
from mrh_monai.evaluation.bootstrap import BLOCK_MM, DRAWS, LEVEL, Resampling, Tally, blocks_of, interval, intervals, resample, tally
from mrh_monai.evaluation.regions import Regions, read_regions
from mrh_monai.evaluation.regression_models import Baseline, Voxels, baselines, join
from mrh_monai.evaluation.scores import auc, r2, rmse, roc, ssim_map, stain_range, structures
from mrh_monai.inference import predict_volume
from mrh_monai.maps import MapPlan, parameter_maps, plan_maps
from mrh_monai.network import MRHNet, Sidecar, load_network
from mrh_monai.protocol import MRProtocol
from mrh_monai.scaling import LEVEL_PERCENTILE, nan_rule, robust_level

logger = logging.getLogger(__name__)

NETWORK = "MRH network"
TRAINING_VOXELS = 40_000
FEW_ANIMALS = 5  # below which blocks are resampled, not animals
PICTURED_VOXELS = 100_000


@dataclass
class Comparison:
    """What `compare` found; pictures are drawn of it, and tables written.

    Attributes:
        about: What was compared on what: bundle, weights, subjects, threshold, kind of interval.
        models: Of every model its name, kind, ``scores`` and ``intervals`` (means over subjects), ``per_subject`` scores, and of all but
            the network ``network_ahead``: the interval of the network's score minus its own.
        regions: Rows of subject, region, voxels, model, ``r2``, ``rmse`` and ``bias``.
        curves: Model to its ROC curve, mean over subjects: false- and true-positive rate.
        pairs: Model to target and prediction of some of the voxels, each (N,).
    """

    about: dict[str, Any]
    models: list[dict[str, Any]] = field(default_factory=list)
    regions: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    pairs: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)


def compare(
    bundle: Path | str,
    datalist: Path | str,
    *,
    key: str = "test",
    labels: Path | str | None = None,
    label_names: Path | str | None = None,
    gradients: Sequence[Path | str] = (),
    with_maps: bool = True,
    side: str | None = None,
    threshold: float | None = None,
    resampled: str | None = None,
    block_mm: float = BLOCK_MM,
    voxels: int = TRAINING_VOXELS,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Comparison:
    """Score a bundle's network, single markers, and linear and quadratic regressions.

    All regressions, straight lines of single markers among them, are fitted on voxels of the training subjects alone. Scores are computed
    subject by subject, in the mask where the target is sound, and averaged.

    Args:
        bundle: Folder with trained weights.
        datalist: With ``training`` and the section to score, all with targets.
        key: That section.
        labels: Label volume on the subjects' grid; None for no regions.
        label_names: Of the labels, see `mrh_monai.evaluation.regions.read_regions`.
        gradients: Gradient tables, see `mrh_monai.maps.gradient_table.gradients_of`.
        with_maps: Whether parameter maps are made and compared.
        side: Whether structures to detect lie ``above`` or ``below`` the threshold; None for below in AF, as the paper has it, else above.
        threshold: In the stain's units; None for Otsu's of the training subjects' targets.
        resampled: ``blocks`` or ``animals`` for the intervals; None for animals from five on.
        block_mm: Edge of the blocks.
        voxels: How many voxels of the training subjects regressions are fitted on.
        seed: Of these voxels and of the resampling.
        device: Where the network computes.
        progress: Wraps the iteration over subjects.

    Raises:
        DatalistError: A section is empty.
        SubjectError: A subject cannot be read, or is a file of patches, which lies on no grid.
        OptionError: The threshold leaves one class.
    """
    protocol = MRProtocol.from_metadata(Path(bundle) / "configs" / "metadata.json")
    network, sidecar = load_network(Path(bundle) / "models" / "model.pt", protocol.names)
    side = side or ("below" if sidecar.stain == "af" else "above")
    lists = read_datalist(datalist)
    training, test = section(lists, "training", datalist), section(lists, key, datalist)
    for subject in (*training, *test):
        if is_patch_file(subject):
            raise SubjectError(subject.image[0], "volumes to compare on", "a file of patches", "list the volumes that they were cut from")
        read_headers(subject, protocol, need_target=True)
    regions = None if labels is None else read_regions(labels, [subject.image[0] for subject in test], label_names)

    reader = _Reader(protocol, sidecar, gradients if with_maps else None)
    rng = np.random.default_rng(seed)
    drawn = join([reader.some(subject, voxels // len(training), rng) for subject in training])
    fitted = baselines(drawn, protocol.names)
    threshold_found = structures(drawn.target, side, threshold, "--threshold")[1]
    unit = resampled or ("animals" if len(test) >= FEW_ANIMALS else "blocks")

    bench = _Bench(network.to(device), sidecar, fitted, side, threshold_found, block_mm, torch.device(device), regions)
    for subject in progress(test):
        bench.add(reader, subject)
    found = Comparison(
        about={
            "bundle": Path(bundle).resolve().name,
            "weights": sidecar.sha256,
            "stain": sidecar.stain,
            "units": sidecar.units,
            "residual_blocks": sidecar.residual_blocks,
            "fitted_on": {"subjects": [s.name for s in training], "voxels": len(drawn.target)},
            "scored_on": {"subjects": [s.name for s in test], "voxels": bench.voxels},
            "structures": {"side": side, "threshold": threshold_found, "chosen": "given" if threshold is not None else "Otsu, training"},
            "intervals": {"resampled": unit, "block_mm": bench.edges if unit == "blocks" else None, "draws": DRAWS, "level": LEVEL},
            "maps_from": sorted(reader.sources),
        },
        regions=bench.region_rows,
    )
    _summarise(found, bench, unit, seed)
    return found


class _Reader:
    """Subjects as voxels with images, maps and target."""

    def __init__(self, protocol: MRProtocol, sidecar: Sidecar, gradients: Sequence[Path | str] | None):
        self.protocol, self.sidecar, self.gradients = protocol, sidecar, gradients
        self.sources: set[str] = set()
        self._names: list[str] | None = None

    def plan(self, subject: Subject) -> MapPlan | None:
        """Each subject has a gradient table of its own, but all must allow the same maps."""
        if self.gradients is None:
            return None
        with warnings.catch_warnings():
            if self._names is not None:
                warnings.simplefilter("ignore", MRHWarning)  # said of the first subject already
            plan = plan_maps(read_headers(subject, self.protocol)["image"], self.protocol, self.gradients)
        if self._names not in (None, plan.names):
            raise SubjectError(
                subject.name, f"the maps {', '.join(self._names)}", ", ".join(plan.names), "compare subjects of one protocol"
            )
        self._names = plan.names
        if plan.gradients is not None:
            self.sources.add(plan.gradients.source)
        return plan

    def load(self, subject: Subject) -> LoadedSubject:
        nan = nan_rule(self.sidecar.scaling.mode, None)
        options: dict[str, Any] = {"need_target": True, "nan": nan, "margin": self.sidecar.patch_radius, "axes": self.sidecar.patch_axes}
        return load_subject(subject, self.protocol, **options)

    def some(self, subject: Subject, count: int, rng: np.random.Generator) -> Voxels:
        loaded = self.load(subject)
        inside = np.flatnonzero(loaded.scored)
        chosen = np.zeros(loaded.mask.shape, bool)
        chosen.flat[rng.permutation(inside)[: max(count, 1)]] = True
        return self.voxels(subject, loaded, chosen)

    def voxels(self, subject: Subject, loaded: LoadedSubject, chosen: np.ndarray) -> Voxels:
        scaling = self.sidecar.scaling
        support = scaling.support(loaded.mask, self.sidecar.patch_axes, self.sidecar.patch_radius)
        gain, offset = scaling.coefficients(loaded, support)
        signals = loaded.image[chosen]
        plan = self.plan(subject)
        maps = {} if plan is None else parameter_maps(signals, plan)
        if "t2w" in maps:
            maps["t2w"] = maps["t2w"] / np.float32(robust_level(loaded.level_values, LEVEL_PERCENTILE))
        assert loaded.target is not None
        return Voxels(signals.astype(np.float32) * gain + offset, maps, loaded.target[chosen].astype(np.float64))


class _Bench:
    """Every model on one subject after another."""

    def __init__(
        self,
        network: MRHNet,
        sidecar: Sidecar,
        fitted: Sequence[Baseline],
        side: str,
        threshold: float,
        block_mm: float,
        device: torch.device,
        regions: Regions | None,
    ):
        self.network, self.sidecar, self.fitted, self.device = network, sidecar, fitted, device
        self.side, self.threshold, self.block_mm, self.regions = side, threshold, block_mm, regions
        self.names = [NETWORK, *(baseline.name for baseline in fitted)]
        self.subjects: list[str] = []
        self.tallies: dict[str, list[Tally]] = {name: [] for name in self.names}
        self.scores: dict[str, list[dict[str, float]]] = {name: [] for name in self.names}
        self.curves: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in self.names}
        self.pairs: dict[str, list[np.ndarray]] = {name: [] for name in self.names}
        self.region_rows: list[dict[str, Any]] = []
        self.edges: list[float] = []
        self.voxels = 0

    def add(self, reader: _Reader, subject: Subject) -> None:
        loaded = reader.load(subject)
        sidecar, scored = self.sidecar, loaded.scored
        support = sidecar.scaling.support(loaded.mask, sidecar.patch_axes, sidecar.patch_radius)
        scored = scored & support
        options: dict[str, Any] = {"axes": sidecar.patch_axes, "radius": sidecar.patch_radius, "device": self.device}
        coefficients = sidecar.scaling.coefficients(loaded, support)
        volume = predict_volume(self.network, loaded.slabs, scored, *coefficients, **options).numpy() * sidecar.scaling.target_max
        voxels = reader.voxels(subject, loaded, scored)
        predictions = {NETWORK: volume[scored]} | {baseline.name: baseline.predict(voxels) for baseline in self.fitted}
        target = voxels.target
        assert loaded.target is not None
        found, _ = structures(target, self.side, self.threshold, f"--threshold in {subject.name}")
        block, edge = blocks_of(scored, loaded.spacing, self.block_mm)
        data_range, sign = stain_range(target), 1 if self.side == "above" else -1
        some = np.random.default_rng(0).permutation(len(target))[:PICTURED_VOXELS]
        for name, prediction in predictions.items():
            in_place = np.zeros(scored.shape, np.float32)
            in_place[scored] = prediction
            similarity = ssim_map(in_place, loaded.target, scored, data_range)
            # A detector of what lies below finds where predictions are low: the area is the same, seen from the other side.
            counted = tally(prediction, target, similarity, found if sign > 0 else ~found, block, data_range)
            scores = {key: float(value[0]) for key, value in counted.scores(np.ones((1, len(counted.sums)))).items()}
            self.tallies[name].append(counted)
            self.scores[name].append(scores | {"auc": auc(prediction, found, self.side)})
            self.curves[name].append(roc(prediction, found, self.side))
            self.pairs[name].append(np.stack([target[some], prediction[some]]))
            if self.regions is not None:
                self._add_regions(subject.name, name, prediction, target, scored)
        self.subjects.append(subject.name)
        self.edges.append(edge)
        self.voxels += len(target)

    def _add_regions(self, subject: str, model: str, prediction: np.ndarray, target: np.ndarray, scored: np.ndarray) -> None:
        assert self.regions is not None
        for region, inside in self.regions.need_some(scored).items():
            p, t = prediction[inside], target[inside]
            row = {"subject": subject, "region": region, "voxels": int(inside.sum()), "model": model}
            self.region_rows.append(row | {"r2": r2(p, t), "rmse": rmse(p, t), "bias": float((p - t).mean())})


def _summarise(found: Comparison, bench: _Bench, unit: str, seed: int) -> None:
    first = bench.tallies[NETWORK]
    resampling: Resampling = resample([len(one.sums) for one in first], unit, seed=seed)
    network_draws = resampling.draws(first)
    kinds = {NETWORK: "network"} | {baseline.name: baseline.kind for baseline in bench.fitted}
    for name in bench.names:
        exact = bench.scores[name]
        scores = {key: float(np.mean([each[key] for each in exact])) for key in exact[0]}
        draws = network_draws if name == NETWORK else resampling.draws(bench.tallies[name])
        model: dict[str, Any] = {"name": name, "kind": kinds[name], "scores": scores, "intervals": intervals(draws)}
        model["per_subject"] = dict(zip(bench.subjects, exact, strict=True))
        if name != NETWORK:
            model["network_ahead"] = {key: interval(network_draws[key] - draws[key]) for key in draws}
        found.models.append(model)
        rates = [curve for _, curve in bench.curves[name]]
        found.curves[name] = (bench.curves[name][0][0], np.mean(rates, 0))
        target, prediction = np.concatenate(bench.pairs[name], 1)
        found.pairs[name] = (target, prediction)
