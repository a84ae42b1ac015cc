"""The whole job on the digital mouse brain: make it, train MRH-AF, predict a brain that it never saw, and look.

    python examples/demo.py OUT

The same commands work on real scans; they are printed as they run.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEST_SUBJECT = "subject06"


def run(*command: object) -> None:
    """Show a command and run it."""
    words = [str(word) for word in command]
    print(f"\n$ {shlex.join(words)}", flush=True)
    programs = {"mrh": [sys.executable, "-m", "mrh_monai.cli"], "python": [sys.executable, "-W", "ignore"]}
    status = subprocess.run([*programs[words[0]], *words[1:]], check=False).returncode
    if status:
        sys.exit(status)


def main(out: Path) -> None:
    """Run it all; the results lie in ``out``."""
    start = time.monotonic()
    if out.is_dir() and any(out.iterdir()) and not (out / "af.json").is_file():
        sys.exit(f"{out} is not empty and not an earlier demo; name another folder.")
    shutil.rmtree(out, ignore_errors=True)
    # A bundle of its own, so that weights trained on a phantom never lie where real scans are predicted with.
    bundle = out / "mrh_af"
    shutil.copytree(ROOT / "bundles" / "mrh_af", bundle, ignore=shutil.ignore_patterns("model.*", ".partial.*"))
    datalist = out / "af.json"
    monai_run = ("python", "-m", "monai.bundle", "run", "--bundle_root", bundle)
    evaluation = f"['{bundle}/configs/inference.yaml', '{bundle}/configs/evaluate.yaml']"

    run("mrh", "phantom", out / "brains", "--subjects", 6)
    run(
        "mrh",
        "datalist",
        out / "brains",
        "--target",
        "targets/AllenPathology2P60.img",
        "--train",
        4,
        "--val",
        1,
        "--test",
        1,
        "-o",
        datalist,
    )
    options = ("--residual_blocks", 5, "--patches", 60_000, "--epochs", 5)
    run(*monai_run, "--config_file", bundle / "configs" / "train.yaml", "--datalist", datalist, "--output_dir", out / "training", *options)
    run(*monai_run, "--config_file", evaluation, "--datalist", datalist, "--output_dir", out / "prediction")
    compare_and_draw(out, bundle, datalist)
    print(f"\n{time.monotonic() - start:.0f} s in all")


def compare_and_draw(out: Path, bundle: Path, datalist: Path) -> None:
    """Print the network's scores beside the baselines', and draw slices."""
    from mrh_monai.baselines import best_single_image, linear_regression
    from mrh_monai.checkpoint import read_sidecar
    from mrh_monai.datalists import read_datalist
    from mrh_monai.loading import load_subject, load_subjects
    from mrh_monai.protocol import MRH_NET, MT_ON
    from mrh_monai.report import side_by_side
    from mrh_monai.volumes import read_header, read_voxels

    lists = read_datalist(datalist)
    training = load_subjects(lists["training"], MRH_NET, need_target=True)
    test = load_subject(lists["test"][0], MRH_NET, need_target=True)
    scores = json.loads((out / "prediction" / "scores.json").read_text())[TEST_SUBJECT]
    name, single = best_single_image(test, MRH_NET)
    linear = linear_regression(training, test, read_sidecar(bundle / "models" / "model.pt").scaling)
    print(f"\nVirtual autofluorescence of {TEST_SUBJECT}, which no training saw (inside the brain mask)\n")
    print(f"  {'':38}{'R2':>7}{'RMSE':>8}   (RMSE in 8-bit intensity)")
    print(f"  {f'best single MR image ({name})':38}{single:7.3f}{'':>8}")
    print(f"  {'linear regression on 67 images':38}{linear['r2']:7.3f}{linear['rmse']:8.1f}")
    print(f"  {'MRH-AF, 5 residual blocks':38}{scores['r2']:7.3f}{scores['rmse']:8.1f}   SSIM {scores['ssim']:.3f}")

    predicted = out / "prediction" / TEST_SUBJECT / f"{TEST_SUBJECT}_af.nii.gz"
    volume = read_voxels(read_header(predicted))[..., 0]
    picture = out / "virtual_histology.png"
    rows = {
        "MT on": test.image[..., MRH_NET.names.index(MT_ON)] * test.mask,
        "AF true": test.target * test.mask,
        "AF virtual": volume,
    }
    side_by_side(
        rows, picture, slices=[5, 8, 12, 16, 21], title="The digital mouse brain: one MR image of 67, its autofluorescence, and MRH-AF's"
    )
    print("\nLook at")
    for path, what in (
        (picture, "slices side by side"),
        (predicted, "the virtual stain, on the subject's grid"),
        (out / "training" / "training_curve.png", "loss and validation against epochs"),
        (bundle, "the trained bundle"),
        (out / "brains", "the subjects, with their noise-free truth"),
    ):
        print(f"  {path}   {what}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
