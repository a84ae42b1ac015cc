"""The definition of an option, and everything that follows from it: lines of a config, rows of a table, and checked values.

The options of a run are the fields of a frozen dataclass. An `Option` in the annotation of a field keeps in one place how a value is read
and checked, its default, its help text, where it comes from, and whether the recipe decides it::

    epochs: Annotated[int, Option(whole_number(), "number of epochs", by_recipe=True)]
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

import yaml

from mrh_monai.bundle.option_values import Reader
from mrh_monai.errors import OptionError

# Column at which the comments of a config begin, and the length of a line.
COMMENT_COLUMN, LINE_LENGTH = 26, 140
BY_RECIPE = "the recipe's"


@dataclass(frozen=True)
class Option:
    """One option of a run.

    Attributes:
        read: Function from the name and a value to the value in its proper type; it raises an `OptionError` for a wrong value.
        help: What the option is, for the config and for the table of options.
        default: Value of the option if the user gives none and no recipe decides it. An option that is added after version 0.2.0
            must have a default, because the configs of older bundles do not have it.
        unset: What null means, for example "all slices".
        source: Value of the paper or of the released code, for the config.
        config_text: The value in the config, where it is not the default itself but an expression.
        in_table: The default in the table of options, where it is neither the default itself nor what null means.
        by_recipe: Whether the recipe decides the value unless the user gives one.
        is_id: Whether the option is a top-level id of the config, so that it can be typed; otherwise only recipes have it.
        few: Whether a recipe may have another value for few patches.
        recorded: Whether the sidecar and the model card of trained weights state the value.
        resume_may_differ: Whether a resumed run may have another value than the run that it continues.
    """

    read: Reader
    help: str
    default: Any = None
    unset: str = ""
    source: str = ""
    config_text: str = ""
    in_table: str = ""
    by_recipe: bool = False
    is_id: bool = True
    few: bool = False
    recorded: bool = False
    resume_may_differ: bool = False

    @property
    def value_in_table(self) -> str:
        """The default of the option in words, for a table."""
        if self.by_recipe or self.in_table:
            return self.in_table or BY_RECIPE
        return self.unset if self.default is None else f"`{self.default}`"

    def config_lines(self, name: str) -> list[str]:
        """Return the lines of a config that define the option as a top-level id of this name, with its help as a comment."""
        line = f"{name}: {self.config_text or yaml.safe_dump(self.default).splitlines()[0]}"
        null = f"; null: {self.unset}" if self.unset else ""
        comment = f"{self.help}{null}{f'. {self.source}' if self.source else ''}"
        indent = " " * COMMENT_COLUMN + "# "
        comments = textwrap.wrap(comment, LINE_LENGTH, initial_indent=indent, subsequent_indent=indent)
        if len(line) > COMMENT_COLUMN - 2:
            return [line, *comments]
        return [f"{line:<{COMMENT_COLUMN}}{comments[0].lstrip()}", *comments[1:]]


def recipe_value(read: Reader, few: bool = False, default: Any = None) -> Option:
    """Return the definition of a value that every recipe has, and that is not a top-level id of the config.

    Args:
        read: Function that reads the value, see `Option`.
        few: Whether a recipe may have another value for few patches.
        default: Value in the recipes of older bundles, which do not have it.
    """
    return Option(read, "", default, by_recipe=True, is_id=False, few=few)


def options_of(settings: type) -> dict[str, Option]:
    """Return the options of a class of settings by name, in their order."""
    hints = get_type_hints(settings, include_extras=True)
    annotated = {each.name: getattr(hints[each.name], "__metadata__", ()) for each in fields(settings)}
    return {name: metadata[0] for name, metadata in annotated.items() if metadata}


def read_options(settings: type, typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked values of all options that a user can type and no recipe decides; the default where none is given.

    Args:
        settings: Class of settings.
        typed: Values as they were typed, or as they stand in the config.

    Raises:
        OptionError: A value is wrong, or there is no such option.
    """
    known = {name: each for name, each in options_of(settings).items() if each.is_id}
    refuse_unknown(typed, known, "settings", "options of this run")
    return {name: each.read(name, typed.get(name, each.default)) for name, each in known.items() if not each.by_recipe}


def refuse_unknown(given: Mapping[str, Any], known: Mapping[str, Any], where: str, expected: str) -> None:
    """Refuse keys that are not known.

    Raises:
        OptionError: A key is unknown; the sentence names the known key that is nearest to it.
    """
    for name in given:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            remedy = f"did you mean {nearest[0]}" if nearest else "remove it"
            raise OptionError(where, expected, f"the unknown {name}", remedy)


def config_lines(settings: type) -> str:
    """Return the lines of a config that define the options of a class as top-level ids, with their help as comments.

    Options that the recipe decides come last, under a comment of their own.
    """
    options = {name: each for name, each in options_of(settings).items() if each.is_id}
    own = [line for name, each in options.items() if not each.by_recipe for line in each.config_lines(name)]
    by_recipe = [line for name, each in options.items() if each.by_recipe for line in each.config_lines(name)]
    return "\n".join(own + (["", f"# null: {BY_RECIPE} value", *by_recipe] if by_recipe else []))


def argument_lines(settings: type) -> str:
    """Return the lines of a config that pass each option of a class as an argument, with a reference to the id of the same name."""
    return "\n".join(f'{name}: "@{name}"' for name, each in options_of(settings).items() if each.is_id)


def table_rows(settings: type) -> str:
    """Return the rows of a Markdown table of the options of a class: name, default, and help."""
    rows = [(f"`{name}`", each.value_in_table, each.help) for name, each in options_of(settings).items() if each.is_id]
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows)


def recorded_titles(settings: type) -> dict[str, str]:
    """Return the options that a model card states, as titles by name.

    Example:
        >>> from mrh_monai.bundle import TrainingSettings
        >>> recorded_titles(TrainingSettings)["batch_size"]
        'batch size'
    """
    return {name: name.replace("_", " ") for name, each in options_of(settings).items() if each.recorded}
