"""R2 against the number of patches: from scratch, and from the AF network by each of the transfer recipes.

    python benchmarks/transfer.py KIT AF_BUNDLE OUT [--stains NF MBP] [--patches 100 250 1000 4000 16000 40000] [--seeds 5]
        [--methods scratch paper released fast] [--iterations N] [--mutant KIT_OF_SHIVERERS] [--draw]

KIT has subject01 to subject07 and targets/<STAIN>.img; 1 to 5 train, 6 validates, 7 is scored on 20,000 of its voxels. All methods see the
same patches in the same number of optimiser steps, those of the bundle's `fast` recipe or `--iterations`, and keep the epoch that validates
best; scratch has the same augmentation. Up to 1,000 patches all seeds are run, above two. With `--mutant` subject07 of that kit, which
lacks most of its myelin, is predicted too: `drop` is the share of the true loss of stain that is predicted in white matter, that is, where
the wild type's stain is above its 90th percentile (20,000 of its voxels). Rows are appended to OUT/transfer.csv, so that an interrupted run
goes on; `--draw` only draws OUT/transfer.png and prints the table.
"""

from __future__ import annotations

import argparse
import copy
import csv
import logging
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import yaml
from monai.bundle import ConfigParser

from mrh_monai.bundle import tuned
from mrh_monai.data import LoadedSubject, find_subject, load_subjects
from mrh_monai.evaluation import r2, rmse
from mrh_monai.network import MRHNet
from mrh_monai.patches import Augmentation, PatchBatches, PatchDataset, sample_centres
from mrh_monai.protocol import MRH_NET
from mrh_monai.training import Parent, load_parent, make_optimizer, make_schedule, seed_everything, start_from

CONFIG = Path(__file__).resolve().parents[1] / "bundles" / "mrh_nf" / "configs" / "train.yaml"
METHODS = ("scratch", "paper", "released", "fast")
FIELDS = ("stain", "patches", "seed", "method", "steps", "r2", "rmse", "drop", "seconds")
TEST_VOXELS, VALIDATION_PATCHES, FEW = 20_000, 2000, 1000
WHITE_MATTER = 90  # percentile of the wild type's stain in the mask


def recipe_of(method: str) -> dict:
    """A method's settings as the shipped config has them."""
    config = yaml.safe_load(CONFIG.read_text())
    if method == "scratch":
        return config["recipes"]["fast"]
    recipe = {**config["recipes"][method], **config["transfers"][method]}
    return {**recipe, "few": recipe["few"] or {}}


def run(
    method: str, parent: Parent, sets: dict[str, PatchDataset], seed: int, iterations: int | None = None
) -> tuple[float, float, float, int]:
    """R2 and RMSE (of the range) on the test voxels, the share of the mutant's loss (NaN without one), and the optimiser steps."""
    count, fast = len(sets["train"]), recipe_of("fast")
    recipe = tuned(SimpleNamespace(**recipe_of(method)), count)
    seed_everything(seed)
    network = MRHNet(len(MRH_NET), residual_blocks=parent.sidecar.residual_blocks, initialisation=recipe.initialisation)
    head: list[str] = []
    if method != "scratch":
        network, lineage = start_from(network, parent, MRH_NET.names, frozen=recipe.frozen, replaced=recipe.replaced)
        head = lineage["replaced"]
    epochs, steps = fast["epochs"], max(count // fast["batch_size"], fast["least_steps"])
    if iterations is not None:
        steps = max(count // recipe.batch_size, 1)
        epochs = -(-iterations // steps)
    augmentation = Augmentation(recipe.mirror, recipe.mixup)
    batches = PatchBatches(sets["train"], recipe.batch_size, shuffle=True, seed=seed, least=steps, augmentation=augmentation)
    optimizer = make_optimizer(
        network, recipe.optimizer, float(recipe.learning_rate), recipe.weight_decay, clip_norm=recipe.clip_norm, head=head,
        head_factor=recipe.head_factor,
    )  # fmt: skip
    schedule = make_schedule(optimizer, recipe.schedule, epochs, steps)
    loss = ConfigParser({"imports": ["$import torch"], "loss": recipe.loss}).get_parsed_content("loss")
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
    """The mean stain lost from wild type to mutant as predicted, divided by the true one; NaN for a stain that the mutant has kept."""
    wild, mutant = (predicted(network, sets[name]) for name in ("wild", "mutant"))
    lost = wild[1].mean() - mutant[1].mean()
    return float((wild[0].mean() - mutant[0].mean()) / lost) if lost else float("nan")


@torch.inference_mode()
def predicted(network: torch.nn.Module, dataset: PatchDataset) -> tuple[np.ndarray, np.ndarray]:
    """Centre voxels of prediction and target."""
    network.eval()
    pairs = [(network(batch["image"])[:, 0, 1, 1], batch["label"][:, 0, 1, 1]) for batch in PatchBatches(dataset, 4096)]
    return torch.cat([p for p, _ in pairs]).numpy(), torch.cat([t for _, t in pairs]).numpy()


def measure(arguments: argparse.Namespace) -> None:
    """Run what the CSV does not yet have."""
    path = arguments.out / "transfer.csv"
    done = {(row["stain"], int(row["patches"]), int(row["seed"]), row["method"]) for row in read(path)}
    parent = load_parent(arguments.bundle, CONFIG.parents[1])
    for stain in arguments.stains:
        parts = {"train": (arguments.kit, range(1, 6)), "validation": (arguments.kit, [6]), "test": (arguments.kit, [7])}
        if arguments.mutant:
            parts["mutant"] = (arguments.mutant, [7])
        loaded = {
            part: load_subjects(
                [find_subject(kit / f"subject{i:02d}", target=f"targets/{stain}.img") for i in ids], MRH_NET, need_target=True
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


def white_matter(subject: LoadedSubject) -> np.ndarray:
    """(N, 4) subject index 0, x, y, z of up to 20,000 voxels of white matter."""
    threshold = np.percentile(subject.target[subject.mask], WHITE_MATTER)
    voxels = np.argwhere(subject.mask & (subject.target > threshold))
    chosen = np.random.default_rng(0).permutation(len(voxels))[:TEST_VOXELS]
    return np.pad(voxels[np.sort(chosen)], ((0, 0), (1, 0)))


def read(path: Path) -> list[dict[str, str]]:
    """The rows so far."""
    return list(csv.DictReader(path.open())) if path.is_file() else []


def mean_and_spread(values: list[float]) -> tuple[float, float]:
    """Mean and standard deviation, 0 for one value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def draw(out: Path) -> None:
    """The picture, and the table of means and standard deviations over seeds."""
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
    parser.add_argument("kit", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stains", nargs="+", default=["NF", "MBP"])
    parser.add_argument("--patches", type=int, nargs="+", default=[100, 250, 1000, 4000, 16000, 40000])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--iterations", type=int, help="of every method, in epochs of its own batches; default: those of `fast`")
    parser.add_argument("--mutant", type=Path, help="a kit of shiverers; its subject07 is predicted")
    parser.add_argument("--draw", action="store_true")
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not arguments.draw:
        measure(arguments)
    draw(arguments.out)


if __name__ == "__main__":
    main()
