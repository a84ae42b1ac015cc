"""Rows as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of the same keys as CSV; empty where a number could not be computed."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {key: "" if isinstance(value, float | np.floating) and not np.isfinite(value) else value for key, value in row.items()}
        )
    return stream.getvalue()
