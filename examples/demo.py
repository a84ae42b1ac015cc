"""Do the whole job on the digital mouse brain.

    python examples/demo.py OUT

1. Make six subjects: MR images, brain mask and stains.
2. Train a small MRH-AF and draw a first picture of a brain that no training saw.
3. Train MRH-AF. Train MRH-NF and MRH-MBP from it with few patches, and from scratch on the same patches.
4. Predict the unseen brain, compare the networks with MR markers and regressions, and write a report of each stain.
5. Check the promise: R2 of AF is at least 0.9, and NF and MBP are at least as good as from scratch.

Each command is printed as it runs. The same commands work on real scans.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import numpy as np

import mrh_monai
from mrh_monai.data import ReadingOptions, load_subject
from mrh_monai.figures import side_by_side
from mrh_monai.io import read_header, read_voxels
from mrh_monai.protocol import MRH_NET, MT_ON

ROOT = Path(__file__).resolve().parents[1]
TEST_SUBJECT = "subject06"
STAINS = {"af": "AllenPathology2P60.img", "nf": "NF.img", "mbp": "MBP.img"}
SLICES = (5, 8, 12, 16, 21)

# Small enough for a picture within half a minute on two cores.
FIRST_LOOK = ("--residual_blocks", 1, "--patches", 5_000, "--epochs", 1)
AF_OPTIONS = ("--patches", 20_000)
FEW_PATCHES = 250
FROM_SCRATCH = ("--pretrained", "none")
PROMISED_R2_OF_AF = 0.9


def main(out: Path) -> None:
    """Run all steps; the results lie in ``out``."""
    start = time.monotonic()
    # A thread of PyTorch that waits for another keeps its core busy, unless it is told to sleep. Where other programs want the cores too,
    # training takes five times as long for that. PyTorch asks when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    prepare_folder(out)
    make_subjects(out)
    take_first_look(out)
    print(f"  {time.monotonic() - start:.0f} s so far")
    train_and_predict(out / "bundles" / "mrh_af", out / "af.json", out / "af", *AF_OPTIONS)
    with ThreadPoolExecutor(2) as two:
        for done in [two.submit(train_with_few_patches, out, stain) for stain in ("nf", "mbp")]:
            done.result()
        for done in [two.submit(compare_and_report, out, stain) for stain in STAINS]:
            done.result()
    print_scores(out)
    draw_stains(out)
    print_results(out)
    check_promise(out)
    print(f"\n{time.monotonic() - start:.0f} s in all")


# Steps


def prepare_folder(out: Path) -> None:
    """Empty the folder of an earlier demo and copy the bundles there.

    The demo trains copies, so that weights trained on a phantom never lie where real scans are predicted with.
    """
    if out.is_dir() and any(out.iterdir()) and not (out / "af.json").is_file():
        sys.exit(f"{out} is not empty, and no earlier demo made it; name another folder.")
    shutil.rmtree(out, ignore_errors=True)
    for place, stains in (("first_look", ["af"]), ("bundles", [*STAINS]), ("scratch", ["nf", "mbp"])):
        for stain in stains:
            name = f"mrh_{stain}"
            shutil.copytree(ROOT / "bundles" / name, out / place / name, ignore=shutil.ignore_patterns("model.*", ".partial.*"))


def make_subjects(out: Path) -> None:
    """Make six digital brains and a datalist for each stain: four subjects train, one validates and one tests."""
    run("mrh", "phantom", out / "brains", "--subjects", 6)
    for stain, target in STAINS.items():
        shares = ("--train", 4, "--val", 1, "--test", 1)
        run("mrh", "datalist", out / "brains", "--target", f"targets/{target}", *shares, "-o", out / f"{stain}.json")


def take_first_look(out: Path) -> None:
    """Train a small network for a few seconds, and draw what it predicts for the unseen brain."""
    bundle, folder, picture = out / "first_look" / "mrh_af", out / "brains" / TEST_SUBJECT, out / "first_look.png"
    train(bundle, out / "af.json", out / "first_look" / "training", *FIRST_LOOK)
    print(f'\n>>> prediction = mrh_monai.predict("{bundle}", "{folder}")', flush=True)
    prediction = mrh_monai.predict(bundle, folder)
    truth = load_truth(out, "af")
    scores = mrh_monai.score(prediction.stain, truth["AF true"], prediction.mask)
    title = f"First look: a small network after a few seconds of training, R2 {scores['r2']:.2f}"
    side_by_side({**truth, "AF virtual": prediction.stain}, picture, slices=SLICES, title=title)
    print(f"\nFirst picture: {picture}   an MR image, the true stain and the virtual one of a brain that no training saw")


def train_and_predict(bundle: Path, datalist: Path, out: Path, *options: object, beside: bool = False) -> None:
    """Train a bundle, then predict and score the subjects that it did not see."""
    train(bundle, datalist, out / "training", *options, beside=beside)
    evaluation = f"['{bundle}/configs/inference.yaml', '{bundle}/configs/evaluate.yaml']"
    monai_run(bundle, evaluation, datalist, out / "prediction", beside=beside)


def train_with_few_patches(out: Path, stain: str) -> None:
    """Train one stain from AF, and from scratch on the same patches."""
    datalist, few = out / f"{stain}.json", ("--patches", FEW_PATCHES)
    train_and_predict(out / "bundles" / f"mrh_{stain}", datalist, out / stain, *few, beside=True)
    train_and_predict(out / "scratch" / f"mrh_{stain}", datalist, out / "scratch" / stain, *few, *FROM_SCRATCH, beside=True)


def compare_and_report(out: Path, stain: str) -> None:
    """Compare one network with MR markers and regressions, and write the report of the stain."""
    bundle, datalist = out / "bundles" / f"mrh_{stain}", out / f"{stain}.json"
    run("mrh", "compare", bundle, "--datalist", datalist, "--voxels", 20_000, "-o", out / stain / "comparison", beside=True)
    run("mrh", "report", out / stain, beside=True)


# Commands


def train(bundle: Path, datalist: Path, out: Path, *options: object, beside: bool = False) -> None:
    """Train a bundle."""
    monai_run(bundle, bundle / "configs" / "train.yaml", datalist, out, *options, beside=beside)


def monai_run(bundle: Path, config: object, datalist: Path, out: Path, *options: object, beside: bool = False) -> None:
    """Run a config of a bundle."""
    command = ("python", "-m", "monai.bundle", "run", "--bundle_root", bundle, "--config_file", config)
    run(*command, "--datalist", datalist, "--output_dir", out, *options, beside=beside)


def run(*command: object, beside: bool = False) -> None:
    """Print a command and run it; if it fails, end the demo with its exit status.

    Args:
        command: Words of the command.
        beside: Whether another command runs at the same time. Each then has half of the cores, and its output is printed when it has ended.
    """
    words = [str(word) for word in command]
    programs = {"mrh": [sys.executable, "-m", "mrh_monai.cli"], "python": [sys.executable, "-W", "ignore"]}
    shown, program = f"\n$ {shlex.join(words)}", [*programs[words[0]], *words[1:]]
    if beside:
        half = {**os.environ, "OMP_NUM_THREADS": str(max((os.cpu_count() or 2) // 2, 1))}
        ended = subprocess.run(program, check=False, env=half, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        print(f"{shown}\n{ended.stdout}", end="", flush=True)
    else:
        print(shown, flush=True)
        ended = subprocess.run(program, check=False, text=True)
    if ended.returncode:
        sys.exit(ended.returncode)


# Results


def scores_of(folder: Path) -> dict[str, float]:
    """Return the scores of the unseen subject."""
    scores: dict[str, float] = json.loads((folder / "prediction" / "scores.json").read_text(encoding="utf-8"))[TEST_SUBJECT]
    return scores


def best_r2_of_others(comparison: Path) -> tuple[float, float]:
    """Return R2 of the regression on all images, and of the best single image or parameter map."""
    models = json.loads((comparison / "comparison.json").read_text(encoding="utf-8"))["models"]
    linear = next(model["scores"]["r2"] for model in models if model["name"] == "linear, 67 images")
    return linear, max(model["scores"]["r2"] or 0 for model in models if model["kind"] == "marker")


def print_scores(out: Path) -> None:
    """Print the scores of the networks beside those of the models that they are compared with."""
    print(f"\nVirtual histology of {TEST_SUBJECT}, which no training saw: R2 inside the brain mask\n")
    print(f"  {'':6}{'network':>9}{'from scratch':>14}{'67 images, linear':>19}{'best image or map':>19}{'NRMSE':>9}")
    for stain in STAINS:
        linear, marker = best_r2_of_others(out / stain / "comparison")
        scores, scratch = scores_of(out / stain), "" if stain == "af" else f"{scores_of(out / 'scratch' / stain)['r2']:.3f}"
        print(f"  {stain.upper():6}{scores['r2']:9.3f}{scratch:>14}{linear:19.3f}{marker:19.3f}{scores['nrmse']:9.3f}")
    print(f"\n  AF: 20,000 patches. NF and MBP: {FEW_PATCHES} patches, starting from AF; from scratch: the same patches, as many steps.")


def load_truth(out: Path, stain: str) -> dict[str, np.ndarray]:
    """Return an MR image and the true stain of the unseen subject, each (X, Y, Z), by their label in a picture."""
    subject = mrh_monai.Datalist.read(out / f"{stain}.json").test[0]
    loaded = load_subject(subject, MRH_NET, ReadingOptions(need_target=True))
    assert loaded.target is not None
    return {"MT on": loaded.image[..., MRH_NET.names.index(MT_ON)] * loaded.mask, f"{stain.upper()} true": loaded.target * loaded.mask}


def draw_stains(out: Path) -> None:
    """Draw slices of the true stains and of the virtual ones."""
    rows: dict[str, np.ndarray] = {}
    for stain in STAINS:
        rows |= load_truth(out, stain)
        predicted = out / stain / "prediction" / TEST_SUBJECT / f"{TEST_SUBJECT}_{stain}.nii.gz"
        rows[f"{stain.upper()} virtual"] = read_voxels(read_header(predicted))[..., 0]
    title = "The digital mouse brain: one of its 67 MR images, its stains, and what the networks make of the images"
    side_by_side(rows, out / "virtual_histology.png", slices=SLICES, title=title)


def print_results(out: Path) -> None:
    """Print where the results lie."""
    print("\nLook at")
    for path, what in (
        (out / "virtual_histology.png", "slices side by side"),
        (out / "af" / "report.html", "slices to scroll through, scores, curves and the origin of each file, on one page"),
        (out / "nf" / "prediction" / TEST_SUBJECT / f"{TEST_SUBJECT}_nf.nii.gz", "a virtual stain, on the subject's grid"),
        (out / "nf" / "comparison" / "roc.png", "the network as a detector, beside MR markers and regressions"),
        (out / "bundles", "the trained bundles"),
        (out / "brains", "the subjects, with their noise-free truth"),
    ):
        print(f"  {path}   {what}")


def check_promise(out: Path) -> None:
    """End with status 1 and a sentence if a network is worse than the demo promises."""
    r2 = {stain: scores_of(out / stain)["r2"] for stain in STAINS}
    scratch = {stain: scores_of(out / "scratch" / stain)["r2"] for stain in ("nf", "mbp")}
    if r2["af"] < PROMISED_R2_OF_AF:
        fail(f"R2 of AF is {r2['af']:.3f}, expected at least {PROMISED_R2_OF_AF}")
    for stain, from_scratch in scratch.items():
        if r2[stain] < from_scratch:
            fail(f"R2 of {stain.upper()} is {r2[stain]:.3f}, expected at least the {from_scratch:.3f} of the network trained from scratch")
    print(f"\nThe demo's promise holds: R2 of AF is at least {PROMISED_R2_OF_AF}, and NF and MBP are at least as good as from scratch.")


def fail(sentence: str) -> NoReturn:
    """End the demo with status 1."""
    sys.exit(f"\nThe demo's promise does not hold: {sentence}. Compare your versions with constraints.txt, and report the output above.")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
