from dataclasses import dataclass
from typing import Annotated

import pytest
import yaml

from mrh_monai.bundle.option_definition import (
    Option,
    argument_lines,
    config_lines,
    options_of,
    read_options,
    recipe_value,
    recorded_titles,
    table_rows,
)
from mrh_monai.bundle.option_values import flag, optional, text, whole_number
from mrh_monai.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Kitchen:
    """Some options of every kind."""

    pot: Annotated[str, Option(text, "name of the pot", default="copper")]
    water: Annotated[int | None, Option(optional(whole_number()), "amount of water, in litres", unset="as much as fits", source="Book: 2")]
    stove: Annotated[str, Option(text, "stove", config_text="$@kitchen + '/stove'", in_table="the first one")]
    minutes: Annotated[int, Option(whole_number(), "cooking time, in minutes", by_recipe=True, recorded=True)]
    salt: Annotated[bool, recipe_value(flag, few=True)]
    note: str = ""


def test_the_lines_of_a_config_are_yaml_with_the_defaults():
    lines = config_lines(Kitchen)
    assert yaml.safe_load(lines) == {"pot": "copper", "water": None, "stove": "$@kitchen + '/stove'", "minutes": None}
    assert lines.splitlines() == [
        "pot: copper               # name of the pot",
        "water: null               # amount of water, in litres; null: as much as fits. Book: 2",
        "stove: $@kitchen + '/stove'",
        "                          # stove",
        "",
        "# null: the recipe's value",
        "minutes: null             # cooking time, in minutes",
    ]


def test_arguments_refer_to_every_id():
    assert yaml.safe_load(argument_lines(Kitchen)) == {name: f"@{name}" for name in ("pot", "water", "stove", "minutes")}


def test_the_table_has_a_row_for_every_id():
    assert table_rows(Kitchen).splitlines() == [
        "| `pot` | `copper` | name of the pot |",
        "| `water` | as much as fits | amount of water, in litres |",
        "| `stove` | the first one | stove |",
        "| `minutes` | the recipe's | cooking time, in minutes |",
    ]


def test_fields_without_a_definition_are_no_options():
    assert list(options_of(Kitchen)) == ["pot", "water", "stove", "minutes", "salt"]
    assert recorded_titles(Kitchen) == {"minutes": "minutes"}


def test_values_are_read_and_defaults_filled_in():
    assert read_options(Kitchen, {"pot": 5, "water": "none"}) == {"pot": "5", "water": None, "stove": "None"}
    with pytest.raises(OptionError, match="water: expected a whole number of at least 1, found 0"):
        read_options(Kitchen, {"water": 0})
    with pytest.raises(OptionError, match="settings: expected options of this run, found the unknown pots; did you mean pot"):
        read_options(Kitchen, {"pots": 1})
