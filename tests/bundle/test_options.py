from pathlib import Path

import pytest

from mrh_monai.bundle.options import fingerprint, flag, integer, number, optional, output_folder, slices, training_settings, tuned
from mrh_monai.errors import OptionError

RECIPE = {"epochs": 4, "batch_size": 8, "learning_rate": 1.0, "patches": 9, "patience": None, "least_steps": 1}
RECIPES = {"a": RECIPE, "b": RECIPE}
GIVEN = {
    "datalist": "d.json",
    "pretrained": "none",
    "new_channels": False,
    "output_dir": "out",
    "residual_blocks": 5,
    "seed": 0,
    "slices": None,
    "validation_patches": 10,
    "resume": False,
    "epochs": None,
    "batch_size": None,
    "learning_rate": None,
    "patches": None,
}


@pytest.mark.parametrize(
    ("value", "found"), [(True, True), ("true", True), ("TRUE", True), ("False", False), ("null", False), ("", False), (None, False)]
)
def test_flags_in_any_spelling(value, found):
    assert flag("resume", value) is found


@pytest.mark.parametrize(("value", "found"), [("none", None), ("Null", None), ("", None), (None, None), ("a", "a"), (0, 0)])
def test_none_in_any_spelling(value, found):
    assert optional(value) == found


@pytest.mark.parametrize(("value", "found"), [("0:13,17:30", ((0, 13), (17, 30))), ([[0, 13]], ((0, 13),)), ("null", None), (None, None)])
def test_slices_in_both_spellings(value, found):
    assert slices(value) == found


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: flag("resume", "maybe"), "resume: expected True or False, found 'maybe'"),
        (lambda: integer("epochs", "ten"), "epochs: expected a whole number of at least 1, found 'ten'"),
        (lambda: integer("epochs", 0), "found 0"),
        (lambda: integer("epochs", True), "found True"),
        (lambda: number("learning_rate", "fast"), "learning_rate: expected a positive number, found 'fast'"),
        (lambda: number("learning_rate", -1), "found -1"),
        (lambda: slices("5"), "slices: expected ranges such as 0:13,17:30, found '5'"),
        (lambda: slices("5:3"), "found 5:3"),
        (lambda: output_folder("null"), "output_dir: expected a folder for the results, found nothing"),
        (lambda: training_settings(RECIPES, "c", **GIVEN), "recipe: expected a, b, found 'c'"),
        (lambda: training_settings(RECIPES, [1], **GIVEN), r"recipe: expected a, b, found \[1\]"),
        (lambda: training_settings({"a": {**RECIPE, "patiense": 1}, "b": RECIPE}, "a", **GIVEN), "found patiense; did you mean patience"),
        (lambda: training_settings(RECIPES, "a", **{**GIVEN, "seed": 2**32}), "seed: expected a whole number below 2"),
        (
            lambda: training_settings(RECIPES, "a", {"a": {"rate": 1}}, **{**GIVEN, "pretrained": "x.pt"}),
            "transfers::a: expected what every",
        ),
        (lambda: training_settings({"a": {**RECIPE, "few": {"frozen": 1}}}, "a", **GIVEN), "recipes::a::few: expected `below`, a number"),
        (lambda: training_settings({"a": {**RECIPE, "few": {"below": 1, "epochs": 1}}}, "a", **GIVEN), "found .*epochs"),
        (lambda: training_settings(RECIPES, "a", **{**GIVEN, "new_channels": "perhaps"}), "new_channels: expected True or False"),
    ],
)
def test_wrong_values_are_named(call, message):
    with pytest.raises(OptionError, match=message):
        call()


def test_what_is_given_comes_before_the_recipe():
    settings = training_settings(RECIPES, "a", **{**GIVEN, "epochs": 7, "learning_rate": "1e-3", "resume": "true"})
    assert (settings.epochs, settings.batch_size, settings.learning_rate, settings.resume) == (7, 8, 1e-3, True)
    assert settings.output_dir == Path("out")


def test_a_parent_changes_what_its_recipe_says_it_changes():
    transfers = {"a": {"learning_rate": 0.5}}
    parent = {"pretrained": "../mrh_af"}
    assert training_settings(RECIPES, "a", transfers, **GIVEN).learning_rate == 1.0
    assert training_settings(RECIPES, "a", transfers, **{**GIVEN, **parent}).learning_rate == 0.5
    assert training_settings(RECIPES, "a", transfers, **{**GIVEN, **parent, "learning_rate": 0.1}).learning_rate == 0.1
    assert training_settings(RECIPES, "b", transfers, **{**GIVEN, **parent}).pretrained == "../mrh_af"
    given = [training_settings(RECIPES, "a", **{**GIVEN, "batch_size": size}).batch_size_given for size in (None, "none", 8)]
    assert given == [False, False, True]


def test_few_patches_change_what_the_recipe_says_unless_it_was_typed():
    recipes = {"a": {**RECIPE, "frozen": 0, "few": {"below": 100, "frozen": 2, "learning_rate": "1e-3"}}}
    settings = training_settings(recipes, "a", **GIVEN)
    assert [(tuned(settings, count).frozen, tuned(settings, count).learning_rate) for count in (99, 100)] == [(2, 1e-3), (0, 1.0)]
    typed = training_settings(recipes, "a", **{**GIVEN, "learning_rate": 0.5})
    assert (tuned(typed, 99).frozen, tuned(typed, 99).learning_rate) == (2, 0.5)
    assert tuned(training_settings(RECIPES, "a", **GIVEN), 1).learning_rate == 1.0


def test_fingerprint_is_of_what_changes_the_result():
    one = fingerprint(training_settings(RECIPES, "a", **GIVEN))
    assert one == fingerprint(training_settings(RECIPES, "a", **{**GIVEN, "resume": True, "output_dir": "other", "datalist": "moved.json"}))
    assert one != fingerprint(training_settings(RECIPES, "a", **{**GIVEN, "seed": 1}))
