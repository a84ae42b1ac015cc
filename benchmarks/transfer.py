"""Measure R2 against the number of patches: for training from scratch, and from the AF network by each of the transfer recipes.

    python benchmarks/transfer.py KIT AF_BUNDLE OUT [--stains NF MBP] [--patches 100 250 1000 4000 16000 40000] [--seeds 5]
        [--methods scratch paper released fast] [--iterations N] [--mutant KIT_OF_SHIVERERS] [--draw]

KIT has the folders subject01 to subject07 and targets/<STAIN>.img. Subjects 1 to 5 train, 6 validates, and 7 is scored on 20,000 of its
voxels. All methods see the same patches in the same number of optimiser steps (those of the bundle's `fast` recipe, or `--iterations`), and
keep the epoch that validates best. Training from scratch uses the same augmentation. Up to 1,000 patches all seeds are run, with more
patches two.

With `--mutant`, subject07 of that other kit is predicted too; it lacks most of its myelin. `drop` is the share of the true loss of stain
that is predicted in white matter, that is, where the wild type's stain is above its 90th percentile (20,000 of these voxels).

Rows are appended to OUT/transfer.csv, so that an interrupted run continues where it stopped. `--draw` only draws OUT/transfer.png and
prints the table.
"""

from __future__ import annotations

import argparse
import copy
import csv
import logging
import time
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser

from mrh_monai import MRH_NET, MRHNet
from mrh_monai.bundle import TrainingSettings, shipped_settings
from mrh_monai.data import ReadingOptions, SubjectInMemory, load_subjects
from mrh_monai.evaluation import r2, rmse
from mrh_monai.patches import Augmentation, PatchBatches, PatchDataset, sample_centres
from mrh_monai.subjects import find_subject
from mrh_monai.training import Parent, load_parent, make_optimizer, make_schedule, seed_everything, start_from_parent

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "mrh_nf"
METHODS = ("scratch", "paper", "released", "fast")
FIELDS = ("stain", "patches", "seed", "method", "steps", "r2", "rmse", "drop", "seconds")
TEST_VOXELS, VALIDATION_PATCHES, FEW = 20_000, 2000, 1000
WHITE_MATTER = 90  # percentile of the wild type's stain in the mask, above which a voxel is white matter


def settings_of(method: str) -> TrainingSettings:
    """Return the settings of a method, as the shipped bundles have them."""
    return shipped_settings() if method == "scratch" else shipped_settings(method, pretrained="parent")


def run(
    method: str, parent: Parent, sets: dict[str, PatchDataset], seed: int, iterations: int | None = None
) -> tuple[float, float, float, int]:
    """Train one network by one method.

    Args:
        method: One of `METHODS`.
        parent: The AF network.
        sets: Patches to train and to validate on, and the voxels that are scored, by name.
        seed: Random seed of the weights and of the order of the patches.
        iterations: Number of optimiser steps; None for those of the `fast` recipe.

    Returns:
        R2 and RMSE (as a share of the range) on the test voxels, the share of the mutant's loss (NaN without a mutant), and the number of
        optimiser steps.
    """
    count = len(sets["train"])
    fast, settings = (settings_of(name).for_patches(count) for name in ("fast", method))
    seed_everything(seed)
    network = MRHNet(len(MRH_NET), residual_blocks=parent.sidecar.residual_blocks, initialisation=settings.initialisation)
    start = start_from_parent(
        network,
        None if method == "scratch" else parent,
        MRH_NET.names,
        frozen=settings.frozen,
        replaced=settings.replaced,
    )
    network = start.network
    epochs, steps = fast.epochs, max(count // fast.batch_size, fast.least_steps)
    if iterations is not None:
        steps = max(count // settings.batch_size, 1)
        epochs = -(-iterations // steps)
    augmentation = Augmentation(settings.mirror, settings.mixup)
    batches = PatchBatches(sets["train"], settings.batch_size, shuffle=True, seed=seed, least=steps, augmentation=augmentation)
    optimizer = make_optimizer(network, settings.optimizer_options, head=start.replaced)
    schedule = make_schedule(optimizer, settings.schedule, epochs, steps)
    loss = ConfigParser({"imports": ["$import torch", "$import mrh_monai"], "loss": settings.loss}).get_parsed_content("loss")
    best, best_state = float("inf"), network.state_dict()
    for epoch in range(1, epochs + 1):
        batches.epoch = epoch
        network.train()
        for batch, _ in zip(batches, range(steps), strict=False):
            optimizer.zero_grad()
            loss(network(batch["image"]), batch["label"]).backward()
            optimizer.step()
            schedule.step()
        validation = rmse(*predicted(network, sets["validation"]))
        if validation < best:
            best, best_state = validation, copy.deepcopy(network.state_dict())
    network.load_state_dict(best_state)
    pair = predicted(network, sets["test"])
    drop = predicted_loss(network, sets) if "mutant" in sets else float("nan")
    return r2(*pair), rmse(*pair), drop, epochs * steps


def predicted_loss(network: torch.nn.Module, sets: dict[str, PatchDataset]) -> float:
    """Return the predicted loss of mean stain from wild type to mutant, divided by the true loss; NaN if the mutant has kept its stain."""
    wild, mutant = (predicted(network, sets[name]) for name in ("wild", "mutant"))
    lost = wild[1].mean() - mutant[1].mean()
    return float((wild[0].mean() - mutant[0].mean()) / lost) if lost else float("nan")


@torch.inference_mode()
def predicted(network: torch.nn.Module, dataset: PatchDataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre voxels (N,) of prediction and target."""
    network.eval()
    pairs = [(network(batch["image"])[:, 0, 1, 1], batch["label"][:, 0, 1, 1]) for batch in PatchBatches(dataset, 4096)]
    return torch.cat([p for p, _ in pairs]).numpy(), torch.cat([t for _, t in pairs]).numpy()


def measure(arguments: argparse.Namespace) -> None:
    """Run every combination that the CSV file does not yet have."""
    path = arguments.out / "transfer.csv"
    done = {(row["stain"], int(row["patches"]), int(row["seed"]), row["method"]) for row in read(path)}
    parent = load_parent(arguments.bundle, BUNDLE)
    assert parent is not None
    for stain in arguments.stains:
        parts = {"train": (arguments.kit, range(1, 6)), "validation": (arguments.kit, [6]), "test": (arguments.kit, [7])}
        if arguments.mutant:
            parts["mutant"] = (arguments.mutant, [7])
        loaded = {
            part: load_subjects(
                [find_subject(kit / f"subject{i:02d}", target=f"targets/{stain}.img") for i in ids],
                MRH_NET,
                ReadingOptions(need_target=True),
            )
            for part, (kit, ids) in parts.items()
        }
        factors = {part: [parent.sidecar.scaling.coefficients(s, s.mask) for s in subjects] for part, subjects in loaded.items()}
        target_max = float(max(s.target[s.mask].max() for s in loaded["train"]))

        def dataset(part: str, count: int, seed: int, loaded=loaded, factors=factors, target_max=target_max) -> PatchDataset:
            return PatchDataset(loaded[part], sample_centres(loaded[part], count, seed), factors[part], target_max)

        fixed = {"validation": dataset("validation", VALIDATION_PATCHES, 1), "test": dataset("test", TEST_VOXELS, 2)}
        if arguments.mutant:
            centres = white_matter(loaded["test"][0])
            for part, name in (("test", "wild"), ("mutant", "mutant")):
                fixed[name] = PatchDataset(loaded[part], centres, factors[part], target_max)
        for count in arguments.patches:
            for seed in range(arguments.seeds if count <= FEW else min(arguments.seeds, 2)):
                sets = {"train": dataset("train", count, 100 + seed), **fixed}
                for method in arguments.methods:
                    if (stain, count, seed, method) in done:
                        continue
                    started = time.perf_counter()
                    score, error, drop, steps = run(method, parent, sets, seed, arguments.iterations)
                    seconds = time.perf_counter() - started
                    row = (stain, count, seed, method, steps, f"{score:.5f}", f"{error:.5f}", f"{drop:.4f}", f"{seconds:.1f}")
                    with open(path, "a", newline="") as file:
                        writer = csv.writer(file)
                        if file.tell() == 0:
                            writer.writerow(FIELDS)
                        writer.writerow(row)
                    print(*row, flush=True)


def white_matter(subject: SubjectInMemory) -> np.ndarray:
    """Return up to 20,000 voxels of white matter, (N, 4): subject index 0, x, y, z."""
    threshold = np.percentile(subject.target[subject.mask], WHITE_MATTER)
    voxels = np.argwhere(subject.mask & (subject.target > threshold))
    chosen = np.random.default_rng(0).permutation(len(voxels))[:TEST_VOXELS]
    return np.pad(voxels[np.sort(chosen)], ((0, 0), (1, 0)))


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file; no rows if it does not exist."""
    return list(csv.DictReader(path.open())) if path.is_file() else []


def mean_and_spread(values: list[float]) -> tuple[float, float]:
    """Return mean and standard deviation; the latter is 0 for a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def draw(out: Path) -> None:
    """Draw the picture, and print the table of means and standard deviations over seeds."""
    from matplotlib.figure import Figure

    rows = [row for path in sorted(out.glob("transfer*.csv")) for row in read(path)]
    stains = sorted({row["stain"] for row in rows}, reverse=True)
    figure = Figure(figsize=(5 * len(stains), 3.8), layout="constrained")
    axes = figure.subplots(1, len(stains), squeeze=False)[0]
    colours = dict(zip(METHODS, ("#888888", "#c47f17", "#1f8a70", "#1f5fa8"), strict=True))
    for axis, stain in zip(axes, stains, strict=True):
        counts = sorted({int(row["patches"]) for row in rows if row["stain"] == stain})
        for method in METHODS:
            points = []
            for count in counts:
                chosen = [r for r in rows if (r["stain"], int(r["patches"]), r["method"]) == (stain, count, method)]
                if chosen:
                    (mean, spread), drop = (mean_and_spread([float(row[key]) for row in chosen]) for key in ("r2", "drop"))
                    points.append((count, mean, spread))
                    print(f"| {stain} | {count} | {method} | {len(chosen)} | {mean:.3f} ± {spread:.3f} | {drop[0]:.2f} ± {drop[1]:.2f} |")
            if not points:
                continue
            x, y, spread = zip(*points, strict=True)
            axis.errorbar(x, y, spread, label=method, color=colours[method], marker="o", markersize=3, capsize=2)
        axis.set(xscale="log", xlabel="patches", ylabel="R2 on the unseen subject", title=stain)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(out / "transfer.png", dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kit", type=Path, help="folder of the subjects")
    parser.add_argument("bundle", type=Path, help="bundle with the trained AF network")
    parser.add_argument("out", type=Path, help="folder for the results")
    parser.add_argument("--stains", nargs="+", default=["NF", "MBP"], help="stains to train, as in targets/<STAIN>.img")
    parser.add_argument("--patches", type=int, nargs="+", default=[100, 250, 1000, 4000, 16000, 40000], help="numbers of training patches")
    parser.add_argument("--seeds", type=int, default=5, help="number of random seeds")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS, help="methods to compare")
    parser.add_argument(
        "--iterations",
        type=int,
        help="number of optimiser steps of every method, in epochs of its own batches; those of `fast` if not given",
    )
    parser.add_argument("--mutant", type=Path, help="folder of a kit of shiverers, whose subject07 is predicted")
    parser.add_argument("--draw", action="store_true", help="only draw the picture and print the table")
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not arguments.draw:
        measure(arguments)
    draw(arguments.out)


if __name__ == "__main__":
    main()
