"""Patches per second of the patch dataset against `RandSpatialCropSamplesd`, on one whole subject.

    python benchmarks/patches.py [SUBJECT_DIR] [--target FILE] [--seconds 3] [-o FILE.json]

Without a subject, one of the digital mouse brain (96 x 24 x 64) is made in memory. Both routes give dictionaries with `image` (67 channels)
and `label`, 3x3 in the coronal plane, in the dtype of the files; the volumes are in memory beforehand for both. They take turns in one
process, five rounds each; the ratio of the medians counts. A second figure adds what training needs besides: float32 and scaling.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from monai.transforms import RandSpatialCropSamplesd

from mrh_monai.data import LoadedSubject, find_subject, load_subject
from mrh_monai.patches import PatchDataset
from mrh_monai.phantom import make_subject
from mrh_monai.protocol import MRH_NET

ROUNDS = 5
BATCH = 512


def load(folder: Path | None, target: str | None) -> LoadedSubject:
    if folder is not None:
        return load_subject(find_subject(folder, target=target), MRH_NET, need_target=True)
    made = make_subject(0)
    # As `load_subjects` leaves a subject: coronal slices outermost, channels innermost, a margin of one voxel.
    padded = np.pad(made.image, [(1, 1)] * 3 + [(0, 0)])
    padded = np.ascontiguousarray(padded.transpose(1, 0, 2, 3)).transpose(1, 0, 2, 3)
    return LoadedSubject(made.name, padded, 1, made.mask.astype(bool), made.stains["af"], made.fa, np.eye(4))


def rate(step: Callable[[], int], seconds: float) -> float:
    """Patches a second over some time."""
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        done += step()
    return done / elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", type=Path, nargs="?")
    parser.add_argument("--target")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    subject = load(arguments.subject, arguments.target)
    # Crops of 3 x 1 x 3 voxels are 3x3 patches of a coronal slice.
    whole = {
        "image": torch.from_numpy(np.ascontiguousarray(subject.image.transpose(3, 0, 1, 2))),
        "label": torch.from_numpy(np.ascontiguousarray(subject.target[None])),
    }
    voxels = np.argwhere(subject.mask)
    centres = np.column_stack([np.zeros(len(voxels), np.int64), voxels])
    dataset = PatchDataset([subject], centres, [(np.ones(67, np.float32), np.zeros(67, np.float32))])
    generator = torch.Generator().manual_seed(0)

    def gather() -> int:
        chosen = torch.randint(len(centres), (BATCH,), generator=generator)
        image = dataset.images.gather(dataset.image_strips[chosen])
        label = dataset.labels.gather(dataset.label_strips[chosen])
        return len({"image": image, "label": label}["image"])

    def gather_scaled() -> int:
        return len(dataset.batch(torch.randint(len(centres), (BATCH,), generator=generator))["image"])

    routes: dict[str, Callable[[], int]] = {"gather": gather, "gather, float32 and scaled": gather_scaled}
    for samples in (1, 64, 512):
        crop = RandSpatialCropSamplesd(keys=("image", "label"), roi_size=(3, 1, 3), num_samples=samples, random_size=False)
        routes[f"RandSpatialCropSamplesd, num_samples {samples}"] = lambda crop=crop: len(crop(whole))  # type: ignore[misc]
    rates: dict[str, list[float]] = {name: [] for name in routes}
    for step in routes.values():
        step()
    for _ in range(ROUNDS):
        for name, step in routes.items():
            rates[name].append(rate(step, arguments.seconds / ROUNDS))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(f"{subject.name}: {subject.image.shape}, {subject.image.dtype}, {torch.get_num_threads()} threads\n")
    ratios = {}
    for name, value in medians.items():
        line = f"{name:44}{value:14,.0f} patches/s"
        if name.startswith("Rand"):
            ratios[name] = medians["gather"] / value
            line += f"   gather is {ratios[name]:7.1f} x as fast, scaled {medians['gather, float32 and scaled'] / value:7.1f} x"
        print(line)
    print(f"\nlowest ratio: {min(ratios.values()):.1f}")
    if arguments.output:
        arguments.output.write_text(json.dumps({"rates": medians, "ratios": ratios}, indent=2) + "\n")


if __name__ == "__main__":
    main()
