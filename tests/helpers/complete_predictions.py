"""Predictions that count as finished, without a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mrh_monai.inference import input_state, prediction_path, write_record
from mrh_monai.subjects import AnySubject


def finish(subject: AnySubject, output_dir: Path, made_by: Mapping[str, Any]) -> Path:
    """Write a file in the place of a subject's prediction, and its record."""
    path = prediction_path(output_dir, subject, "af")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"prediction")
    write_record(path, input_state(subject) | {"made_by": made_by})
    return path
