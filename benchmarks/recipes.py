"""Compare the training recipes on one datalist: on the same patches, each with its own full schedule, and then all in the time of `fast`.

    python benchmarks/recipes.py DIR/datalist.json OUT [--seeds 0 1] [--residual-blocks 5] [--patches 40000]

Every run uses the bundle as a user would, one training at a time. OUT/recipes.csv gets one row for each run: seconds of the whole training
command, number of epochs, best epoch, validation and test scores. A run that already has a row is not repeated.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "mrh_af"
# By default `fast` passes 4 times over 400,000 patches. Here it passes 20 times over a tenth of them. More passes only memorise them.
FAST_EPOCHS = 20


def bundle_run(configs: list[str], **options: object) -> float:
    """Run the bundle; return how many seconds it took.

    Args:
        configs: Names of its config files.
        options: Options of the command line.
    """
    files = [str(BUNDLE / "configs" / name) for name in configs]
    command = [sys.executable, "-m", "monai.bundle", "run", "--bundle_root", str(BUNDLE), "--config_file", str(files)]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def train_and_test(name: str, datalist: Path, out: Path, seed: int, **options: object) -> dict[str, object]:
    """Train, and score the test subjects; return the row of the table.

    Args:
        name: Name of the run.
        datalist: Datalist with all three sections.
        out: Folder of all runs.
        seed: Random seed of the training.
        options: Other options of the training.
    """
    run = out / f"{name}_seed{seed}"
    seconds = bundle_run(["train.yaml"], datalist=datalist, output_dir=run, seed=seed, **options)
    bundle_run(["inference.yaml", "evaluate.yaml"], datalist=datalist, output_dir=run / "test", ckpt_path=run / "model.pt")
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    best = min(rows, key=lambda row: float(row["val_rmse"]))
    scores = json.loads((run / "test" / "scores.json").read_text(encoding="utf-8"))
    mean = {key: sum(s[key] for s in scores.values()) / len(scores) for key in ("r2", "rmse", "nrmse", "ssim")}
    return {
        "recipe": name, "seed": seed, "seconds": round(seconds, 1), "epochs": len(rows), "best_epoch": best["epoch"],
        "val_rmse": best["val_rmse"], "val_r2": best["val_r2"], **{f"test_{key}": value for key, value in mean.items()},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datalist", type=Path, help="datalist with subjects to train, validate and test on")
    parser.add_argument("out", type=Path, help="folder for all results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="random seeds of the trainings")
    parser.add_argument("--residual-blocks", type=int, default=5, help="number of residual blocks")
    parser.add_argument("--patches", type=int, default=40_000, help="number of training patches")
    arguments = parser.parse_args()
    table = arguments.out / "recipes.csv"
    arguments.out.mkdir(parents=True, exist_ok=True)
    done = list(csv.DictReader(table.open())) if table.is_file() else []

    def run(name: str, seed: int, **options: object) -> dict[str, object]:
        for row in done:
            if (row["recipe"], int(row["seed"])) == (name, seed):
                return row
        row = train_and_test(name, arguments.datalist, arguments.out, seed, residual_blocks=arguments.residual_blocks, **options)
        done.append({key: str(value) for key, value in row.items()})
        with table.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(row))
            writer.writeheader()
            writer.writerows(done)
        print({key: value if isinstance(value, str) else round(value, 4) for key, value in row.items()}, flush=True)
        return row

    same = {"patches": arguments.patches, "sampling": "random"}
    for seed in arguments.seeds:
        run("fast", seed, recipe="fast")
        fast = run("fast_same_patches", seed, recipe="fast", epochs=FAST_EPOCHS, **same)
        for recipe in ("released", "paper"):
            whole = run(recipe, seed, recipe=recipe, **same)
            epochs = int(float(fast["seconds"]) / float(whole["seconds"]) * int(whole["epochs"]))
            if epochs < int(whole["epochs"]):
                run(f"{recipe}_equal_time", seed, recipe=recipe, epochs=max(epochs, 1), **same)


if __name__ == "__main__":
    main()
