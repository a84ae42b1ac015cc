"""Compare a network with the usual MR markers and regressions, on subjects that were not used to train or fit any of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from mrh_monai.comparison.compared_models import NETWORK, ModelBench, VoxelReader
from mrh_monai.comparison.regression_models import baselines, join
from mrh_monai.data import input_kind, need_grid
from mrh_monai.evaluation import (
    BLOCK_MM,
    DRAWS,
    LEVEL,
    LabelFiles,
    ResamplingUnit,
    Side,
    check_unit,
    interval,
    intervals,
    resample,
    structures,
)
from mrh_monai.inference import Predictor, load_bundle
from mrh_monai.progress import progress_bar
from mrh_monai.subjects import Datalist

TRAINING_VOXELS = 40_000
FEW_ANIMALS = 5  # with fewer animals, blocks are resampled instead of animals


@dataclass(frozen=True)
class ComparisonOptions:
    """How a network is compared with other models.

    Attributes:
        section: Section of the datalist to score.
        labels: Label volume on the grid of the subjects; None to score no regions.
        gradients: Gradient tables of the diffusion scans, in the order of the scans; empty to take the tables beside the
            images, or the values of the protocol.
        with_maps: Whether MR parameter maps are made and compared.
        side: Side of the threshold on which structures to detect lie, ``above`` or ``below``; None for below in AF, as in the paper, and
            for above in other stains.
        threshold: Threshold in the stain's units; None for Otsu's threshold of the training subjects' targets.
        resampled: What the intervals are drawn from, ``blocks`` or ``animals``; None for animals where there are five or more.
        block_mm: Edge of the blocks in mm.
        voxels: Number of voxels of the training subjects on which regressions are fitted.
        seed: Random seed of these voxels and of the resampling.
    """

    section: str = "test"
    labels: LabelFiles | None = None
    gradients: Sequence[Path | str] = ()
    with_maps: bool = True
    side: Side | None = None
    threshold: float | None = None
    resampled: ResamplingUnit | None = None
    block_mm: float = BLOCK_MM
    voxels: int = TRAINING_VOXELS
    seed: int = 0


class ComparedModel(TypedDict):
    """One model of a comparison: its name and kind, and mean scores over the subjects.

    Attributes:
        name: Name in tables.
        kind: ``network``, ``marker`` or ``regression``.
        scores: Mean of each score over the subjects.
        intervals: Interval of each score.
        per_subject: Scores of each subject.
        network_ahead: Interval of the network's score minus that of this model; absent for the network.
    """

    name: str
    kind: str
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    per_subject: dict[str, dict[str, float]]
    network_ahead: NotRequired[dict[str, tuple[float, float]]]


@dataclass
class Comparison:
    """Result of `compare`, from which tables and pictures are made.

    Attributes:
        about: What was compared: bundle, weights, subjects, threshold, kind of interval.
        models: The models, the network first.
        regions: Rows of subject, region, voxels, model, ``r2``, ``rmse`` and ``bias``.
        curves: ROC curve of each model, mean over the subjects: false-positive and true-positive rates.
        pairs: Target and prediction of some of the voxels, each (N,), for each model.
    """

    about: dict[str, Any]
    models: list[ComparedModel] = field(default_factory=list)
    regions: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    pairs: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)


def compare(
    bundle: Path | str | Predictor,
    datalist: Datalist | Path | str,
    options: ComparisonOptions = ComparisonOptions(),
    progress: bool = False,
) -> Comparison:
    """Score the network of a bundle, single MR markers, and linear and quadratic regressions.

    All regressions, also the straight lines of single markers, are fitted on voxels of the training subjects only. Scores are computed
    subject by subject, in the mask where the target is intact, and averaged.

    Args:
        bundle: Bundle folder with trained weights, or the result of `mrh_monai.load_bundle`.
        datalist: Datalist with ``training`` and the section to score, all subjects with targets: a `Datalist`, of files or arrays, or its
            JSON file.
        options: How to compare.
        progress: Whether to show a progress bar on a terminal.

    Raises:
        DatalistError: A section is empty.
        SubjectError: A subject cannot be read, or is a patch file, which lies on no grid.
        OptionError: An option is unknown, or the threshold leaves voxels on one side only.

    Example:
        >>> comparison = compare("bundles/mrh_af", "brains/datalist.json")  # doctest: +SKIP
        >>> comparison.models[0]["scores"]["r2"]  # doctest: +SKIP
        0.772
    """
    unit = None if options.resampled is None else check_unit(options.resampled)
    predictor = bundle if isinstance(bundle, Predictor) else load_bundle(bundle)
    sidecar, protocol = predictor.sidecar, predictor.protocol
    side = options.side or ("below" if sidecar.stain == "af" else "above")
    lists = datalist if isinstance(datalist, Datalist) else Datalist.read(datalist)
    lists = lists.with_default_axis(predictor.options.coronal_axis)
    where = "datalist" if isinstance(datalist, Datalist) else datalist
    training, test = lists.section("training", where), lists.section(options.section, where)
    need_grid([*training, *test], "to compare")
    headers = [input_kind(subject).image_headers(subject, protocol, need_target=True) for subject in (*training, *test)]
    regions = None if options.labels is None else options.labels.read([images[0] for images in headers[len(training) :]])

    reader = VoxelReader(predictor, options.gradients if options.with_maps else None)
    rng = np.random.default_rng(options.seed)
    drawn = join([reader.draw(subject, options.voxels // len(training), rng) for subject in training])
    fitted = baselines(drawn, protocol.names)
    threshold = structures(drawn.target, side, options.threshold, "threshold")[1]

    bench = ModelBench(reader, fitted, side, threshold, options.block_mm, regions)
    for subject in progress_bar(test, "subject", progress):
        bench.add(subject)
    unit = unit or ("animals" if len(test) >= FEW_ANIMALS else "blocks")
    chosen = "given" if options.threshold is not None else "Otsu, training"
    found = Comparison(
        about={
            "bundle": predictor.name,
            "weights": sidecar.sha256,
            "stain": sidecar.stain,
            "units": sidecar.units,
            "residual_blocks": sidecar.residual_blocks,
            "fitted_on": {"subjects": [s.name for s in training], "voxels": len(drawn.target)},
            "scored_on": {"subjects": [s.name for s in test], "voxels": bench.voxels},
            "structures": {"side": side, "threshold": threshold, "chosen": chosen},
            "intervals": {"resampled": unit, "block_mm": bench.edges if unit == "blocks" else None, "draws": DRAWS, "level": LEVEL},
            "maps_from": sorted(reader.sources),
        },
        regions=bench.region_rows,
    )
    resampling = resample([len(one.sums) for one in bench.sums[NETWORK]], unit, seed=options.seed)
    _summarise(found, bench, {name: resampling.draws(bench.sums[name]) for name in bench.names})
    return found


def _summarise(found: Comparison, bench: ModelBench, draws: dict[str, dict[str, np.ndarray]]) -> None:
    kinds = {NETWORK: "network"} | {baseline.name: baseline.kind for baseline in bench.baselines}
    for name in bench.names:
        exact = bench.scores[name]
        model: ComparedModel = {
            "name": name,
            "kind": kinds[name],
            "scores": {key: float(np.mean([each[key] for each in exact])) for key in exact[0]},
            "intervals": intervals(draws[name]),
            "per_subject": dict(zip(bench.subjects, exact, strict=True)),
        }
        if name != NETWORK:
            model["network_ahead"] = {key: interval(draws[NETWORK][key] - values) for key, values in draws[name].items()}
        found.models.append(model)
        rates = [curve for _, curve in bench.curves[name]]
        found.curves[name] = (bench.curves[name][0][0], np.mean(rates, 0))
        target, prediction = np.concatenate(bench.pairs[name], 1)
        found.pairs[name] = (target, prediction)
