"""The whole job on the digital mouse brain: make it, train MRH-AF, start MRH-NF and MRH-MBP from it, predict a brain that no training saw.

    python examples/demo.py OUT

The same commands work on real scans; they are printed as they run.
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

ROOT = Path(__file__).resolve().parents[1]
TEST_SUBJECT = "subject06"
STAINS = {"af": "AllenPathology2P60.img", "nf": "NF.img", "mbp": "MBP.img"}
FEW_PATCHES = 250
AF_OPTIONS = ("--residual_blocks", 5, "--patches", 60_000, "--epochs", 5)


def run(*command: object, beside: bool = False) -> None:
    """Show a command and run it.

    Args:
        command: Its words.
        beside: Whether another one runs at the same time: half of the cores for each, and its output in one piece when it has ended.
    """
    words = [str(word) for word in command]
    programs = {"mrh": [sys.executable, "-m", "mrh_monai.cli.app"], "python": [sys.executable, "-W", "ignore"]}
    shown, program = f"\n$ {shlex.join(words)}", [*programs[words[0]], *words[1:]]
    if beside:
        half = {**os.environ, "OMP_NUM_THREADS": str(max((os.cpu_count() or 2) // 2, 1))}
        ended = subprocess.run(program, check=False, env=half, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        print(f"{shown}\n{ended.stdout}", end="", flush=True)
    else:
        print(shown, flush=True)
        ended = subprocess.run(program, check=False)
    if ended.returncode:
        sys.exit(ended.returncode)


def train_and_predict(bundle: Path, datalist: Path, out: Path, *options: object, beside: bool = False) -> None:
    """Train a bundle, then predict and score the subjects that it did not see."""
    monai_run = ("python", "-m", "monai.bundle", "run", "--bundle_root", bundle)
    evaluation = f"['{bundle}/configs/inference.yaml', '{bundle}/configs/evaluate.yaml']"
    train = bundle / "configs" / "train.yaml"
    run(*monai_run, "--config_file", train, "--datalist", datalist, "--output_dir", out / "training", *options, beside=beside)
    run(*monai_run, "--config_file", evaluation, "--datalist", datalist, "--output_dir", out / "prediction", beside=beside)


def few_patches(out: Path, stain: str) -> None:
    """One stain from AF, and from scratch on the same patches."""
    datalist, few = out / f"{stain}.json", ("--patches", FEW_PATCHES)
    train_and_predict(out / "bundles" / f"mrh_{stain}", datalist, out / stain, *few, beside=True)
    scratch = ("--pretrained", "none", "--residual_blocks", 5)
    train_and_predict(out / "scratch" / f"mrh_{stain}", datalist, out / "scratch" / stain, *few, *scratch, beside=True)


def main(out: Path) -> None:
    """Run it all; the results lie in ``out``."""
    start = time.monotonic()
    if out.is_dir() and any(out.iterdir()) and not (out / "af.json").is_file():
        sys.exit(f"{out} is not empty and not an earlier demo; name another folder.")
    shutil.rmtree(out, ignore_errors=True)
    # Bundles of its own, so that weights trained on a phantom never lie where real scans are predicted with.
    for stain in STAINS:
        for place in ("bundles", "scratch") if stain != "af" else ("bundles",):
            name = f"mrh_{stain}"
            shutil.copytree(ROOT / "bundles" / name, out / place / name, ignore=shutil.ignore_patterns("model.*", ".partial.*"))

    brains = out / "brains"
    run("mrh", "phantom", brains, "--subjects", 6)
    for stain, target in STAINS.items():
        shares = ("--train", 4, "--val", 1, "--test", 1)
        run("mrh", "datalist", brains, "--target", f"targets/{target}", *shares, "-o", out / f"{stain}.json")
    train_and_predict(out / "bundles" / "mrh_af", out / "af.json", out / "af", *AF_OPTIONS)
    with ThreadPoolExecutor(2) as both:
        for ended in [both.submit(few_patches, out, stain) for stain in ("nf", "mbp")]:
            ended.result()
        for ended in [both.submit(judge, out, stain) for stain in STAINS]:
            ended.result()
    tell_and_draw(out)
    print(f"\n{time.monotonic() - start:.0f} s in all")


def judge(out: Path, stain: str) -> None:
    """One network beside MR markers and regressions, and the report of all that there is of a stain."""
    bundle, datalist = out / "bundles" / f"mrh_{stain}", out / f"{stain}.json"
    run("mrh", "compare", bundle, "--datalist", datalist, "--voxels", 20_000, "-o", out / stain / "comparison", beside=True)
    run("mrh", "report", out / stain, beside=True)


def scores_of(folder: Path) -> dict[str, float]:
    """The unseen subject's scores."""
    return json.loads((folder / "prediction" / "scores.json").read_text())[TEST_SUBJECT]


def r2_of_others(comparison: Path) -> dict[str, float]:
    """Of the regression on all images, and of the best single image and parameter map."""
    models = json.loads((comparison / "comparison.json").read_text())["models"]
    linear = next(model["scores"]["r2"] for model in models if model["name"] == "linear, 67 images")
    return {"linear": linear, "marker": max(model["scores"]["r2"] or 0 for model in models if model["kind"] == "marker")}


def tell_and_draw(out: Path) -> None:
    """Print the networks' scores beside what they must beat, and draw slices."""
    from mrh_monai.data import load_subject, read_datalist
    from mrh_monai.figures import side_by_side
    from mrh_monai.io import read_header, read_voxels
    from mrh_monai.protocol import MRH_NET, MT_ON

    rows = {}
    print(f"\nVirtual histology of {TEST_SUBJECT}, which no training saw: R2 inside the brain mask\n")
    print(f"  {'':6}{'network':>9}{'from scratch':>14}{'67 images, linear':>19}{'best image or map':>19}{'NRMSE':>9}")
    for stain in STAINS:
        test = load_subject(read_datalist(out / f"{stain}.json")["test"][0], MRH_NET, need_target=True)
        others = r2_of_others(out / stain / "comparison")
        scores, scratch = scores_of(out / stain), "" if stain == "af" else f"{scores_of(out / 'scratch' / stain)['r2']:.3f}"
        numbers = f"{others['linear']:19.3f}{others['marker']:19.3f}{scores['nrmse']:9.3f}"
        print(f"  {stain.upper():6}{scores['r2']:9.3f}{scratch:>14}{numbers}")
        if not rows:
            rows["MT on"] = test.image[..., MRH_NET.names.index(MT_ON)] * test.mask
        rows[f"{stain.upper()} true"] = test.target * test.mask
        predicted = out / stain / "prediction" / TEST_SUBJECT / f"{TEST_SUBJECT}_{stain}.nii.gz"
        rows[f"{stain.upper()} virtual"] = read_voxels(read_header(predicted))[..., 0]
    print(f"\n  AF: 60,000 patches. NF and MBP: {FEW_PATCHES} patches, starting from AF; from scratch: the same patches, as many steps.")

    picture = out / "virtual_histology.png"
    title = "The digital mouse brain: one MR image of 67, its stains, and what the networks make of the images"
    side_by_side(rows, picture, slices=[5, 8, 12, 16, 21], title=title)
    print("\nLook at")
    for path, what in (
        (picture, "slices side by side"),
        (out / "af" / "report.html", "slices to scroll through, scores, curves and where all of it comes from, on one page"),
        (out / "nf" / "prediction" / TEST_SUBJECT / f"{TEST_SUBJECT}_nf.nii.gz", "a virtual stain, on the subject's grid"),
        (out / "nf" / "comparison" / "roc.png", "the network as a detector, beside MR markers and regressions"),
        (out / "bundles", "the trained bundles"),
        (out / "brains", "the subjects, with their noise-free truth"),
    ):
        print(f"  {path}   {what}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
