"""The controlled experiments of the paper by name, on any subjects; on digital mouse brains where no subjects are given."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mrh_monai.devices import choose_device
from mrh_monai.errors import OptionError
from mrh_monai.io import as_csv, writable_folder, write_text
from mrh_monai.output_files import check_outputs, writing
from mrh_monai.phantom import STAIN_FILES, write_phantom
from mrh_monai.protocol import MRH_NET, MRProtocol
from mrh_monai.studies.image_experiments import feature_map_experiment, resolution_experiment
from mrh_monai.studies.study_networks import StudyData, load_study_data
from mrh_monai.studies.training_experiments import (
    Finding,
    StudyEffort,
    depth_experiment,
    patch_size_experiment,
    training_size_experiment,
    uniform_patch_experiment,
)
from mrh_monai.subjects import Datalist, find_subjects

STUDIES: dict[str, Callable[[StudyData, StudyEffort, int, bool], Finding]] = {
    "training-size": training_size_experiment,
    "depth": depth_experiment,
    "patch-size": patch_size_experiment,
    "misregistration": patch_size_experiment,  # the same experiment varies both
    "uniform-patch": uniform_patch_experiment,
    "features": feature_map_experiment,
    "resolution": resolution_experiment,
}
PHANTOM_SUBJECTS = 6
QUICK = StudyEffort(
    seeds=1,
    steps=200,
    residual_blocks=2,
    patches=(250, 2000, 16_000),
    depths=(1, 2, 5, 10),
    widths=(3, 5),
    displacements=(0.0, 1.0, 2.0),
)
# The sizes of the paper: 30 blocks, 40,000 patches.
FULL = StudyEffort(
    seeds=3,
    steps=1500,
    residual_blocks=5,
    patches=(250, 1000, 4000, 16_000, 40_000),
    depths=(1, 2, 5, 10, 20, 30),
    widths=(3, 5, 9),
    displacements=(0.0, 0.5, 1.0, 2.0, 4.0),
)


@dataclass(frozen=True)
class StudyOptions:
    """Subjects and effort of a study.

    Attributes:
        datalist: Datalist with training and test subjects; None for six digital mouse brains, four to train and one to test on.
        protocol: Channels of the subjects.
        stain: Stain of the digital brains: ``af``, ``nf`` or ``mbp``.
        full: Whether to use the sizes and repetitions of the paper, which takes hours; otherwise a study takes three minutes on two cores.
        seed: Random seed of the patches, of the initial weights and of the misregistration.
        device: Device of the networks: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        OptionError: The stain is unknown.
    """

    datalist: Path | str | None = None
    protocol: MRProtocol = MRH_NET
    stain: str = "af"
    full: bool = False
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.stain not in STAIN_FILES:
            raise OptionError("stain", " or ".join(STAIN_FILES), repr(self.stain), "choose a stain of the digital brain")


def run_study(
    name: str, out: Path | str, options: StudyOptions = StudyOptions(), progress: bool = False, overwrite: bool = False
) -> tuple[Finding, list[Path]]:
    """Run one experiment, and write ``NAME.csv``, ``NAME.png`` and ``NAME.txt``.

    Args:
        name: Name of the experiment, one of `STUDIES`.
        out: Folder to write into.
        options: Subjects and effort.
        progress: Whether to show a progress bar on a terminal.
        overwrite: Whether files of another origin may be replaced.

    Returns:
        The result, and the files.

    Raises:
        OptionError: The name is unknown.
        SubjectError: The subjects do not allow the experiment.
        OutputError: The folder cannot be written, or a result would replace a file of another origin.

    Example:
        >>> finding, files = run_study("depth", "studies", StudyOptions("brains/datalist.json"))  # doctest: +SKIP
        >>> [path.name for path in files]  # doctest: +SKIP
        ['depth.csv', 'depth.png', 'depth.txt']
    """
    if name not in STUDIES:
        near = difflib.get_close_matches(name, STUDIES, 1)
        raise OptionError("study", f"one of {', '.join(STUDIES)}", repr(name), f"did you mean {near[0]}" if near else "choose one of them")
    files = [Path(out) / f"{name}.{ending}" for ending in ("csv", "png", "txt")]
    inputs = [] if options.datalist is None else Datalist.read(options.datalist).files
    check_outputs("study", files, inputs, overwrite)
    effort = replace(FULL if options.full else QUICK, device=choose_device(options.device))
    with tempfile.TemporaryDirectory() as folder:
        # The subjects are read into memory, so the digital brains are not kept.
        datalist = options.datalist or _phantom(Path(folder), options.stain)
        data = load_study_data(datalist, options.protocol, margin=max(effort.widths) // 2)
    writable_folder(out)
    found = STUDIES[name](data, effort, options.seed, progress)
    with writing("study", files, inputs, overwrite):
        write_text(files[0], as_csv(found.rows))
        found.draw(files[1])
        write_text(files[2], found.paragraph + "\n")
    return found, files


def _phantom(folder: Path, stain: str) -> Path:
    for _ in write_phantom(folder, PHANTOM_SUBJECTS):
        pass
    subjects = find_subjects(folder, target=f"targets/{STAIN_FILES[stain]}.img")
    Datalist.split(subjects, (PHANTOM_SUBJECTS - 2, 1, 1)).write(folder / "datalist.json")
    return folder / "datalist.json"
