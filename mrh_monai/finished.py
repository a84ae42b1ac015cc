"""Which subjects of a cohort are predicted already, and by what, so that a run that broke off goes on with the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mrh_monai.files import sha256, write_text
from mrh_monai.subjects import Subject


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
    return [s for s in subjects if not _is_finished(prediction_path(output_dir, s.name, stain, s), s, made_by)]


def prediction_path(output_dir: Path | str, name: str, stain: str, subject: Subject | None = None) -> Path:
    """``OUTPUT/<subject>/<subject>_<stain>.nii.gz``; ``.mat`` for a file of patches, which lie on no grid."""
    patches = subject is not None and subject.image[0].suffix.lower() == ".mat"
    return Path(output_dir) / name / f"{name}_{stain}{'.mat' if patches else '.nii.gz'}"


def _record(prediction: Path) -> Path:
    return prediction.with_name(prediction.name.split(".")[0] + ".json")


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
