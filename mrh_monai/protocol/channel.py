"""One MR image: its name, b-value, direction, scan time, and which diffusion images belong to one shell."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mrh_monai.errors import OptionError

# An image with a smaller b-value counts as not diffusion-weighted, in s/mm^2. The imaging gradients of MRH-Net's protocol alone reach 43.5.
UNWEIGHTED_BELOW = 100.0
# Two b-values belong to different shells from this ratio on.
SHELL_GAP = 1.1
# Length below which three numbers are no direction, and by how much rounding changes the length of a unit vector.
SHORTEST, ROUNDED = 1e-3, 1e-3
FIELDS = ("name", "b_value", "direction", "minutes", "contrast")


@dataclass(frozen=True)
class Channel:
    """One MR image of a subject.

    Attributes:
        name: Name, unique within a protocol. The channels of two networks are matched by it.
        b_value: Effective b-value in s/mm^2; None where the image is not diffusion-weighted.
        direction: Gradient direction (x, y, z); None if the image has no direction. It may be given in any length above 0.001, and is a
            unit vector afterwards; an image without diffusion weighting has no direction, whatever is given.
        minutes: Scan time in minutes; None where it is unknown.
        contrast: Name that channels of the same contrast share, see `MRProtocol.groups`; None to group by b-value and direction.

    Raises:
        OptionError: A value is outside its range.

    Example:
        >>> Channel("dwi_01", b_value=1000, direction=(1, 0, 0)).description
        'dwi_01, b = 1000 s/mm^2'
    """

    name: str
    b_value: float | None = None
    direction: tuple[float, float, float] | None = None
    minutes: float | None = None
    contrast: str | None = None

    def __post_init__(self) -> None:
        direction = self.direction
        is_direction = direction is None or (len(direction) == 3 and all(map(_is_number, direction)))
        self._check("name", "one line of text without quotes", _is_line(self.name))
        self._check("contrast", "one line of text without quotes", self.contrast is None or _is_line(self.contrast))
        self._check("b_value", "a number of s/mm^2, 0 or more", self.b_value is None or (_is_number(self.b_value) and self.b_value >= 0))
        self._check("minutes", "a number above 0", self.minutes is None or (_is_number(self.minutes) and self.minutes > 0))
        self._check("direction", "three numbers", is_direction)
        if self.is_unweighted:
            object.__setattr__(self, "direction", None)
        elif direction is not None:
            length = math.hypot(*direction)
            self._check("direction", f"three numbers that form a vector longer than {SHORTEST:g}", length > SHORTEST)
            if abs(length - 1) > ROUNDED:
                object.__setattr__(self, "direction", tuple(number / length for number in direction))

    def _check(self, key: str, expected: str, fits: bool) -> None:
        if not fits:
            where = f"channel {self.name!r}, {key}"
            raise OptionError(where, expected, repr(getattr(self, key)), f"correct `{key}` in the file that lists the channels")

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Channel:
        """Return the channel that a plain dict describes: ``name`` and optional ``b_value``, ``direction``, ``minutes``, ``contrast``.

        Raises:
            OptionError: A value is outside its range.
            KeyError: The dict has no ``name``.
            TypeError: A value has a wrong type.
        """
        direction = row.get("direction")
        vector = None if direction is None else tuple(direction)
        return cls(row["name"], row.get("b_value"), vector, row.get("minutes"), row.get("contrast"))

    def to_row(self) -> dict[str, Any]:
        """Return the channel as a plain dict without its empty fields, for JSON and YAML."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @property
    def is_unweighted(self) -> bool:
        """Whether the image belongs to a diffusion scan, but is not diffusion-weighted: its b-value is below 100 s/mm^2."""
        return self.b_value is not None and self.b_value < UNWEIGHTED_BELOW

    @property
    def description(self) -> str:
        """The name, with the b-value where there is one, for `metadata.json` and reports."""
        return self.name if self.b_value is None else f"{self.name}, b = {self.b_value:g} s/mm^2"


def shells_of(b_values: Sequence[float]) -> dict[int, list[int]]:
    """Group diffusion-weighted images into shells.

    Args:
        b_values: (N,) b-values in s/mm^2. Images below 100 s/mm^2 belong to no shell.

    Returns:
        The indices of the images of each shell, sorted by b-value, by the shell's nominal b-value: the mean of its images, rounded to the
        nearest 100 s/mm^2. The lowest shell comes first. A new shell begins where a b-value is more than a tenth above the next lower one.

    Example:
        >>> shells_of([43, 1900, 4800, 1910])
        {1900: [1, 3], 4800: [2]}
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(b_values)), key=lambda index: b_values[index]):
        if b_values[index] < UNWEIGHTED_BELOW:
            continue
        if groups and b_values[index] <= b_values[groups[-1][-1]] * SHELL_GAP:
            groups[-1].append(index)
        else:
            groups.append([index])
    shells: dict[int, list[int]] = {}
    for group in groups:
        mean = sum(b_values[index] for index in group) / len(group)
        nominal = round(mean / 100) * 100
        shells[nominal if nominal not in shells else round(mean)] = group
    return shells


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_line(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[^\x00-\x1f\x7f\"'\\]{1,80}", value) is not None
