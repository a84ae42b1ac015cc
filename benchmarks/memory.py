"""Measure the peak memory of a whole training command, and compare it with the size of the files on which it trains and validates.

    python benchmarks/memory.py [DIR/datalist.json] [--patches 40000] [-o FILE.json]

The bundle trains for one epoch in a process of its own. The system reports the largest resident set of that process, libraries included.
Without a datalist, five digital mouse brains are made; their files are small compared with the libraries.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from mrh_monai import Datalist, make_phantom
from mrh_monai.subjects import find_subjects

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "mrh_af"


def make_datalist(root: Path) -> Path:
    """Make five digital mouse brains, four to train on and one to validate on; return their datalist."""
    make_phantom(root, subjects=5)
    Datalist.split(find_subjects(root, target="targets/AllenPathology2P60.img"), (4, 1, 0)).write(root / "datalist.json")
    return root / "datalist.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datalist", type=Path, nargs="?", help="datalist with subjects to train and to validate on")
    parser.add_argument("--patches", type=int, default=40_000, help="number of training patches")
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        datalist = arguments.datalist or make_datalist(Path(out) / "brains")
        read = Datalist.read(datalist)
        files = {path.resolve() for s in read.training + read.validation for path in (*s.image, s.mask, s.target) if path is not None}
        size = sum(path.stat().st_size for path in files)
        command = ["run", "--bundle_root", BUNDLE, "--config_file", BUNDLE / "configs" / "train.yaml", "--datalist", datalist]
        command += ["--output_dir", out, "--residual_blocks", 5, "--epochs", 1, "--patches", arguments.patches]
        # The weights in the bundle's own models/ are not replaced.
        command += ["--recorder::bundle_weights", f"{out}/models/model.pt"]
        subprocess.run([sys.executable, "-m", "monai.bundle", *map(str, command)], check=True, stdout=subprocess.DEVNULL)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(
        f"files {size / 1e9:.3f} GB, peak {peak / 1e9:.3f} GB = 1.5 x files {1.5 * size / 1e9:.3f} GB {(peak - 1.5 * size) / 1e9:+.3f} GB"
    )
    if arguments.output:
        arguments.output.write_text(json.dumps({"files": size, "peak": peak}, indent=2) + "\n")


if __name__ == "__main__":
    main()
