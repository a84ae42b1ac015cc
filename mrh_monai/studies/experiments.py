"""The paper's controlled experiments by name, on any subjects, the digital mouse brain by default."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mrh_monai.data import find_subjects, split, write_datalist
from mrh_monai.errors import OptionError
from mrh_monai.io import as_csv, writable_folder, write_text
from mrh_monai.phantom import STAIN_FILES, write_phantom
from mrh_monai.protocol import MRH_NET, MRProtocol
from mrh_monai.studies.image_studies import features, resolution
from mrh_monai.studies.study_networks import load_study
from mrh_monai.studies.training_studies import Effort, Finding, depth, patch_size, training_size, uniform_patch

STUDIES = {
    "training-size": training_size,
    "depth": depth,
    "patch-size": patch_size,
    "misregistration": patch_size,  # the same experiment varies both
    "uniform-patch": uniform_patch,
    "features": features,
    "resolution": resolution,
}
PHANTOM_SUBJECTS = 6
QUICK = Effort(
    seeds=1,
    steps=200,
    residual_blocks=2,
    patches=(250, 2000, 16_000),
    depths=(1, 2, 5, 10),
    widths=(3, 5),
    displacements=(0.0, 1.0, 2.0),
)
# As far as the paper goes: 30 blocks, 40,000 patches.
FULL = Effort(
    seeds=3,
    steps=1500,
    residual_blocks=5,
    patches=(250, 1000, 4000, 16_000, 40_000),
    depths=(1, 2, 5, 10, 20, 30),
    widths=(3, 5, 9),
    displacements=(0.0, 0.5, 1.0, 2.0, 4.0),
)


def run_study(
    name: str,
    out: Path | str,
    datalist: Path | str | None = None,
    protocol: MRProtocol = MRH_NET,
    *,
    stain: str = "af",
    full: bool = False,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[Finding, list[Path]]:
    """Run one experiment and write ``<name>.csv``, ``<name>.png`` and ``<name>.txt``.

    Args:
        name: One of `STUDIES`.
        out: Folder to write into.
        datalist: With training and test subjects; None for six digital mouse brains, four to train and one to test.
        protocol: Channels of the subjects.
        stain: Of the digital brains: ``af``, ``nf`` or ``mbp``.
        full: Whether to be thorough, which takes hours; otherwise it is over in three minutes on two cores.
        seed: Of everything drawn.
        device: Where networks compute.
        progress: Wraps the iteration over settings.

    Returns:
        What was found, and the files.

    Raises:
        OptionError: The name or the stain is unknown.
        SubjectError: The subjects do not allow the experiment.
    """
    if name not in STUDIES:
        near = difflib.get_close_matches(name, STUDIES, 1)
        raise OptionError("study", f"one of {', '.join(STUDIES)}", repr(name), f"did you mean {near[0]}" if near else "choose one of them")
    if stain not in STAIN_FILES:
        raise OptionError("--stain", " or ".join(STAIN_FILES), repr(stain), "choose one of the digital brain's")
    effort = replace(FULL if full else QUICK, device=device)
    margin = max(effort.widths) // 2
    with tempfile.TemporaryDirectory() as folder:
        # Everything is in memory once it is loaded; the digital brains themselves are not kept.
        data = load_study(datalist or _phantom(Path(folder), stain), protocol, margin=margin)
    out = writable_folder(out)
    found = STUDIES[name](data, effort, seed, progress)
    files = [out / f"{name}.{ending}" for ending in ("csv", "png", "txt")]
    write_text(files[0], as_csv(found.rows))
    found.draw(files[1])
    write_text(files[2], found.paragraph + "\n")
    return found, files


def _phantom(folder: Path, stain: str) -> Path:
    for _ in write_phantom(folder, PHANTOM_SUBJECTS):
        pass
    subjects = find_subjects(folder, target=f"targets/{STAIN_FILES[stain]}.img")
    write_datalist(folder / "datalist.json", split(subjects, (PHANTOM_SUBJECTS - 2, 1, 1)))
    return folder / "datalist.json"
