"""Peak memory of a whole training command, against the size of the files that it trains and validates on.

    python benchmarks/memory.py [DIR/datalist.json] [--patches 40000] [-o FILE.json]

Without a datalist, five digital mouse brains are made, whose files are small beside the libraries. One epoch through the bundle in a
process of its own, whose largest resident set the system reports; libraries are counted.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from mrh_monai.data import find_subjects, read_datalist, split, write_datalist
from mrh_monai.phantom import write_phantom

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "mrh_af"


def make_datalist(root: Path) -> Path:
    target = "targets/AllenPathology2P60.img"
    list(write_phantom(root, subjects=5))
    write_datalist(root / "datalist.json", split(find_subjects(root, target=target), (4, 1, 0)))
    return root / "datalist.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datalist", type=Path, nargs="?")
    parser.add_argument("--patches", type=int, default=40_000)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        datalist = arguments.datalist or make_datalist(Path(out) / "brains")
        lists = read_datalist(datalist)
        subjects = lists["training"] + lists["validation"]
        files = {path.resolve() for s in subjects for path in (*s.image, s.mask, s.target) if path is not None}
        size = sum(path.stat().st_size for path in files)
        command = ["run", "--bundle_root", BUNDLE, "--config_file", BUNDLE / "configs" / "train.yaml", "--datalist", datalist]
        command += ["--output_dir", out, "--residual_blocks", 5, "--epochs", 1, "--patches", arguments.patches]
        # The bundle's own models/ stay as they are.
        command += ["--recorder::published_model", f"{out}/models/model.pt"]
        subprocess.run([sys.executable, "-m", "monai.bundle", *map(str, command)], check=True, stdout=subprocess.DEVNULL)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(
        f"files {size / 1e9:.3f} GB, peak {peak / 1e9:.3f} GB = 1.5 x files {1.5 * size / 1e9:.3f} GB {(peak - 1.5 * size) / 1e9:+.3f} GB"
    )
    if arguments.output:
        arguments.output.write_text(json.dumps({"files": size, "peak": peak}, indent=2) + "\n")


if __name__ == "__main__":
    main()
