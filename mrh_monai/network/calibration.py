"""How wide intervals must be: what was found on subjects that took no part in the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVEL = 0.9  # share of the voxels of a subject that its intervals are meant to hold
PERCENTS = np.arange(1, 100)
LARGEST_RATIO = 1e6  # of an error and the expected error; a larger one is damage


@dataclass(frozen=True)
class HeldSubject:
    """A subject with histology that took no part in the training, and how large its errors are.

    Attributes:
        name: Name of the subject.
        voxels: Number of voxels on which it was measured.
        ratios: The 1st to the 99th percentile, over these voxels, of the error divided by what the interval head expects.
    """

    name: str
    voxels: int
    ratios: tuple[float, ...]

    @classmethod
    def measured(cls, name: str, errors: np.ndarray, expected: np.ndarray) -> HeldSubject:
        """Return what is stored of a subject.

        Args:
            name: Name of the subject.
            errors: (V,) prediction minus stain, in any unit.
            expected: (V,) size of the error that the interval head expects, in the same unit.

        Example:
            >>> subject = HeldSubject.measured("m7", np.linspace(-1, 1, 1001), np.full(1001, 0.5))
            >>> subject.multiplier(0.9), subject.coverage(1.0)
            (1.8, 0.5)
        """
        ratios = np.percentile(np.abs(errors) / expected, PERCENTS)
        return cls(name, len(errors), tuple(round(float(ratio), 5) for ratio in ratios))

    def multiplier(self, level: float = LEVEL) -> float:
        """Return how many expected errors an interval must reach in both directions to hold a share of this subject's voxels."""
        return float(np.interp(100 * level, PERCENTS, self.ratios))

    def coverage(self, multiplier: float) -> float:
        """Return the share of this subject's voxels that intervals of a multiplier hold."""
        return float(np.interp(multiplier, self.ratios, PERCENTS / 100))

    def to_dict(self) -> dict[str, Any]:
        """Return the subject as plain values, for JSON."""
        return {"name": self.name, "voxels": self.voxels, "ratios": list(self.ratios)}


@dataclass(frozen=True)
class Calibration:
    """What was measured on held-out subjects, from which the width of intervals follows.

    Attributes:
        subjects: The subjects; with an empty tuple, no intervals are given.
        sha256: SHA-256 of the weights of the interval head.
        level: Share of the voxels of a subject that its intervals are meant to hold.

    Example:
        >>> subjects = [HeldSubject.measured(f"m{i}", np.linspace(-1, 1, 1001), np.full(1001, 1 / i)) for i in (2, 3, 4)]
        >>> calibration = Calibration(tuple(subjects))
        >>> round(calibration.multiplier, 3)
        3.6
        >>> calibration.held
        'made to hold 90% of the voxels of a subject; held on 3 subjects, each by the other two: 68 to 99%'
    """

    subjects: tuple[HeldSubject, ...] = ()
    sha256: str = ""
    level: float = LEVEL

    @property
    def multiplier(self) -> float:
        """How many expected errors an interval reaches in both directions: the largest number that a subject needs.

        Errors differ more between subjects than between the voxels of one. So the mean of the subjects would be too small for half of the
        subjects to come.
        """
        return max(subject.multiplier(self.level) for subject in self.subjects)

    @property
    def coverages(self) -> list[float]:
        """The share of each subject's voxels that intervals hold if they are made by the other subjects alone; empty below two subjects."""
        found = []
        for index, subject in enumerate(self.subjects):
            others = [*self.subjects[:index], *self.subjects[index + 1 :]]
            if others:
                found.append(subject.coverage(max(other.multiplier(self.level) for other in others)))
        return found

    @property
    def held(self) -> str:
        """What the intervals have held so far, in words."""
        count = len(self.subjects)
        if count == 0:
            return "no subject with histology was held out of the training, so that nobody knows how wide they must be"
        if count == 1:
            return "measured on one subject only, so that nobody knows how much of another subject they hold"
        shares = sorted(round(100 * share) for share in self.coverages)
        each = "each by the other one" if count == 2 else f"each by the other {_number(count - 1)}"
        return f"made to hold {self.level:.0%} of the voxels of a subject; held on {count} subjects, {each}: {shares[0]} to {shares[-1]}%"

    def to_dict(self) -> dict[str, Any]:
        """Return the calibration as plain values, for JSON."""
        return {"sha256": self.sha256, "level": self.level, "subjects": [subject.to_dict() for subject in self.subjects]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Return the calibration that `to_dict` wrote.

        Raises:
            ValueError: A value is not what it should be.
        """
        subjects = tuple(_held_subject(each) for each in values["subjects"])
        if not isinstance(values["sha256"], str):
            raise ValueError(f"sha256 is {values['sha256']!r}")
        level = values["level"]
        if not isinstance(level, float) or not 0.5 <= level <= 0.99:
            raise ValueError(f"level is {level!r}")
        return cls(subjects, values["sha256"], level)


def _held_subject(values: Mapping[str, Any]) -> HeldSubject:
    name, voxels, ratios = (values[key] for key in ("name", "voxels", "ratios"))
    if not isinstance(name, str) or type(voxels) is not int or voxels < 1:
        raise ValueError(f"a held-out subject {name!r} with {voxels!r} voxels")
    if not _rises(ratios):
        raise ValueError(f"the errors of {name} are not {len(PERCENTS)} numbers that rise from 0 on")
    return HeldSubject(name, voxels, tuple(map(float, ratios)))


def _rises(ratios: Sequence[Any]) -> bool:
    if not isinstance(ratios, list) or not all(type(ratio) in (int, float) and 0 <= ratio <= LARGEST_RATIO for ratio in ratios):
        return False
    return len(ratios) == len(PERCENTS) and list(ratios) == sorted(ratios)


def _number(count: int) -> str:
    return "two" if count == 2 else str(count)
