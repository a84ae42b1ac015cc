"""Measure what intervals hold on subjects that neither training nor calibration has seen.

    python benchmarks/intervals.py DIR/datalist.json OUT.csv [--seeds 0 1] [--patches 20000] [--residual-blocks 5] [--mutant DATALIST]

The subjects of `training` train a network and its interval head, those of `validation` say how wide intervals must be, and those of `test`
are judged on 20,000 voxels each. OUT.csv gets a row for each of them: the share of its voxels that their interval holds; the interval
score, which is the width plus 20 times the distance of those outside, as a mean, in the stain's units; the rank correlation of the width
with the size of the error; and share and score of intervals of one width, the largest that a subject of `validation` needs. With
`--mutant`, the subjects of `test` in that other datalist are judged too. A row that OUT.csv has already is not measured again; give each
datalist a file of its own.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from mrh_monai.data import SubjectInMemory
from mrh_monai.intervals import draw_interval_data, features_and_errors
from mrh_monai.network import LEVEL
from mrh_monai.patch_geometry import CORONAL_PATCH
from mrh_monai.patches import PatchDataset, sample_centres
from mrh_monai.protocol import MRH_NET
from mrh_monai.scaling import RobustScaling
from mrh_monai.studies import TrainingEffort, load_study_data, train_study_network

VOXELS = 20_000


def interval_score(errors: np.ndarray, reach: np.ndarray | float) -> float:
    """Return the mean interval score of intervals from -reach to reach around errors (Gneiting and Raftery, JASA 2007;102:359)."""
    return float(np.mean(2 * reach + 2 / (1 - LEVEL) * np.clip(np.abs(errors) - reach, 0, None)))


def patches_of(subjects: Sequence[SubjectInMemory], scaling: RobustScaling, count: int, trains: bool = False) -> PatchDataset:
    """Return patches around voxels drawn from subjects."""
    coefficients = scaling.training_coefficients(subjects) if trains else [scaling.coefficients(each, each.mask) for each in subjects]
    centres = sample_centres(subjects, count, 5)
    return PatchDataset(subjects, centres, coefficients, scaling.target_max, CORONAL_PATCH, scaling.target_min)


def measure(arguments: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    """Train one network, and return the row of each subject that is judged."""
    data = load_study_data(arguments.datalist, MRH_NET)
    held = load_study_data(arguments.datalist, MRH_NET, "validation").test
    effort = TrainingEffort(arguments.patches, arguments.steps, arguments.residual_blocks, seed, batch_size=64)
    trained = train_study_network(data.training, MRH_NET, effort)
    scaling = trained.scaling
    used = sample_centres(data.training, arguments.patches, seed)
    parts = patches_of(data.training, scaling, 100, trains=True), data.training, used, patches_of(held, scaling, 100), held
    fitted = draw_interval_data(*parts, seed, CORONAL_PATCH).fit(trained.network)
    assert fitted is not None
    head, calibration = fitted

    def judged(subject: SubjectInMemory) -> tuple[np.ndarray, np.ndarray]:
        features, errors = features_and_errors(trained.network, patches_of([subject], scaling, VOXELS))
        with torch.no_grad():
            expected = head(features.flatten(1))
        return errors.double().numpy(), expected.double().numpy()

    constant = max(float(np.quantile(np.abs(judged(subject)[0]), LEVEL)) for subject in held)
    mutants = () if arguments.mutant is None else load_study_data(arguments.mutant, MRH_NET).test
    rows = []
    for subject, mutant in [*((each, False) for each in data.test), *((each, True) for each in mutants)]:
        errors, expected = judged(subject)
        reach = calibration.multiplier * expected
        rows.append(
            {
                "seed": seed,
                "subject": subject.name,
                "mutant": mutant,
                "r2": 1 - float(np.var(errors) / np.var(subject.target[subject.scored] / scaling.target_range)),
                "held": float((np.abs(errors) <= reach).mean()),
                "score": scaling.target_range * interval_score(errors, reach),
                "rank": float(spearmanr(np.abs(errors), expected)[0]),
                "constant_held": float((np.abs(errors) <= constant).mean()),
                "constant_score": scaling.target_range * interval_score(errors, constant),
                "calibration": calibration.held,
            }
        )
    return rows


def main() -> None:
    """Measure every seed that is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datalist", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--patches", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=2504, help="optimiser steps of 64 patches; the default is that of the recipe fast")
    parser.add_argument("--residual-blocks", type=int, default=5)
    parser.add_argument("--mutant", type=Path, help="datalist of mutants, whose subjects of `test` are judged too")
    arguments = parser.parse_args()
    done = {row["seed"] for row in csv.DictReader(arguments.out.open())} if arguments.out.exists() else set()
    for seed in arguments.seeds:
        if str(seed) in done:
            continue
        rows = measure(arguments, seed)
        with arguments.out.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            if not stream.tell():
                writer.writeheader()
            writer.writerows(rows)
        for row in rows:
            print({name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}, flush=True)


if __name__ == "__main__":
    main()
