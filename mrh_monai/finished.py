"""Which subjects of a cohort are predicted already, and by what, so that a run that broke off goes on with the rest."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mrh_monai import distributed
from mrh_monai.errors import OptionError
from mrh_monai.files import sha256, write_text
from mrh_monai.grids import read_headers
from mrh_monai.patch_loading import is_patch_file
from mrh_monai.protocol import Protocol
from mrh_monai.subjects import Subject

logger = logging.getLogger(__name__)


def fingerprint(ckpt_path: Path | str, **options: Any) -> dict[str, Any]:
    """What predictions depend on besides a subject's files.

    Args:
        ckpt_path: The weights.
        options: Whatever else; kept as text.
    """
    return {"weights": sha256(ckpt_path), **{name: str(value) for name, value in options.items()}}


def write_record(prediction: Path, subject: Subject, made_by: Mapping[str, Any]) -> None:
    """Say beside a finished prediction what it was made of.

    Args:
        prediction: Its file, whole.
        subject: Of which subject.
        made_by: `fingerprint`.
    """
    write_text(_record(prediction), json.dumps(_content(prediction, subject, made_by), indent=2) + "\n")


def forget(prediction: Path) -> None:
    """Before a prediction is replaced: it is not finished any more."""
    _record(prediction).unlink(missing_ok=True)


def unfinished(subjects: Sequence[Subject], output_dir: Path | str, stain: str, made_by: Mapping[str, Any]) -> list[Subject]:
    """The subjects without a prediction, or whose prediction was made of other files, by other weights or with other options.

    Args:
        subjects: The cohort.
        output_dir: Where predictions lie.
        stain: Short name.
        made_by: `fingerprint`.
    """
    return [s for s in subjects if not _is_finished(prediction_path(output_dir, s, stain), s, made_by)]


def share_of_cohort(
    subjects: Sequence[Subject],
    output_dir: Path | str,
    stain: str,
    made_by: Mapping[str, Any],
    protocol: Protocol,
    shared: str = "subjects",
    redo: bool = False,
) -> list[Subject]:
    """The subjects that this process has a part in, of those that are not finished.

    The headers of all of them are looked at first: a file that is missing among a thousand brains is found in the first minute.

    Args:
        subjects: The cohort.
        output_dir: Where predictions lie.
        stain: Short name.
        made_by: `fingerprint`.
        protocol: The channels that each must have.
        shared: ``subjects``: every process has some of them to itself; ``slabs``: all have a part in each.
        redo: Whether finished ones are predicted anew.

    Raises:
        OptionError: ``shared`` is neither.
        SubjectError: The files of one do not belong together.
    """
    if shared not in ("subjects", "slabs"):
        raise OptionError("shared", "subjects or slabs", repr(shared), "choose one of the two")

    def decide() -> list[Subject]:
        left = list(subjects) if redo else unfinished(subjects, output_dir, stain, made_by)
        for subject in left:
            if not is_patch_file(subject):
                read_headers(subject, protocol)
        return left

    left = distributed.agree(decide)
    if distributed.is_first():
        logger.info("%d of %d subjects are finished", len(subjects) - len(left), len(subjects))
    number, count = distributed.share()
    return left if shared == "slabs" else left[number::count]


def prediction_path(output_dir: Path | str, subject: Subject, stain: str) -> Path:
    """``OUTPUT/<subject>/<subject>_<stain>.nii.gz``; ``.mat`` for a file of patches, which lie on no grid."""
    ending = "mat" if is_patch_file(subject) else "nii.gz"
    return Path(output_dir) / subject.name / f"{subject.name}_{stain}.{ending}"


def _record(prediction: Path) -> Path:
    return prediction.with_name(prediction.name.removesuffix(".mat").removesuffix(".nii.gz") + ".json")


def _is_finished(prediction: Path, subject: Subject, made_by: Mapping[str, Any]) -> bool:
    try:
        return json.loads(_record(prediction).read_text()) == _content(prediction, subject, made_by)
    except (OSError, ValueError):
        return False


def _content(prediction: Path, subject: Subject, made_by: Mapping[str, Any]) -> dict[str, Any]:
    files = [path for path in (*subject.image, subject.mask, subject.fa) if path is not None]
    voxels = [path.with_suffix(".img") if path.suffix == ".hdr" else path for path in files]
    inputs = {str(path): [path.stat().st_size, path.stat().st_mtime_ns] for path in voxels}
    slices = None if subject.slices is None else [list(pair) for pair in subject.slices]
    return {"made_by": dict(made_by), "inputs": inputs, "slices": slices, "bytes": prediction.stat().st_size}
