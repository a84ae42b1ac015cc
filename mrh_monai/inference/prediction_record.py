"""The record of a prediction: a JSON file beside it that says from what it was made. A finished prediction has one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mrh_monai.data import input_kind
from mrh_monai.io import is_patch_file, sha256, volume_ending, write_text
from mrh_monai.network import sidecar_path
from mrh_monai.output_files import check_outputs
from mrh_monai.subjects import AnySubject, Subject, files_of

STATED = ("voxel_size", "coronal_axis")  # what a record has only where the user stated it


def fingerprint(ckpt_path: Path | str, *, intervals: bool = False, **options: Any) -> dict[str, Any]:
    """Return what a prediction depends on besides the files of the subject.

    Args:
        ckpt_path: The weights, `model.pt`.
        intervals: Whether the prediction has intervals.
        options: Whatever else the prediction depends on; kept as text.

    Returns:
        ``weights`` and ``sidecar``, their SHA-256, and the options.
    """
    hashes = {"weights": sha256(ckpt_path), "sidecar": sha256(sidecar_path(ckpt_path))}
    if intervals:  # only then, so that records of bundles without intervals stay valid
        options["intervals"] = True
    return hashes | {name: str(value) for name, value in options.items()}


def input_state(subject: AnySubject) -> dict[str, Any]:
    """Return the files of a subject with their sizes and times of change, and its slices. Call this before the files are read.

    Returns:
        ``inputs``: path to [bytes, time of change in ns]; ``slices``; and ``voxel_size`` and ``coronal_axis``, if they were stated.
    """
    files = set(files_of(replace(subject, target=None, target_mask=None, listed_in=None))) if isinstance(subject, Subject) else set()
    inputs = {str(file): [file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(files)}
    stated: dict[str, Any] = {"coronal_axis": subject.coronal_axis}
    if isinstance(subject, Subject) and subject.voxel_size is not None:
        stated["voxel_size"] = list(subject.voxel_size)
    slices = None if subject.slices is None else [list(pair) for pair in subject.slices]
    return {"inputs": inputs, "slices": slices, **{key: value for key, value in stated.items() if value is not None}}


def record_path(prediction: Path | str) -> Path:
    """Return the path of the record of a prediction: ``NAME.json`` beside ``NAME.nii.gz``.

    Example:
        >>> record_path("m1/m1_af.nii.gz").as_posix()
        'm1/m1_af.json'
    """
    path = Path(prediction)
    ending = path.suffix if is_patch_file(path) else volume_ending(path)
    return path.with_name(f"{path.name[: len(path.name) - len(ending)]}.json")


def bound_paths(prediction: Path | str) -> dict[str, Path]:
    """Return the paths of the bounds of a prediction's intervals, by their names ``lower`` and ``upper``.

    Example:
        >>> bound_paths("m1/m1_af.nii.gz")["lower"].as_posix()
        'm1/m1_af_lower.nii.gz'
    """
    path, stem = Path(prediction), record_path(prediction).stem
    return {name: path.with_name(f"{stem}_{name}{path.name[len(stem) :]}") for name in ("lower", "upper")}


def read_record(prediction: Path | str) -> dict[str, Any] | None:
    """Return the record of a prediction; None where the file does not exist or is not a record."""
    try:
        content = json.loads(record_path(prediction).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and "made_by" in content else None


def check_prediction_output(
    prediction: Path | str, inputs: Iterable[Path | str] = (), overwrite: bool = False, bounds: bool = False
) -> None:
    """Refuse a prediction that would replace a file which is not a prediction of this package, or a file that it is made from.

    Args:
        prediction: File to write. A file there is a prediction if its record says so, and if it is unchanged since. Its record must not
            replace another file either, such as a datalist.
        inputs: Files from which the prediction is made.
        overwrite: Whether other files may be replaced; inputs never are.
        bounds: Whether the bounds of its intervals are written too.

    Raises:
        OutputError: There is such a file.
    """
    inputs = list(inputs)
    check_outputs("prediction", [record_path(prediction)], inputs, overwrite, lambda _: read_record(prediction) is not None)
    check_outputs("prediction", [prediction], inputs, overwrite, lambda path: sha256(path) in _known(read_record(prediction)))
    if bounds:
        own = own_bounds(prediction)
        check_outputs("prediction", bound_paths(prediction).values(), inputs, overwrite, lambda path: path in own)


def recorded_bounds(record: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return what a record says of the files ``lower`` and ``upper``; an empty dict where it says nothing that could be used."""
    bounds = (record or {}).get("bounds")
    return {name: bounds[name] for name in ("lower", "upper") if isinstance(bounds, dict) and isinstance(bounds.get(name), dict)}


def own_bounds(prediction: Path | str) -> list[Path]:
    """Return the files with the bounds of a prediction that are there and are unchanged since its record was written."""
    files, recorded = bound_paths(prediction), recorded_bounds(read_record(prediction))
    return [files[name] for name, state in recorded.items() if files[name].is_file() and sha256(files[name]) in _known(state)]


def _known(state: Mapping[str, Any] | None) -> set[Any]:
    """Return the SHA-256 that a file may have: that of the finished one; while it is being replaced, those of the old and the new one."""
    if state is None:
        return set()
    names = ("sha256",) if state.get("bytes") is not None else ("replaces", "becomes")
    return {state.get(name) for name in names} - {None}


def announce(prediction: Path | str, record: Mapping[str, Any], new: Mapping[Path, str]) -> None:
    """Write the record of a prediction whose files are about to take their places: the names are taken, but it is not finished.

    Args:
        prediction: File of the prediction.
        record: See `write_record`.
        new: SHA-256 of each file that will be written.

    Raises:
        OutputError: The record cannot be written.
    """

    def state(path: Path) -> dict[str, Any]:
        return {"bytes": None, "sha256": None, "replaces": sha256(path) if path.is_file() else None, "becomes": new.get(path)}

    bounds = {name: state(path) for name, path in bound_paths(prediction).items() if path in new or path in own_bounds(prediction)}
    _write(prediction, record, state(Path(prediction)) | ({"bounds": bounds} if bounds else {}))


def write_record(prediction: Path | str, record: Mapping[str, Any], bounds: bool = False) -> None:
    """Write the record of a prediction, once the prediction itself is complete.

    Args:
        prediction: File of the prediction.
        record: ``made_by`` (see `fingerprint`), ``inputs`` and ``slices`` (see `input_state`), and ``about``, which is for readers only.
            The number of bytes of the prediction and its SHA-256 are added.
        bounds: Whether the bounds of its intervals belong to it; their bytes and SHA-256 are then added too.

    Raises:
        OutputError: The record cannot be written.
    """
    added = {"bounds": {name: _state(path) for name, path in bound_paths(prediction).items()}} if bounds else {}
    _write(prediction, record, _state(Path(prediction)) | added)


def _state(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": sha256(file)}


def _write(prediction: Path | str, record: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    made_by, about = (dict(record.get(key) or {}) for key in ("made_by", "about"))
    state = {key: record.get(key) for key in ("inputs", "slices")} | {key: record[key] for key in STATED if key in record}
    write_text(record_path(prediction), json.dumps({"made_by": made_by, **state, **content, "about": about}, indent=2) + "\n")


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
        content = {"made_by": dict(made_by), **dict.fromkeys(STATED), **input_state(subject), "bytes": prediction.stat().st_size}
        record = json.loads(record_path(prediction).read_text(encoding="utf-8-sig"))
        files = bound_paths(prediction)
        complete = all(files[name].stat().st_size == state.get("bytes") for name, state in recorded_bounds(record).items())
        return complete and {key: record.get(key) for key in content} == content
    except (OSError, ValueError, AttributeError):
        return False
