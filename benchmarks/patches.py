"""Measure how many patches a second the patch dataset gathers, and compare it with `RandSpatialCropSamplesd`, on one whole subject.

    python benchmarks/patches.py [SUBJECT_DIR] [--target FILE] [--seconds 3] [-o FILE.json]

Without a subject, a digital mouse brain (96 x 24 x 64) is made in memory. Both routes return dictionaries with `image` (67 channels) and
`label`, 3x3 voxels in the coronal plane, in the dtype of the files. For both routes the volumes are already in memory. The routes take
turns in one process, in five rounds; the result is the ratio of the medians. A second figure includes what training also needs: the
conversion to float32, and scaling.
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

from mrh_monai import MRH_NET, SubjectArrays
from mrh_monai.data import ReadingOptions, SubjectInMemory, load_subject
from mrh_monai.patches import PatchDataset
from mrh_monai.phantom import make_subject
from mrh_monai.scaling import Coefficients
from mrh_monai.subjects import find_subject

ROUNDS = 5
BATCH = 512


def load(folder: Path | None, target: str | None) -> SubjectInMemory:
    """Read a subject with its target into memory; without a folder make a digital mouse brain."""
    if folder is not None:
        return load_subject(find_subject(folder, target=target), MRH_NET, ReadingOptions(need_target=True))
    made = make_subject(0)
    arrays = SubjectArrays(made.image, made.mask, np.eye(4), target=made.stains["af"], name=made.name)
    return load_subject(arrays, MRH_NET, ReadingOptions(need_target=True))


def rate(step: Callable[[], int], seconds: float) -> float:
    """Return the number of patches a second over some time.

    Args:
        step: Function that gathers patches and returns their number.
        seconds: How long to repeat it.
    """
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        done += step()
    return done / elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", type=Path, nargs="?", help="folder of a subject; a digital mouse brain if not given")
    parser.add_argument("--target", help="file of the stain in this folder or beside it; needed with a folder")
    parser.add_argument("--seconds", type=float, default=3, help="seconds for each route, all rounds together")
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    subject = load(arguments.subject, arguments.target)
    # A crop of 3 x 1 x 3 voxels is a 3x3 patch of a coronal slice.
    whole = {
        "image": torch.from_numpy(np.ascontiguousarray(subject.image.transpose(3, 0, 1, 2))),
        "label": torch.from_numpy(np.ascontiguousarray(subject.target[None])),
    }
    voxels = np.argwhere(subject.mask)
    centres = np.column_stack([np.zeros(len(voxels), np.int64), voxels])
    dataset = PatchDataset([subject], centres, [Coefficients(np.ones(67, np.float32), np.zeros(67, np.float32))])
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
