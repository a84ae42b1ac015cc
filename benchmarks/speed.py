"""Measure the speed of inference and training; give it as ratios to the plain routes and to the limit of the machine.

    python benchmarks/speed.py [SUBJECT_DIR] [--blocks 30] [--rounds 7] [--threads N] [-o FILE.json]

Every route has a process of its own, and all have the same number of threads. The routes take turns, one at a time, round after round, and
the results are medians. So whatever slows the machine for a while slows all routes. Without a subject, a digital mouse brain is made.

    inference   voxels of the brain mask a second. Our route is the whole way from the subject in memory to the predicted volume. The
                convolutions get patches that are already gathered and scaled, in the batch size that suits them best. MONAI's
                SlidingWindowInferer runs 3x3 windows at stride 1. It knows no mask, so only a share of its windows counts: the share
                of the volume that lies in the mask.
    training    patches a second through forward pass, backward pass and AdamW, in batches of 512
    gathering   our route, with a network that computes nothing
    peak        a product of two 2048 x 2048 matrices

"Share of limit" is the useful multiply-adds a second, divided by those of the peak at the same precision. Useful are those that the
definition needs: 49 of the 81 products of positions in a 3x3 patch, and one position of the last layer.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

    from mrh_monai import MRHNet
    from mrh_monai.data import PaddedImage, SubjectInMemory
    from mrh_monai.patches import PatchDataset

VOXELS = 4096
BATCH = 512
WINDOWS = (48, 48)
CANDIDATES = (256, 512, 1024, 2048)
PEAK_EDGE = 2048
CONVOLUTIONS = ("convolution", "convolution, channels last")
SLIDING = ("SlidingWindowInferer", "SlidingWindowInferer, channels last")
INFERENCE = ("ours", *CONVOLUTIONS, *SLIDING)
TRAINING = ("ours", *CONVOLUTIONS)


def routes(blocks: int) -> list[dict[str, Any]]:
    """Return every route with its task, name and precision; bf16 only where the processor computes in bf16."""
    precisions = ("float32", "bf16") if has_bf16() else ("float32",)
    found = [{"task": "peak", "name": "matrix product", "precision": p} for p in precisions]
    found += [{"task": "inference", "name": n, "precision": p} for p in precisions for n in INFERENCE if p == "float32" or n not in SLIDING]
    found += [{"task": "training", "name": n, "precision": p} for p in precisions for n in TRAINING]
    found += [{"task": "gathering", "name": n, "precision": "float32"} for n in ("for inference", "for training")]
    return [{**route, "blocks": blocks} for route in found]


def has_bf16() -> bool:
    """Return whether the processor has AMX or AVX512-BF16. Without them bf16 is computed in software and slower than float32."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    return "amx_bf16" in flags or "avx512_bf16" in flags


def useful_products(blocks: int, channels: int = 67, features: int = 64) -> int:
    """Return how many multiply-adds the centre voxel of one 3x3 patch needs."""
    return 49 * (channels * features + (2 * blocks + 2) * features**2) + 9 * features


def prepare(route: dict[str, Any], subject_dir: str | None) -> tuple[Callable[[], object], float]:
    """Return the work of one round, and how many voxels, patches or multiply-adds it computes."""
    # Only the processes of the routes import torch, not the process that starts them.
    import torch

    from mrh_monai.devices import in_precision

    precision = route["precision"]
    if route["task"] == "peak":
        a, b = (torch.randn(PEAK_EDGE, PEAK_EDGE).to(torch.bfloat16 if precision == "bf16" else torch.float32) for _ in range(2))
        return lambda: a @ b, PEAK_EDGE**3

    import numpy as np

    from mrh_monai import MRHNet
    from mrh_monai.data import PaddedImage
    from mrh_monai.inference import Computing, predict_volume
    from mrh_monai.network import fold
    from mrh_monai.patches import PatchBatches, PatchDataset, sample_centres
    from mrh_monai.scaling import Coefficients

    torch.manual_seed(0)
    subject = load(subject_dir)
    plain = MRHNet(67, residual_blocks=route["blocks"], initialisation="he")
    coefficients = Coefficients(np.full(67, 1e-3, np.float32), np.zeros(67, np.float32))
    mask = np.zeros_like(subject.mask)
    mask[tuple(np.argwhere(subject.mask)[:VOXELS].T)] = True
    dataset = PatchDataset([subject], sample_centres([subject], VOXELS, 0), [coefficients])

    def whole(network: torch.nn.Module) -> Callable[[], object]:
        return lambda: predict_volume(network, subject.slabs, mask, coefficients, computing=Computing(precision=precision))

    if route["name"] == "for inference":

        class Nothing(torch.nn.Module):
            def forward(self, patches: torch.Tensor) -> torch.Tensor:
                return patches[:, :1]

        return whole(Nothing()), mask.sum()
    if route["name"] == "for training":
        return lambda: [None for _ in PatchBatches(dataset, BATCH, shuffle=True)], VOXELS
    if route["task"] == "training":
        return training(route, plain, fold(plain, 3), dataset)
    if route["name"] == "ours":
        return whole(plain), mask.sum()
    if route["name"] in (CONVOLUTIONS[0], SLIDING[0]):
        plain = plain.to(memory_format=torch.contiguous_format)
    if route["name"] in SLIDING:
        return sliding(plain, PaddedImage(subject.image, 0), subject.mask)
    patches = dataset.batch(torch.arange(VOXELS))["image"]
    patches = patches.contiguous(memory_format=torch.channels_last if route["name"] == CONVOLUTIONS[1] else torch.contiguous_format)

    def convolve(size: int) -> None:
        with torch.inference_mode(), in_precision("cpu", precision):
            for start in range(0, VOXELS // 2, size):
                plain(patches[start : start + size])

    best = min(CANDIDATES, key=lambda size: seconds(lambda: convolve(size)))
    return lambda: convolve(best), VOXELS // 2


def load(subject_dir: str | None) -> SubjectInMemory:
    """Read a subject into memory, with its first image as a target, since speed does not depend on the target."""
    from dataclasses import replace

    from patches import load as load_with_target

    from mrh_monai import MRH_NET
    from mrh_monai.data import load_subject
    from mrh_monai.subjects import find_subject

    if subject_dir is None:
        return load_with_target(None, None)
    subject = load_subject(find_subject(subject_dir), MRH_NET)
    return replace(subject, target=subject.image[..., 0])


def training(route: dict[str, Any], plain: MRHNet, folded: torch.nn.Module, dataset: PatchDataset) -> tuple[Callable[[], object], float]:
    """Return the work of one training step on a batch in memory, and its number of patches."""
    import torch

    from mrh_monai.devices import in_precision

    network = folded if route["name"] == "ours" else plain
    if route["name"] == CONVOLUTIONS[0]:
        plain.to(memory_format=torch.contiguous_format)
    batch = dataset.batch(torch.arange(BATCH))
    image = batch["image"].contiguous(memory_format=torch.contiguous_format if route["name"] == CONVOLUTIONS[0] else torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-5)

    def step() -> None:
        optimizer.zero_grad()
        with in_precision("cpu", route["precision"]):
            loss = (network(image).float() - batch["label"]).abs().mean()
        loss.backward()
        optimizer.step()

    return step, BATCH


def sliding(network: MRHNet, image: PaddedImage, mask: np.ndarray) -> tuple[Callable[[], object], float]:
    """Return the work of MONAI's sliding window over part of the middle slice, and its number of useful voxels.

    The sliding window has no mask: it computes a window for every voxel of a volume.
    """
    import torch
    from monai.inferers import SlidingWindowInferer

    middle = image.shape[1] // 2
    x, z = (slice((size - edge) // 2, (size - edge) // 2 + edge) for size, edge in zip(image.shape[::2], WINDOWS, strict=True))
    part = torch.from_numpy(image.slab(middle, middle + 1)[x, 0, z].transpose(2, 0, 1)[None] * 1e-3).float()

    def run(size: int) -> None:
        with torch.inference_mode():
            SlidingWindowInferer((3, 3), size, overlap=2 / 3)(part, network)

    best = min(CANDIDATES, key=lambda size: seconds(lambda: run(size)))
    return lambda: run(best), WINDOWS[0] * WINDOWS[1] * float(mask.mean())


def seconds(work: Callable[[], object]) -> float:
    """Return the time of one round, after another round to warm up."""
    work()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def serve(route: dict[str, Any], subject: str | None) -> None:
    """Prepare a route; then run one round for each line on standard input, and print how long it took."""
    work, units = prepare(route, subject)
    work()
    print(float(units), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        work()
        print(time.perf_counter() - start, flush=True)


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return all routes with their rates, one for each round."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "MKL_NUM_THREADS": str(arguments.threads)}
    found, workers = routes(arguments.blocks), []
    for route in found:
        command = [sys.executable, "-W", "ignore", __file__, "--route", json.dumps(route)] + (
            [arguments.subject] if arguments.subject else []
        )
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        workers.append(worker)
        route["units"], route["rates"] = float(worker.stdout.readline()), []  # type: ignore[union-attr]
    for number in range(arguments.rounds):
        for route, worker in zip(found, workers, strict=True):
            worker.stdin.write("go\n")  # type: ignore[union-attr]
            worker.stdin.flush()  # type: ignore[union-attr]
            route["rates"].append(route["units"] / float(worker.stdout.readline()))  # type: ignore[union-attr]
            time.sleep(0.3)  # the threads of the process need time to fall asleep
        if sys.stderr.isatty():
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    for worker in workers:
        worker.stdin.close()  # type: ignore[union-attr]
        worker.wait(60)
    for route in found:
        route["median"] = statistics.median(route["rates"])
    return found


def report(found: list[dict[str, Any]], arguments: argparse.Namespace) -> dict[str, float]:
    """Print the table; return the ratios."""

    def median(task: str, name: str, precision: str = "float32") -> float:
        return next(r["median"] for r in found if (r["task"], r["name"], r["precision"]) == (task, name, precision))

    def best(task: str, precisions: tuple[str, ...] = ("float32",)) -> float:
        return max(r["median"] for r in found if r["task"] == task and r["name"] in CONVOLUTIONS and r["precision"] in precisions)

    needed = useful_products(arguments.blocks)
    print(f"B = {arguments.blocks}, {arguments.threads} threads, {arguments.rounds} rounds; {needed / 1e6:.1f} M multiply-adds a voxel\n")
    print("speedup: rate of our route at float32, divided by the rate of this route")
    print(f"{'':11}{'route':38}{'precision':10}{'a second':>12}{'speedup':>10}{'share of limit':>16}")
    for route in found:
        ours = next(
            (r["median"] for r in found if r["task"] == route["task"] and r["name"] == "ours" and r["precision"] == "float32"), None
        )
        rate = f"{route['median'] / 1e9:.1f} G" if route["task"] == "peak" else f"{route['median']:,.0f}"
        ratio = "" if ours is None else f"{ours / route['median']:.2f} x"
        limit = (
            f"{route['median'] * needed / median('peak', 'matrix product', route['precision']):.2f}" if route["task"] == "inference" else ""
        )
        print(f"{route['task']:11}{route['name']:38}{route['precision']:10}{rate:>12}{ratio:>10}{limit:>16}")
    peak = median("peak", "matrix product")
    low = ("float32", "bf16") if has_bf16() else ("float32",)
    ratios = {
        "inference, float32, over the best float32 convolution": median("inference", "ours") / best("inference"),
        **{f"inference, float32, over {name}": median("inference", "ours") / median("inference", name) for name in SLIDING},
        "inference, float32, share of limit": median("inference", "ours") * needed / peak,
        "training, float32, over the best convolution": median("training", "ours") / best("training", low),
        "gathering over the network, inference": median("gathering", "for inference") / median("inference", "ours"),
        "gathering over the network, training": median("gathering", "for training") / median("training", "ours"),
    }
    if has_bf16():
        ratios["inference, bf16, over the best float32 convolution"] = median("inference", "ours", "bf16") / best("inference")
    else:
        print("\nbf16 is skipped, because this processor has neither AMX nor AVX512-BF16.")
    print()
    for name, ratio in ratios.items():
        print(f"{name:62}{ratio:8.2f}")
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", nargs="?", help="folder of a subject; a digital mouse brain if not given")
    parser.add_argument("--blocks", type=int, default=30, help="number of residual blocks")
    parser.add_argument("--rounds", type=int, default=7, help="number of times that each route is timed")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="number of threads of each route; all cores if not given")
    parser.add_argument("--route", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    if arguments.route is not None:
        serve(arguments.route, arguments.subject)
        return
    found = measure(arguments)
    ratios = report(found, arguments)
    if arguments.output:
        content = {"blocks": arguments.blocks, "threads": arguments.threads, "routes": found, "ratios": ratios}
        arguments.output.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
