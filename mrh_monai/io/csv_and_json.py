"""Tables as CSV, and results as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV. The cell of a number that could not be computed, or is infinite, is empty.

    Args:
        rows: One mapping from column to value for each row, all with the same keys; at least one row.

    Example:
        >>> print(as_csv([{"subject": "a", "ssim": 0.5}, {"subject": "b", "ssim": float("nan")}]), end="")
        subject,ssim
        a,0.5
        b,
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if _is_not_finite(value) else value for key, value in row.items()})
    return stream.getvalue()


def as_json(content: Mapping[str, Any]) -> str:
    """Return results as indented JSON. A number that could not be computed, or is infinite, becomes null.

    Args:
        content: Numbers, texts, None, and mappings, lists and tuples of them.

    Example:
        >>> print(as_json({"ssim": float("nan"), "interval": (0.25, 0.5)}))
        {
          "ssim": null,
          "interval": [
            0.25,
            0.5
          ]
        }
    """

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [plain(inner) for inner in value]
        return None if _is_not_finite(value) else value

    return json.dumps(plain(dict(content)), indent=2)


def _is_not_finite(value: Any) -> bool:
    return isinstance(value, float | np.floating) and not np.isfinite(value)
