"""Train the network of every combination of settings, and score each on subjects that it has not seen: how the recipe `fast` was chosen.

    python benchmarks/recipe_search.py DIR/datalist.json OUT.csv [--patches 250 1000 20000] [--batch-sizes 64 256] [--steps 240 1200]
        [--losses l1 centre correlation] [--seeds 0 1] [--parent BUNDLE] [--mutant MUTANT/datalist.json] [--align] ...

The subjects of `training` train, those of `test` are scored on 20,000 voxels each. What is not given is as in the recipe. The columns of
OUT.csv are the settings, R2, RMSE and the standard deviation of the predictions (both divided by the standard deviation of the stain),
and the processor seconds of the training. With `--mutant`, the first subject of `test` in that other datalist is predicted too; it lacks
most of its myelin. `drop` is the share of the true loss of stain that is predicted in white matter, that is, where the wild type's stain
is above its 90th percentile. A row that OUT.csv already has is not measured again; give each datalist a file of its own.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mrh_monai.alignment import align_stains
from mrh_monai.bundle import TrainingSettings, shipped_settings
from mrh_monai.data import SubjectInMemory
from mrh_monai.evaluation import StainPair, r2, rmse
from mrh_monai.network import MRHNet, fold
from mrh_monai.patch_geometry import CORONAL_PATCH
from mrh_monai.patches import Augmentation, PatchBatches, PatchDataset, sample_centres
from mrh_monai.protocol import MRProtocol
from mrh_monai.scaling import RobustScaling
from mrh_monai.studies import StudyData, load_study_data
from mrh_monai.studies.study_networks import StudyNetwork
from mrh_monai.training import KnownLabels, Parent, load_parent, make_optimizer, make_schedule, start_from_parent

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "mrh_nf"
SCORED_VOXELS, WHITE_MATTER = 20_000, 90
Tensor = torch.Tensor


def centre(values: Tensor) -> Tensor:
    """Return the centre voxels (B,) of patches (B, 1, 3, 3)."""
    return values[:, 0, 1, 1]


def correlation(prediction: Tensor, label: Tensor) -> Tensor:
    """Return 1 minus the correlation of two tensors."""
    p, t = prediction - prediction.mean(), label - label.mean()
    return 1 - (p * t).sum() / (p.norm() * t.norm() + 1e-6)


def rarity(label: Tensor) -> Tensor:
    """Return weights with mean 1: the inverse square root of how many labels of the batch lie in the same twentieth of the range."""
    bins = (label * 20).clamp(0, 19).long()
    counts = torch.bincount(bins.flatten(), minlength=20).float()
    weights = counts[bins].rsqrt()
    return weights / weights.mean()


def _on_centre(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda p, t: loss(centre(p), centre(t))


def _huber(p: Tensor, t: Tensor) -> Tensor:
    return functional.huber_loss(p, t, delta=0.1)


def _correlation_and_scale(p: Tensor, t: Tensor) -> Tensor:
    return 0.1 * correlation(p, t) + functional.l1_loss(p, t)


def _rare_l1(p: Tensor, t: Tensor) -> Tensor:
    return ((p - t).abs() * rarity(t)).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": functional.l1_loss,
    "huber": _huber,
    "squared": functional.mse_loss,
    "correlation": _correlation_and_scale,
    "rarity": _rare_l1,
    "centre": _on_centre(functional.l1_loss),
    "centre_huber": _on_centre(_huber),
    "centre_squared": _on_centre(functional.mse_loss),
    "centre_correlation": _on_centre(_correlation_and_scale),
    "centre_rarity": _on_centre(_rare_l1),
    "half_centre": lambda p, t: 0.5 * (functional.l1_loss(p, t) + functional.l1_loss(centre(p), centre(t))),
}


@dataclass(frozen=True)
class Choice:
    """The settings of one training. None stands for the recipe's value.

    Attributes:
        patches: Number of training patches.
        batch_size: Number of patches in a batch.
        steps: Number of optimiser steps.
        loss: One of `LOSSES`.
        residual_blocks: Number of residual blocks.
        features: Number of features of each convolution.
        seed: Random seed of patches, of their order and of the weights.
        initialisation: Initial weights.
        learning_rate: Highest learning rate.
        weight_decay: Decay of the weights.
        mixup: Parameter of the mixing of patches.
        frozen: Number of convolutions that are not trained.
    """

    patches: int
    batch_size: int | None
    steps: int | None
    loss: str
    residual_blocks: int
    features: int
    seed: int
    initialisation: str | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    mixup: float | None = None
    frozen: int | None = None

    def settings(self, parent: Parent | None, count: int) -> TrainingSettings:
        """The recipe's settings for this number of patches, with the values that are chosen here."""
        names = ("batch_size", "initialisation", "learning_rate", "weight_decay", "mixup", "frozen")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        recipe = shipped_settings(**({} if parent is None else {"pretrained": "parent"})).for_patches(count)
        return replace(recipe, **given)


def train(data: StudyData, choice: Choice, parent: Parent | None) -> tuple[StudyNetwork, int, int, float]:
    """Train one network.

    Returns:
        The network, its batch size, its number of steps, and how many seconds the training took.
    """
    scaling = RobustScaling.fit(data.training, data.protocol.weights)
    if parent is not None:
        scaling = parent.sidecar.scaling.with_targets_of(data.training)
    centres = sample_centres(data.training, choice.patches, choice.seed)
    dataset = PatchDataset(
        data.training, centres, scaling.training_coefficients(data.training), scaling.target_max, target_min=scaling.target_min
    )
    settings = choice.settings(parent, len(dataset))
    torch.manual_seed(choice.seed)
    plain = MRHNet(len(data.protocol), choice.features, choice.residual_blocks, initialisation=settings.initialisation)
    start = start_from_parent(plain, parent, data.protocol.names, frozen=settings.frozen, replaced=settings.replaced)
    network: nn.Module = fold(start.network, CORONAL_PATCH.width)
    steps = choice.steps or settings.epochs * max(len(dataset) // settings.batch_size, settings.least_steps)
    optimizer = make_optimizer(network, settings.optimizer_options, start.replaced)
    schedule = make_schedule(optimizer, settings.schedule, 1, steps)
    augmentation = Augmentation(settings.mirror, settings.mixup)
    batches = PatchBatches(dataset, settings.batch_size, True, choice.seed, steps, augmentation)
    loss = KnownLabels(LOSSES[choice.loss])
    network.train()
    began = time.process_time()
    for _, batch in zip(range(steps), batches, strict=False):
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss(network(batch["image"]), batch["label"]))
        optimizer.step()
        schedule.step()
    seconds = time.process_time() - began
    return StudyNetwork(network, scaling, CORONAL_PATCH, len(dataset)), settings.batch_size, steps, seconds


def scores(trained: StudyNetwork, subject: SubjectInMemory) -> dict[str, float]:
    """Return R2, RMSE and the standard deviation of the predictions, on voxels drawn from a subject."""
    mask = drawn(subject, subject.scored)
    assert subject.target is not None
    pair = StainPair(trained.predict(subject, mask), subject.target.astype(np.float64), mask)
    deviation = pair.t.std()
    return {"r2": r2(pair.p, pair.t), "rmse": rmse(pair.p, pair.t) / deviation, "spread": pair.p.std() / deviation}


def drawn(subject: SubjectInMemory, where: np.ndarray) -> np.ndarray:
    """Return a mask of up to 20,000 voxels."""
    mask = np.zeros(subject.mask.shape, bool)
    mask.flat[np.random.default_rng(0).permutation(np.flatnonzero(where))[:SCORED_VOXELS]] = True
    return mask


def drop(trained: StudyNetwork, wild: SubjectInMemory, mutant: SubjectInMemory) -> float:
    """Return the predicted loss of mean stain in white matter, divided by the true loss; NaN if the mutant has kept its stain."""
    assert wild.target is not None
    assert mutant.target is not None
    where = drawn(wild, wild.scored & (wild.target > np.percentile(wild.target[wild.scored], WHITE_MATTER)))
    lost = wild.target[where].mean(dtype=float) - mutant.target[where].mean(dtype=float)
    found = trained.predict(wild, where)[where].mean(dtype=float) - trained.predict(mutant, where)[where].mean(dtype=float)
    return found / lost if abs(lost) > 1e-6 else float("nan")


def search(
    data: StudyData, choices: Iterator[Choice], out: Path, parent: Parent | None = None, mutant: SubjectInMemory | None = None
) -> None:
    """Measure every choice that the CSV file does not have."""
    rows = list(csv.DictReader(out.open())) if out.exists() else []
    names = list(Choice.__dataclass_fields__)
    done = {tuple(row[f"given_{name}"] for name in names) for row in rows}
    for choice in choices:
        given = {f"given_{name}": "" if value is None else str(value) for name, value in asdict(choice).items()}
        if tuple(given.values()) in done:
            continue
        trained, batch_size, steps, seconds = train(data, choice, parent)
        each = [scores(trained, subject) for subject in data.test]
        row: dict[str, Any] = given | {"batch_size": batch_size, "steps": steps, "parent": parent is not None}
        row |= {key: float(np.mean([one[key] for one in each])) for key in each[0]}
        row |= {"drop": drop(trained, data.test[0], mutant) if mutant is not None else "", "seconds": seconds}
        with out.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, row)
            if not stream.tell():
                writer.writeheader()
            writer.writerow(row)
        shown = {name: value for name, value in row.items() if value != ""}
        print(*(f"{name}={value:.4f}" if isinstance(value, float) else f"{name}={value}" for name, value in shown.items()), flush=True)


def combinations(arguments: argparse.Namespace) -> Iterator[Choice]:
    """Return every combination of what was given, the seeds outermost."""
    names = [name for name in Choice.__dataclass_fields__ if name != "seed"]
    for seed in arguments.seed:
        for values in itertools.product(*(getattr(arguments, name) for name in names)):
            yield Choice(seed=seed, **dict(zip(names, values, strict=True)))


def parse() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datalist", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--patches", type=int, nargs="+", default=[20_000])
    parser.add_argument("--batch-sizes", dest="batch_size", type=int, nargs="+", default=[None])
    parser.add_argument("--steps", type=int, nargs="+", default=[None])
    parser.add_argument("--losses", dest="loss", nargs="+", default=["l1"], choices=LOSSES)
    parser.add_argument("--residual-blocks", type=int, nargs="+", default=[2])
    parser.add_argument("--features", type=int, nargs="+", default=[64])
    parser.add_argument("--initialisations", dest="initialisation", nargs="+", default=[None])
    parser.add_argument("--seeds", dest="seed", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--learning-rates", dest="learning_rate", type=float, nargs="+", default=[None])
    parser.add_argument("--weight-decays", dest="weight_decay", type=float, nargs="+", default=[None])
    parser.add_argument("--mixups", dest="mixup", type=float, nargs="+", default=[None])
    parser.add_argument("--frozen", type=int, nargs="+", default=[None])
    parser.add_argument("--parent", type=Path, help="bundle or .pt file of the parent; without it, training starts from scratch")
    parser.add_argument("--mutant", type=Path, help="datalist whose first subject of `test` lacks myelin")
    parser.add_argument("--align", action="store_true", help="first align the training stains, as `--align auto` does")
    return parser


def main() -> None:
    """Measure every row that is missing."""
    arguments = parse().parse_args()
    logging.disable(logging.INFO)
    protocol = MRProtocol.from_metadata(BUNDLE / "configs" / "metadata.json")
    data = load_study_data(arguments.datalist, protocol)
    if arguments.align:
        data = aligned(data)
    parent = load_parent(str(arguments.parent), BUNDLE) if arguments.parent else None
    mutant = load_study_data(arguments.mutant, protocol).test[0] if arguments.mutant else None
    search(data, combinations(arguments), arguments.out, parent, mutant)


def aligned(data: StudyData) -> StudyData:
    """Return the same data, its training stains aligned if the trial passes."""
    alignment = align_stains(data.training, RobustScaling.fit(data.training, data.protocol.weights), 0)
    print(alignment.summary, flush=True)
    return replace(data, training=tuple(alignment.subjects))


if __name__ == "__main__":
    main()
