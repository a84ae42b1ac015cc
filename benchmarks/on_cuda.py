"""Measure how long a CUDA device takes for the paper's own work: a whole brain at B = 30, and 11,220 training iterations of 128 patches.

    python benchmarks/on_cuda.py [--device cuda] [--voxels 2090000] [--iterations 300] [--blocks 30] [-o FILE.json]

In the paper these iterations took 70 minutes on a TITAN RTX. The volumes are noise; in training they lie in the memory of the device. Only
some iterations are timed, and their time is extrapolated to 11,220. The network is timed in its usual form, and compiled by torch.compile
with CUDA graphs. Without a CUDA device nothing is measured.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mrh_monai import MRHNet
from mrh_monai.data import SubjectInMemory
from mrh_monai.devices import in_precision
from mrh_monai.inference import Computing, predict_volume
from mrh_monai.network import fold
from mrh_monai.patches import PatchBatches, PatchDataset
from mrh_monai.scaling import Coefficients

ITERATIONS, BATCH = 11_220, 128
SHAPE = (200, 280, 128)


def wait(device: torch.device) -> None:
    """Wait until the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(device: torch.device, work: Callable[[], object]) -> float:
    """Return how many seconds some work takes, including the work of the device."""
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start


def make_subject(voxels: int) -> SubjectInMemory:
    """Make a subject of noise with about this number of voxels in the mask."""
    slices = max(1, round(SHAPE[1] * voxels / 2_090_000))
    rng = np.random.default_rng(0)
    padded = rng.integers(0, 4000, (slices + 2, SHAPE[0] + 2, SHAPE[2] + 2, 67), np.int16).transpose(1, 0, 2, 3)
    mask = np.zeros((SHAPE[0], slices, SHAPE[2]), bool)
    mask.reshape(-1)[:: max(1, mask.size // voxels)] = True
    return SubjectInMemory("noise", padded, 1, mask, mask.astype(np.float32), None, np.eye(4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="device that computes")
    parser.add_argument("--voxels", type=int, default=2_090_000, help="number of voxels to predict")
    parser.add_argument("--iterations", type=int, default=300, help="number of training iterations to time")
    parser.add_argument("--blocks", type=int, default=30, help="number of residual blocks")
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("There is no CUDA device, so this benchmark is skipped.")
        return
    print(torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU")
    subject, found = make_subject(arguments.voxels), {}
    coefficients = Coefficients(np.full(67, 1e-3, np.float32), np.zeros(67, np.float32))
    for precision in ("float32", "tf32", "bf16"):
        network = MRHNet(67, residual_blocks=arguments.blocks).to(device)
        computing = Computing(device, precision, batch_size=16384)

        def work(network: MRHNet = network, computing: Computing = computing) -> torch.Tensor:
            return predict_volume(network, subject.slabs, subject.mask, coefficients, computing=computing)

        work()
        found[f"brain, {precision}"] = timed(device, work)
        print(f"{int(subject.mask.sum())} voxels, {precision:10}{found[f'brain, {precision}']:8.2f} s", flush=True)
        centres = np.argwhere(subject.mask)[: 100 * BATCH]
        located = np.column_stack([np.zeros(len(centres), np.int64), centres])
        dataset = PatchDataset([subject], located, [coefficients]).to(device)
        folded = fold(network, 3).train()
        for name in ("usual form", "compiled"):
            if name == "compiled" and device.type != "cuda":
                continue
            module = torch.compile(folded, mode="reduce-overhead") if name == "compiled" else folded
            optimizer = torch.optim.AdamW(network.parameters(), 1e-4, fused=device.type == "cuda")

            def train(count: int, module: torch.nn.Module = module, optimizer: torch.optim.Optimizer = optimizer) -> None:
                batches = iter(PatchBatches(dataset, BATCH, shuffle=True, least=count))  # noqa: B023
                for _ in range(count):
                    batch = next(batches)
                    optimizer.zero_grad()
                    with in_precision(device, precision):  # noqa: B023
                        loss = (module(batch["image"]).float() - batch["label"]).abs().mean()
                    loss.backward()
                    optimizer.step()

            train(10)
            seconds = timed(device, lambda: train(arguments.iterations)) * ITERATIONS / arguments.iterations
            found[f"training, {precision}, {name}"] = seconds
            print(f"{ITERATIONS} iterations of {BATCH}, {precision}, {name:10}{seconds:8.1f} s", flush=True)
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
