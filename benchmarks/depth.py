"""Compare networks of several numbers of residual blocks on one datalist.

    python benchmarks/depth.py DIR/af.json OUT [--residual-blocks 5 10 30] [--seeds 0 1] [--epochs 4] [--patches 400000]
    python benchmarks/depth.py DIR/nf.json OUT_NF --patches 250 --parents OUT [--residual-blocks 5 10 30] [--seeds 0 1]

Each network is trained by the bundle's default recipe and predicts the whole first subject of `test`. OUT/depth.csv gets a row for each:
its scores, the minutes of the training and the seconds of the prediction, both without start-up. The weights stay in OUT. With `--parents`
each training starts from the network of the same depth and seed there that has the recipe's epochs and patches. A row that the CSV file
already has is not measured again.
"""

from __future__ import annotations

import argparse
import csv
import logging
import shutil
import time
from pathlib import Path

import mrh_monai
from mrh_monai.data import SubjectInMemory
from mrh_monai.network import load_network
from mrh_monai.patch_geometry import CORONAL_PATCH
from mrh_monai.protocol import MRH_NET
from mrh_monai.studies import load_study_data
from mrh_monai.studies.study_networks import StudyNetwork

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "mrh_af"
NAMES = ("residual_blocks", "seed", "epochs", "patches", "parent")


def measure(arguments: argparse.Namespace, given: dict[str, object], subject: SubjectInMemory) -> dict[str, object]:
    """Train one network, predict the subject, and return the row of the table.

    Args:
        arguments: The command line.
        given: Values of `NAMES`.
        subject: Test subject.
    """
    name = folder_name(given)
    options = {key: value for key, value in given.items() if key != "parent" and value != ""}
    if given["parent"]:
        options["pretrained"] = arguments.parents / folder_name(given | {"epochs": "", "patches": ""}) / "model.pt"
    options["align"] = arguments.align
    start = time.monotonic()
    result = mrh_monai.train(arguments.out / "bundle", arguments.datalist, arguments.out / name, device="cpu", **options)
    trained = time.monotonic()
    network, sidecar = load_network(result.weights, MRH_NET.names)
    stain = StudyNetwork(network, sidecar.scaling, CORONAL_PATCH, 0).predict(subject, subject.mask)
    predicted = time.monotonic()
    assert subject.target is not None
    scores = mrh_monai.score(stain, subject.target, subject.scored)
    row = {key: round(scores[key], 5) for key in ("r2", "rmse", "nrmse", "ssim")}
    return given | row | {
        "best_epoch": result.best_epoch, "minutes": round((trained - start) / 60, 2), "seconds_a_brain": round(predicted - trained, 1),
        "voxels": int(subject.mask.sum()),
    }  # fmt: skip


def folder_name(given: dict[str, object]) -> str:
    """Return the name of the folder of a training, from the values of `NAMES`."""
    return "_".join(f"{key}_{given[key]}" for key in NAMES[:-1])


def main() -> None:
    """Measure every row that is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datalist", type=Path)
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("--residual-blocks", type=int, nargs="+", default=[5, 10, 30])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int, nargs="+", default=[""], help="number of epochs; the recipe's if not given")
    parser.add_argument("--patches", type=int, nargs="+", default=[""], help="number of training patches; the recipe's if not given")
    parser.add_argument("--align", default="auto", help="off for stains that are aligned already")
    parser.add_argument("--parents", type=Path, help="folder of an earlier run, from whose networks training starts")
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    table = arguments.out / "depth.csv"
    shutil.copytree(BUNDLE, arguments.out / "bundle", dirs_exist_ok=True)  # the finished weights go into the copy
    subject = load_study_data(arguments.datalist, MRH_NET).test[0]
    done = {tuple(row[name] for name in NAMES) for row in csv.DictReader(table.open())} if table.exists() else set()
    parent = arguments.parents is not None
    for seed in arguments.seeds:
        for epochs in arguments.epochs:
            for patches in arguments.patches:
                for blocks in arguments.residual_blocks:
                    given = dict(zip(NAMES, (blocks, seed, epochs, patches, parent), strict=True))
                    if tuple(map(str, given.values())) in done:
                        continue
                    row = measure(arguments, given, subject)
                    with table.open("a", newline="") as stream:
                        writer = csv.DictWriter(stream, row)
                        if not stream.tell():
                            writer.writeheader()
                        writer.writerow(row)
                    print(row, flush=True)


if __name__ == "__main__":
    main()
