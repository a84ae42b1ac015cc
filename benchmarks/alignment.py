"""Measure what the alignment of training stains wins back: displace them, align them, train, and test on a stain that fits.

    python benchmarks/alignment.py DIR/datalist.json OUT.csv [--displacements 0 0.062 0.125 0.25] [--seeds 0 1 2] [--common]

The subjects of `training` are displaced; those of `test` must have stains that fit. Both networks of a row take the same steps on patches
of the same voxels. A row that OUT.csv already has is not measured again; give each datalist a file of its own.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mrh_monai.alignment import align_stains
from mrh_monai.data import SubjectInMemory
from mrh_monai.protocol import MRProtocol
from mrh_monai.scaling import RobustScaling
from mrh_monai.studies import StudyData, TrainingEffort, load_study_data, score_study_network, train_study_network
from mrh_monai.studies.random_displacement import displacement_field, misregistered

METADATA = Path(__file__).resolve().parents[1] / "bundles" / "mrh_af" / "configs" / "metadata.json"


def measure(data: StudyData, rms_mm: float, seed: int, common: bool, effort: TrainingEffort) -> dict[str, Any]:
    """Return one row of the table.

    Args:
        data: Training subjects whose stains are displaced, and test subjects.
        rms_mm: Root mean square of the displacement in mm.
        seed: Random seed of the displacements and of the networks.
        common: Whether all training subjects have one displacement.
        effort: How the networks are trained.
    """
    seeds = [1000 * seed + (0 if common else index) for index in range(len(data.training))]
    displaced = [misregistered(subject, rms_mm, each) for subject, each in zip(data.training, seeds, strict=True)]
    start = time.monotonic()
    alignment = align_stains(displaced, RobustScaling.fit(displaced, data.protocol.weights), seed)
    seconds = time.monotonic() - start

    def r2(subjects: list[SubjectInMemory]) -> float:
        return score_study_network(train_study_network(subjects, data.protocol, effort), data.test)["r2"]

    original = r2(displaced)
    errors = [
        1000 * remaining_mm(subject, found, rms_mm, each)
        for subject, found, each in zip(data.training, alignment.displacements, seeds, strict=True)
    ]
    return {
        "displacement_mm": rms_mm,
        "seed": seed,
        "common": common,
        "steps": effort.steps,
        "patches": effort.patches,
        "residual_blocks": effort.residual_blocks,
        "original": original,
        "aligned": r2(list(alignment.subjects)) if alignment.is_moved else original,
        "moved": alignment.is_moved,
        "gain": alignment.trial.gain,
        "decoy_gain": alignment.trial.decoy_gain,
        "smallest_error_um": min(errors),
        "largest_error_um": max(errors),
        "seconds": seconds,
    }


def remaining_mm(subject: SubjectInMemory, found: np.ndarray, rms_mm: float, seed: int) -> float:
    """Return the root mean square, in mm, of how far a voxel still is from its stain: where it was displaced to, and brought back from."""
    applied = torch.zeros(2, *subject.mask.shape)
    if rms_mm:
        applied = displacement_field(subject.mask.shape, subject.spacing, rms_mm, np.random.default_rng(seed))
    x, y, z = np.nonzero(subject.mask)
    u = found[:, x, y, z]
    places = [np.clip(np.rint(axis + along / edge), 0, count - 1).astype(int) for axis, along, edge, count in (
        (x, u[0], subject.spacing[0], subject.mask.shape[0]), (z, u[1], subject.spacing[2], subject.mask.shape[2]),
    )]  # fmt: skip
    rest = u + applied.numpy()[:, places[0], y, places[1]]
    return float(np.sqrt((rest**2).sum(0).mean()))


def main() -> None:
    """Measure every row that is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datalist", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--displacements", type=float, nargs="+", default=[0.0, 0.062, 0.125, 0.25], help="root mean squares in mm")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--common", action="store_true", help="one displacement for all training subjects")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--patches", type=int, default=20_000)
    parser.add_argument("--residual-blocks", type=int, default=2)
    args = parser.parse_args()
    data = load_study_data(args.datalist, MRProtocol.from_metadata(METADATA))
    rows = list(csv.DictReader(args.out.open())) if args.out.exists() else []
    names = ("displacement_mm", "seed", "common", "steps", "patches", "residual_blocks")
    done = {tuple(row[name] for name in names) for row in rows}
    for seed in args.seeds:
        for rms_mm in args.displacements:
            if tuple(map(str, (rms_mm, seed, args.common, args.steps, args.patches, args.residual_blocks))) in done:
                continue
            effort = TrainingEffort(args.patches, args.steps, args.residual_blocks, seed)
            row = measure(data, rms_mm, seed, args.common, effort)
            with args.out.open("a", newline="") as stream:
                writer = csv.DictWriter(stream, row)
                if not stream.tell():
                    writer.writeheader()
                writer.writerow(row)
            print({name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}, flush=True)


if __name__ == "__main__":
    main()
