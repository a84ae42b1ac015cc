"""Values of options as users type them: each function returns the value in its proper type, or raises an error that names the option.

`monai.bundle run` reads Python literals. So ``--resume True`` is a truth value, but ``--resume true`` is the text "true", and
``--pretrained null`` is the text "null". Here both spellings mean the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mrh_monai.errors import OptionError
from mrh_monai.subjects import Slices

Reader = Callable[[str, Any], Any]
NONE_WORDS = ("none", "null", "")


def none_if_unset(value: Any) -> Any:
    """Return None for None and for the words none and null in any case; return anything else as it is.

    Example:
        >>> none_if_unset("Null"), none_if_unset("mrh_af")
        (None, 'mrh_af')
    """
    return None if isinstance(value, str) and value.strip().lower() in NONE_WORDS else value


def optional(read: Reader) -> Reader:
    """Return a function that reads a value with ``read``, and returns None where no value is given."""

    def read_optional(name: str, value: Any) -> Any:
        value = none_if_unset(value)
        return None if value is None else read(name, value)

    return read_optional


def text(name: str, value: Any) -> str:
    """Return a value as text."""
    return str(value)


def path(name: str, value: Any) -> Path:
    """Return a value as a path."""
    return Path(str(value))


def flag(name: str, value: Any) -> bool:
    """Return a truth value; the words true and false are understood in any case.

    Raises:
        OptionError: The value is neither true nor false.

    Example:
        >>> flag("resume", "true"), flag("resume", None)
        (True, False)
    """
    word = str(value).strip().lower()
    if word in ("true", "1", "yes"):
        return True
    if word in ("false", "0", "no", *NONE_WORDS):
        return False
    raise OptionError(name, "True or False", repr(value), f"give --{name} True")


def choice(*known: str) -> Reader:
    """Return a function that accepts only some words.

    Example:
        >>> choice("random", "published")("sampling", "random")
        'random'
    """

    def read_choice(name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            raise OptionError(name, _enumeration(known), repr(value), f"give --{name} {known[0]}")
        return value

    return read_choice


def switch(*known: str) -> Reader:
    """Return a function that accepts some words, among them ``on`` and ``off``, which YAML reads as truth values.

    Example:
        >>> switch("off", "auto", "on")("align", False)
        'off'
    """
    read = choice(*known)
    return lambda name, value: read(name, ("on" if value else "off") if isinstance(value, bool) else value)


def integer(name: str, value: Any, least: float = 1, below: float = math.inf) -> int:
    """Return a whole number.

    Args:
        name: Name of the option.
        value: The value as typed.
        least: Smallest number that is allowed.
        below: Smallest number that is too large.

    Raises:
        OptionError: The value is not a whole number, or is outside the range.

    Example:
        >>> integer("epochs", 4)
        4
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < below:
        expected = (
            "a whole number" + (f" of at least {least}" if least > -math.inf else "") + (f" and below {below}" if below < math.inf else "")
        )
        raise OptionError(name, expected, repr(value), f"give such a number, for example --{name} {max(least, 1):g}")
    return value


def whole_number(least: float = 1, below: float = math.inf) -> Reader:
    """Return a function that reads whole numbers within a range."""
    return lambda name, value: integer(name, value, least, below)


def integers(name: str, value: str | None) -> list[int]:
    """Return whole numbers above 0 that are separated by commas; an empty list for None.

    Raises:
        OptionError: The value is not such a list.

    Example:
        >>> integers("--retrain-top", "4,17,38")
        [4, 17, 38]
    """
    if value is None:
        return []
    words = value.split(",")
    if not all(word.strip().isascii() and word.strip().isdigit() and int(word) > 0 for word in words):
        expected = "whole numbers above 0, separated by commas"
        raise OptionError(name, expected, repr(value), f"give numbers such as {name} 4,17,38")
    return [int(word) for word in words]


def number(name: str, value: Any, zero: bool = False) -> float:
    """Return a positive number. Text such as ``1e-3`` is read as a number; YAML takes it for text.

    Args:
        name: Name of the option.
        value: The value as typed.
        zero: Whether 0 is allowed too.

    Raises:
        OptionError: The value is not a finite number, or is too small.

    Example:
        >>> number("learning_rate", "1e-3")
        0.001
    """
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if math.isfinite(found) and (found > 0 or (zero and found == 0)):
        return found
    expected = "a number of at least 0" if zero else "a positive number"
    raise OptionError(name, expected, repr(value), f"give such a number, for example --{name} 0.001")


def number_or_zero(name: str, value: Any) -> float:
    """Return a number of at least 0, see `number`."""
    return number(name, value, zero=True)


def slices(value: Any, name: str = "slices") -> Slices | None:
    """Return coronal ranges (start, stop), counted from 0, the stop excluded; None where no value is given.

    Args:
        value: ``[[0, 13], [17, 30]]`` or ``0:13,17:30``.
        name: Name of the option.

    Raises:
        OptionError: The value is not such a list of ranges.

    Example:
        >>> slices("0:13,17:30")
        ((0, 13), (17, 30))
    """
    value = none_if_unset(value)
    if value is None:
        return None
    expected, remedy = "ranges such as 0:13,17:30", "give START:STOP, counted from 0, the stop excluded"
    try:
        pairs = [part.split(":") for part in value.split(",")] if isinstance(value, str) else value
        ranges = tuple((int(start), int(stop)) for start, stop in pairs)
    except (TypeError, ValueError) as error:
        raise OptionError(name, expected, repr(value), remedy) from error
    for start, stop in ranges:
        if not 0 <= start < stop:
            raise OptionError(name, expected, f"{start}:{stop}", remedy)
    return ranges


def _enumeration(words: tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
