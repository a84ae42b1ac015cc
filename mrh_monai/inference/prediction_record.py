"""The record of a prediction: a JSON file beside it that says from what it was made. A finished prediction has one."""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mrh_monai.data import input_kind
from mrh_monai.errors import OutputError
from mrh_monai.io import is_patch_file, sha256, volume_ending, write_text
from mrh_monai.network import sidecar_path
from mrh_monai.subjects import AnySubject, Subject


def fingerprint(ckpt_path: Path | str, **options: Any) -> dict[str, Any]:
    """Return what a prediction depends on besides the files of the subject.

    Args:
        ckpt_path: The weights, `model.pt`.
        options: Whatever else the prediction depends on; kept as text.

    Returns:
        ``weights`` and ``sidecar``, their SHA-256, and the options.
    """
    hashes = {"weights": sha256(ckpt_path), "sidecar": sha256(sidecar_path(ckpt_path))}
    return hashes | {name: str(value) for name, value in options.items()}


def input_state(subject: AnySubject) -> dict[str, Any]:
    """Return the files of a subject with their sizes and times of change, and its slices. Call this before the files are read.

    Header and voxels can lie in two files. Therefore every file that has the same name with any ending is included.

    Returns:
        ``inputs``: path to [bytes, time of change in ns]; and ``slices``.
    """
    files = set()
    if isinstance(subject, Subject):
        listed = [path for path in (*subject.image, subject.mask, subject.fa) if path is not None]
        files = {file.resolve() for path in listed for file in path.parent.glob(f"{glob.escape(path.name.split('.')[0])}.*")}
    inputs = {str(file): [file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(files)}
    return {"inputs": inputs, "slices": None if subject.slices is None else [list(pair) for pair in subject.slices]}


def record_path(prediction: Path | str) -> Path:
    """Return the path of the record of a prediction: ``NAME.json`` beside ``NAME.nii.gz``.

    Example:
        >>> record_path("m1/m1_af.nii.gz").as_posix()
        'm1/m1_af.json'
    """
    path = Path(prediction)
    ending = path.suffix if is_patch_file(path) else volume_ending(path)
    return path.with_name(f"{path.name[: len(path.name) - len(ending)]}.json")


def read_record(prediction: Path | str) -> dict[str, Any] | None:
    """Return the record of a prediction; None where the file does not exist or is not a record."""
    try:
        content = json.loads(record_path(prediction).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and "made_by" in content else None


def check_record_output(prediction: Path | str) -> None:
    """Refuse a prediction whose record would replace a file that is not a record, such as a datalist.

    Raises:
        OutputError: There is such a file.
    """
    path = record_path(prediction)
    if path.exists() and read_record(prediction) is None:
        expected = f"a free name for the record of {Path(prediction).name}"
        raise OutputError(path, expected, "a file that is not a record", "choose another name for the prediction, or move that file")


def write_record(prediction: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a prediction, once the prediction itself is complete.

    Args:
        prediction: File of the prediction.
        record: ``made_by`` (see `fingerprint`), ``inputs`` and ``slices`` (see `input_state`), and ``about``, which is for readers only.
            The number of bytes of the prediction is added.

    Raises:
        OutputError: The record would replace a file that is not a record, or cannot be written.
    """
    check_record_output(prediction)
    made_by, about, *_ = (dict(record.get(key) or {}) for key in ("made_by", "about"))
    state = {key: record.get(key) for key in ("inputs", "slices")}
    content = {"made_by": made_by, **state, "bytes": prediction.stat().st_size, "about": about}
    write_text(record_path(prediction), json.dumps(content, indent=2) + "\n")


def remove_record(prediction: Path | str) -> None:
    """Remove the record of a prediction that is about to be replaced, since it is no longer finished.

    Raises:
        OutputError: The file is not a record.
    """
    check_record_output(prediction)
    record_path(prediction).unlink(missing_ok=True)


def prediction_path(output_dir: Path | str, subject: AnySubject, stain: str) -> Path:
    """Return ``OUTPUT/<subject>/<subject>_<stain>.nii.gz``, or ``.mat`` for a patch file, whose patches lie on no grid."""
    return Path(output_dir) / subject.name / f"{subject.name}_{stain}{input_kind(subject).result_ending}"


def is_finished(prediction: Path, subject: AnySubject, made_by: Mapping[str, Any]) -> bool:
    """Return whether a prediction is complete, and was made from the same files, by the same weights and with the same options.

    Args:
        prediction: File of the prediction.
        subject: Its subject.
        made_by: Result of `fingerprint`.
    """
    if not isinstance(subject, Subject):
        return False  # A record cannot tell one array from another, because arrays have no files.
    try:
        content = {"made_by": dict(made_by), **input_state(subject), "bytes": prediction.stat().st_size}
        record = json.loads(record_path(prediction).read_text(encoding="utf-8-sig"))
        return {key: record.get(key) for key in content} == content
    except (OSError, ValueError):
        return False
