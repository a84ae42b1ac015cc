from pathlib import Path

import pytest

from mrh_monai.bundle.option_definition import options_of
from mrh_monai.bundle.template_rendering import shipped_settings
from mrh_monai.bundle.training_settings import TrainingSettings
from mrh_monai.errors import OptionError

RECIPE = {
    "epochs": 4, "batch_size": 8, "learning_rate": 1.0, "patches": 9, "sampling": "random", "scaling": "robust", "initialisation": "he",
    "optimizer": "sgd", "weight_decay": 0.0, "momentum": 0.9, "clip_norm": None, "schedule": "drop", "patience": None, "loss": "L1",
    "frozen": 0, "replaced": 0, "head_factor": 1.0, "least_steps": 1, "root_steps": 0, "mirror": False, "mixup": 0.0, "few_patches": None,
    "align": "off", "residual_blocks": 5,
}  # fmt: skip
RECIPES = {"a": RECIPE, "b": RECIPE}
PARENT = {"pretrained": "../mrh_af"}


def settings(transfers=None, recipes=RECIPES, **typed):
    return TrainingSettings.from_options(recipes, transfers, **{"recipe": "a", **typed})


def test_what_is_typed_comes_before_the_recipe():
    found = settings(epochs=7, learning_rate="1e-3", resume="true", output_dir="out", batch_size="none")
    assert (found.epochs, found.batch_size, found.learning_rate, found.resume) == (7, 8, 1e-3, True)
    assert (found.output_folder, found.datalist, found.datalist_folder) == (Path("out"), None, ".")
    assert [found.typed_value(name) for name in ("epochs", "batch_size")] == [7, None]


def test_options_that_an_older_config_does_not_pass_have_their_defaults():
    assert (settings().validation_patches, settings().seed, settings().pretrained) == (4000, 0, None)


def test_a_recipe_of_an_older_bundle_aligns_nothing():
    older = {name: value for name, value in RECIPE.items() if name != "align"}
    assert settings(recipes={"a": older}).align == "off"


def test_the_recipe_has_a_depth_that_the_user_may_change():
    assert [settings(**typed).residual_blocks for typed in ({}, {"residual_blocks": 2})] == [5, 2]
    assert [settings(**typed).typed_value("residual_blocks") for typed in ({}, {"residual_blocks": 0})] == [None, 0]
    older = {name: value for name, value in RECIPE.items() if name != "residual_blocks"}
    assert settings(recipes={"a": older}).residual_blocks is None


def test_on_and_off_may_have_become_truth_values_in_yaml():
    assert [settings(align=value).align for value in (True, False, "auto")] == ["on", "off", "auto"]


def test_a_resumed_run_takes_the_displacements_that_it_found():
    first, resumed = (settings(align="on", seed=4, output_dir="out", resume=resume).sampling_options.alignment for resume in (False, True))
    assert (first.mode, first.seed, first.resume_from) == ("on", 4, None)
    assert resumed.resume_from == Path("out/alignment")


def test_a_parent_changes_what_its_recipe_says_it_changes():
    transfers = {"a": {"learning_rate": 0.5}}
    assert settings(transfers).learning_rate == 1.0
    assert settings(transfers, **PARENT).learning_rate == 0.5
    assert settings(transfers, **PARENT, learning_rate=0.1).learning_rate == 0.1
    assert settings(transfers, **PARENT, recipe="b").learning_rate == 1.0


def test_few_patches_change_what_the_recipe_says_unless_it_was_typed():
    recipes = {"a": {**RECIPE, "few_patches": {"below": 100, "frozen": 2, "learning_rate": "1e-3"}}}
    found = [settings(recipes=recipes).for_patches(count) for count in (99, 100)]
    assert [(each.frozen, each.learning_rate) for each in found] == [(2, 1e-3), (0, 1.0)]
    typed = settings(recipes=recipes, learning_rate=0.5).for_patches(99)
    assert (typed.frozen, typed.learning_rate) == (2, 0.5)
    assert settings().for_patches(9) == settings()


def test_the_last_of_several_changes_for_few_patches_decides():
    tiers = [{"below": 100, "batch_size": 4, "frozen": 1}, {"below": 10, "frozen": 2}]
    found = [settings(recipes={"a": {**RECIPE, "few_patches": tiers}}).for_patches(count) for count in (9, 10, 100)]
    assert [(each.batch_size, each.frozen) for each in found] == [(4, 2), (4, 1), (8, 0)]


def test_least_steps_grow_with_the_square_root_of_the_number_of_patches():
    recipes = {"a": {**RECIPE, "least_steps": 20, "root_steps": 2.5}}
    assert [settings(recipes=recipes).for_patches(count).least_steps for count in (4, 100, 10_000)] == [25, 45, 270]
    assert settings(recipes=recipes).for_patches(100).for_patches(100).least_steps == 45
    assert settings().for_patches(10_000).least_steps == RECIPE["least_steps"]


def test_only_a_typed_batch_size_must_not_exceed_the_patches():
    assert settings().for_patches(3).batch_size == 8
    assert settings(batch_size=4).for_patches(4).batch_size == 4
    with pytest.raises(OptionError, match="batch_size: expected at most the 3 patches that there are, found 4"):
        settings(batch_size=4).for_patches(3)


def test_the_resume_key_has_everything_that_changes_the_result():
    moved = {"resume": True, "output_dir": "other", "datalist": "moved.json", "device": "cpu", "debug": True}
    assert settings().resume_key(data="d") == settings(**moved).resume_key(data="d") != settings().resume_key(data="e")
    assert settings().resume_key() != settings(seed=1).resume_key()
    named = {name for name, option in options_of(TrainingSettings).items() if option.resume_may_differ}
    assert named == {"datalist", "output_dir", "device", "debug", "pretrained", "resume", "overwrite", "intervals"}


def test_the_sidecar_records_the_settings_in_this_order():
    expected = {"recipe": "a", "seed": 3, "epochs": 4, "batch_size": 8, "learning_rate": 1.0, "align": "off"}
    assert list(settings(seed=3).recorded.items()) == list(expected.items())


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"recipe": "c"}, "recipe: expected a or b, found 'c'"),
        ({"recipe": [1]}, r"recipe: expected a or b, found '\[1\]'"),
        ({"seed": 2**32}, "seed: expected a whole number of at least 0 and below 4294967296, found 4294967296"),
        ({"new_channels": "perhaps"}, "new_channels: expected True or False"),
        ({"epoch": 3}, "settings: expected options of this run, found the unknown epoch; did you mean epochs"),
        ({"sampling": "grid"}, "sampling: expected random or published, found 'grid'"),
        ({"align": "maybe"}, "align: expected off, auto or on, found 'maybe'; give --align off"),
        ({"precision": "half"}, "precision: expected float32, tf32, bf16 or auto, found 'half'"),
    ],
)
def test_wrong_options_are_named(typed, message):
    with pytest.raises(OptionError, match=message):
        settings(**typed)
    with pytest.raises(OptionError, match="output_dir: expected a folder for the results, found no folder"):
        _ = settings(output_dir="null").output_folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patiense": 1}, "recipes::a: expected only values that every recipe has, found the unknown patiense; did you mean patience"),
        ({"clip_norm": "much"}, "recipes::a::clip_norm: expected a positive number, found 'much'"),
        ({"optimizer": "adam"}, "recipes::a::optimizer: expected adamw or sgd, found 'adam'"),
        ({"few_patches": {"frozen": 1}}, "recipes::a::few_patches: expected `below`, a number of patches"),
        ({"few_patches": {"below": 1, "epochs": 1}}, "recipes::a::few_patches: .* found .*epochs"),
        ({"few_patches": {"below": 1, "frozen": "x"}}, "recipes::a::few_patches::frozen: expected a whole number, found 'x'"),
        ({"few_patches": [{"below": 9}, {"frozen": 1}]}, "recipes::a::few_patches::1: expected `below`, a number of patches"),
        ({"few_patches": {"below": 0}}, "recipes::a::few_patches::below: expected a whole number of at least 1, found 0"),
    ],
)
def test_wrong_recipes_are_named(changes, message):
    with pytest.raises(OptionError, match=message):
        settings(recipes={"a": {**RECIPE, **changes}})


def test_a_recipe_without_a_value_and_a_transfer_with_an_unknown_one_are_named():
    with pytest.raises(OptionError, match="recipes::a: expected a value of epochs, as every recipe has, found no such value; add epochs"):
        settings(recipes={"a": {name: value for name, value in RECIPE.items() if name != "epochs"}})
    with pytest.raises(OptionError, match="transfers::a: expected only values that every recipe has, found the unknown rate"):
        settings({"a": {"rate": 1}}, **PARENT)


@pytest.mark.parametrize("recipe", ["fast", "paper", "released"])
def test_the_shipped_recipes_are_complete(recipe):
    by_recipe = {name for name, option in options_of(TrainingSettings).items() if option.by_recipe}
    for found in (shipped_settings(recipe), shipped_settings(recipe, pretrained="parent")):
        assert found.recipe == recipe
        assert by_recipe == set(RECIPE)
        assert (found.align, found.residual_blocks) == (("auto", 5) if recipe == "fast" else ("off", 30))
        assert (found.optimizer_options.learning_rate, found.sampling_options.patches) == (found.learning_rate, found.patches)
