"""Measure how long commands take to start: `mrh --help`, and `mrh predict` of a subject of two slices compared with `import torch` alone.

    python benchmarks/startup.py [--rounds 7] [-o FILE.json]

The commands take turns; the results are medians. The network has five residual blocks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from streaming import make_bundle, write_brain

LIMITS = {"mrh --help": 0.5, "mrh predict beyond import torch": 1.5}


def seconds(command: list[str]) -> float:
    """Return the wall time of a command, which must succeed."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="number of times that each command runs")
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    mrh = str(Path(sys.executable).with_name("mrh"))
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        bundle = make_bundle(folder / "mrh_af", blocks=5)
        write_brain(folder / "brain", (64, 2, 48), "int16", "img")
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "mrh --help": [mrh, "--help"],
            "mrh predict": [mrh, "predict", str(bundle), str(folder / "brain"), "-o", str(folder / "af.nii.gz")],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for command in commands.values():
            seconds(command)  # reads all files into the file cache of the system
        for _ in range(arguments.rounds):
            for name, command in commands.items():
                times[name].append(seconds(command))
    medians = {name: statistics.median(values) for name, values in times.items()}
    beyond = [predict - torch for predict, torch in zip(times["mrh predict"], times["import torch"], strict=True)]
    medians["mrh predict beyond import torch"] = statistics.median(beyond)
    for name, value in medians.items():
        limit = LIMITS.get(name)
        print(f"{name:34}{value:8.2f} s" + (f"   limit {limit} s: {'within' if value <= limit else 'ABOVE'}" if limit else ""))
    if arguments.output:
        arguments.output.write_text(json.dumps(medians, indent=2) + "\n")


if __name__ == "__main__":
    main()
