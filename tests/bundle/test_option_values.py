import math
from pathlib import Path

import pytest

from mrh_monai.bundle.option_values import choice, flag, integer, integers, none_if_unset, number, optional, path, slices, whole_number
from mrh_monai.errors import OptionError


@pytest.mark.parametrize(
    ("value", "found"), [(True, True), ("true", True), ("TRUE", True), ("False", False), ("null", False), ("", False), (None, False)]
)
def test_flags_in_any_spelling(value, found):
    assert flag("resume", value) is found


@pytest.mark.parametrize(("value", "found"), [("none", None), ("Null", None), ("", None), (None, None), ("a", "a"), (0, 0)])
def test_unset_in_any_spelling(value, found):
    assert none_if_unset(value) == found
    assert optional(lambda name, given: given)("x", value) == found


@pytest.mark.parametrize(("value", "found"), [("0:13,17:30", ((0, 13), (17, 30))), ([[0, 13]], ((0, 13),)), ("null", None), (None, None)])
def test_slices_in_both_spellings(value, found):
    assert slices(value) == found


def test_numbers_within_their_range():
    assert (integer("seed", 0, 0), whole_number(-math.inf)("frozen", -3), number("a", "1e-3"), number("a", 0, zero=True)) == (
        0,
        -3,
        1e-3,
        0,
    )
    assert integers("--retrain-top", None) == []
    assert path("output_dir", "a/b") == Path("a/b")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: flag("resume", "maybe"), "resume: expected True or False, found 'maybe'"),
        (lambda: integer("epochs", "ten"), "epochs: expected a whole number of at least 1, found 'ten'; .* --epochs 1"),
        (lambda: integer("epochs", 0), "found 0"),
        (lambda: integer("epochs", True), "found True"),
        (lambda: integer("seed", 8, 0, 8), "seed: expected a whole number of at least 0 and below 8, found 8"),
        (lambda: integers("--top", "4,a"), "--top: expected whole numbers above 0, separated by commas, found '4,a'"),
        (lambda: number("learning_rate", "fast"), "learning_rate: expected a positive number, found 'fast'"),
        (lambda: number("learning_rate", -1), "found -1"),
        (lambda: number("learning_rate", 0), "found 0"),
        (lambda: number("learning_rate", "inf"), "found 'inf'"),
        (lambda: number("mixup", -1, zero=True), "mixup: expected a number of at least 0"),
        (lambda: slices("5"), "slices: expected ranges such as 0:13,17:30, found '5'"),
        (lambda: slices("5:3", "--train-slices"), "--train-slices: expected .* found 5:3"),
        (lambda: choice("a", "b", "c")("recipe", "d"), "recipe: expected a, b or c, found 'd'"),
        (lambda: choice("a", "b")("recipe", ["a"]), r"recipe: expected a or b, found \['a'\]"),
    ],
)
def test_wrong_values_are_named(call, message):
    with pytest.raises(OptionError, match=message):
        call()
