"""Progress of long work, shown on a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Step = TypeVar("Step")


def progress_bar(steps: Iterable[Step], unit: str, shown: bool = True, text: str | None = None) -> Iterable[Step]:
    """Return the steps of an iteration, and show on a terminal how many are done. Without a terminal, no bar is shown.

    Args:
        steps: Steps of the iteration.
        unit: Name of a step, such as ``subject``.
        shown: Whether to show the bar.
        text: Text before the bar; None for no text.

    Example:
        >>> list(progress_bar(["m1", "m2"], "subject", shown=False))
        ['m1', 'm2']
    """
    return tqdm(list(steps), desc=text, unit=unit, disable=None, leave=False) if shown else steps
