"""A CUDA device at the paper's own work: a whole brain at B = 30, and 11,220 training iterations of 128 patches.

    python benchmarks/on_cuda.py [--device cuda] [--voxels 2090000] [--iterations 300] [--blocks 30] [-o FILE.json]

The paper took 70 minutes for the latter on a TITAN RTX. Volumes are noise; in training they lie in the device's memory. Training is timed
over some iterations and counted up to 11,220, with the network as it is, and compiled by torch.compile with CUDA graphs. Without a CUDA
device nothing is measured.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mrh_monai.data import LoadedSubject
from mrh_monai.devices import in_precision
from mrh_monai.inference import predict_volume
from mrh_monai.network import MRHNet, fold
from mrh_monai.patches import PatchBatches, PatchDataset

ITERATIONS, BATCH = 11_220, 128
SHAPE = (200, 280, 128)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds of some work, the device's included."""
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start


def make_subject(voxels: int) -> LoadedSubject:
    """Noise of which so many voxels are in the mask."""
    slices = max(1, round(SHAPE[1] * voxels / 2_090_000))
    rng = np.random.default_rng(0)
    padded = rng.integers(0, 4000, (slices + 2, SHAPE[0] + 2, SHAPE[2] + 2, 67), np.int16).transpose(1, 0, 2, 3)
    mask = np.zeros((SHAPE[0], slices, SHAPE[2]), bool)
    mask.reshape(-1)[:: max(1, mask.size // voxels)] = True
    return LoadedSubject("noise", padded, 1, mask, mask.astype(np.float32), None, np.eye(4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--voxels", type=int, default=2_090_000)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--blocks", type=int, default=30)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no CUDA device: its part of the benchmark is skipped")
        return
    print(torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU")
    subject, found = make_subject(arguments.voxels), {}
    gain, offset = np.full(67, 1e-3, np.float32), np.zeros(67, np.float32)
    for precision in ("float32", "tf32", "bf16"):
        network = MRHNet(67, residual_blocks=arguments.blocks).to(device)
        work = lambda: predict_volume(  # noqa: E731
            network, subject.slabs, subject.mask, gain, offset, batch_size=16384, device=device, precision=precision  # noqa: B023
        )  # fmt: skip
        work()
        found[f"brain, {precision}"] = timed(device, work)
        print(f"{int(subject.mask.sum())} voxels, {precision:10}{found[f'brain, {precision}']:8.2f} s", flush=True)
        centres = np.argwhere(subject.mask)[: 100 * BATCH]
        located = np.column_stack([np.zeros(len(centres), np.int64), centres])
        dataset = PatchDataset([subject], located, [(gain, offset)]).to(device)
        folded = fold(network, 3).train()
        for name in ("as it is", "compiled"):
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
