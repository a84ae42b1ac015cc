"""Measure the largest error of convolutions and of the folded network against float64, in float32 and in bf16.

    python benchmarks/exactness.py [--blocks 30] [-o FILE.json]

Each error is given as a share of the largest output. It is the largest over random patches and over three kinds of random weights.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import torch

from mrh_monai.network import MRHNet, centre_predictor


def errors(blocks: int) -> dict[str, float]:
    """Return the largest error against float64 of each route, as a share of the largest output.

    Args:
        blocks: Number of residual blocks.
    """
    found = dict.fromkeys(("float32, convolution", "float32, ours", "bf16, convolution", "bf16, ours"), 0.0)
    for start in ("he", "glorot", "orthogonal"):
        torch.manual_seed(0)
        network, patches = MRHNet(67, residual_blocks=blocks, initialisation=start), torch.randn(64, 67, 3, 3)
        with torch.inference_mode():
            exact = copy.deepcopy(network).double()(patches.double())[:, 0, 1, 1]
            for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
                with torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
                    convolved = network(patches)[:, 0, 1, 1]
                for route, values in (("convolution", convolved), ("ours", centre_predictor(network, (3, 3), dtype)(patches))):
                    error = float((values.double() - exact).abs().max() / exact.abs().max())
                    found[f"{name}, {route}"] = max(found[f"{name}, {route}"], error)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=30, help="number of residual blocks")
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    found = errors(arguments.blocks)
    for name, error in found.items():
        print(f"{name:24}{error:10.1e}")
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
