"""The options that all bundles share: their values put right, and names that no config has refused."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import yaml

from mrh_monai.data import Slices, Subject, read_datalist, restrict, section
from mrh_monai.errors import OptionError, one_sentence_errors

# Top-level ids that MONAI's own `run` adds to a config.
MONAIS_OWN = {"_meta_", "bundle_root", "save_execute_config"}
NONE_WORDS = ("none", "null", "")
# What a recipe may have otherwise with few patches; all else is settled before they are counted.
FEW = ("learning_rate", "weight_decay", "frozen", "mirror", "mixup")


def start(config_files: Sequence[Path | str]) -> None:
    """The first thing that a bundle's config does: errors become sentences (unless `debug`), and unknown top-level ids are refused.

    Args:
        config_files: The bundle's own config files, which say what ids there are; as YAML, or exported as JSON under the same name.

    Raises:
        OptionError: The config that is being run has an id that its file lacks and to which nothing refers.
    """
    running = _running_config()
    one_sentence_errors(flag("debug", running.get("debug")))
    known = set(MONAIS_OWN)
    for path in config_files:
        exported = Path(path).with_suffix(".json")
        try:
            # JSON is YAML.
            known |= set(yaml.safe_load((exported if exported.is_file() and not Path(path).is_file() else Path(path)).read_text()))
        except FileNotFoundError as error:
            raise OptionError(
                "--bundle_root", "the bundle's folder", f"no {path}", "give --bundle_root bundles/mrh_af or the like"
            ) from error
    missing = known - MONAIS_OWN - set(running)
    if missing:
        files = [str(path) for path in config_files]
        raise OptionError("--config_file", f"{files} together", f"a config without {min(missing)}", f'give --config_file "{files}"')
    references = set(re.findall(r"@([\w-]+)", json.dumps(running, default=str)))
    for name in running:
        if name not in known and name not in references:
            # Sections such as `train` can be overridden by those who know, but are nothing to suggest.
            typed = sorted(key for key in known - MONAIS_OWN if not isinstance(running[key], dict | list))
            nearest = difflib.get_close_matches(name, typed, n=1, cutoff=0.5)
            remedy = f"did you mean --{nearest[0]}" if nearest else f"choose among {', '.join(typed)}"
            raise OptionError(f"--{name}", "an option of this bundle", "an unknown one", remedy)


def bundle_root() -> str:
    """The folder of the bundle whose config is being run, for those who do not name it: the one around the config's own `configs/`."""
    from monai.bundle import ConfigWorkflow

    workflow = next((frame["self"] for frame in _callers() if isinstance(frame.get("self"), ConfigWorkflow)), None)
    if workflow is not None:
        return str(Path(os.path.abspath(workflow.config_root_path)).parent)
    # MONAI's commands that make no workflow, such as ckpt_export.
    named = next((frame["config_file_"] for frame in _callers() if frame.get("config_file_")), None)
    first = named if isinstance(named, str | Path) else named[0] if named else "configs/inference.yaml"
    return str(Path(os.path.abspath(first)).parent.parent)


def _running_config() -> Mapping[str, Any]:
    from monai.bundle import ConfigParser

    parser = next((frame["self"] for frame in _callers() if isinstance(frame.get("self"), ConfigParser)), None)
    if parser is None:
        raise RuntimeError("options.start belongs into a bundle's config")
    return parser.get()


def _callers() -> Iterator[dict[str, Any]]:
    """Variables of the nearest caller, then of its, and so on.

    A config's expressions can name neither the config as a whole, to which MONAI adds unknown ids in silence, nor the file that they stand
    in, so that what evaluates this very call is looked up.
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        yield frame.f_locals
        frame = frame.f_back


def training_settings(
    recipes: Mapping[str, Mapping[str, Any]], recipe: str, transfers: Mapping[str, Mapping[str, Any]] | None = None, **given: Any
) -> SimpleNamespace:
    """All options of a training run, in their proper types; what is not given comes from the recipe.

    Args:
        recipes: The config's recipes by name.
        recipe: Which of them.
        transfers: What each recipe has otherwise where training starts from a parent.
        given: Options as they were typed or stand in the config; null where the recipe decides.

    Returns:
        A namespace with an attribute an option.

    Raises:
        OptionError: A value is of the wrong kind.
    """
    if not isinstance(recipe, str) or recipe not in recipes:
        raise OptionError("recipe", ", ".join(recipes), repr(recipe), "choose one of them")
    known = set.intersection(*(set(values) for values in recipes.values()))
    for name, values in recipes.items():
        for key in set(values) - known:
            nearest = difflib.get_close_matches(key, known, n=1)
            raise OptionError(f"recipes::{name}", "what every recipe has", key, f"did you mean {nearest[0]}" if nearest else "take it out")
    chosen = dict(recipes[recipe])
    if optional(given.get("pretrained")) is not None and transfers:
        for name in set(transfers.get(recipe, {})) - known:
            raise OptionError(f"transfers::{recipe}", "what every recipe has", name, "take it out")
        chosen |= transfers.get(recipe, {})
    for name, value in given.items():
        value = optional(value)
        if value is not None or name not in chosen:
            chosen[name] = value
    for name in ("epochs", "batch_size", "validation_patches", "seed", "least_steps"):
        chosen[name] = integer(name, chosen[name], least=0 if name == "seed" else 1)
    for name in ("patches", "patience", "residual_blocks"):
        chosen[name] = None if chosen[name] is None else integer(name, chosen[name], least=0 if name == "residual_blocks" else 1)
    if chosen["seed"] >= 2**32:
        raise OptionError("seed", "a whole number below 2^32", f"{chosen['seed']}", "choose a smaller one")
    chosen["few"] = _few(f"recipes::{recipe}::few", chosen.get("few"))
    if optional(given.get("learning_rate")) is not None:
        chosen["few"].pop("learning_rate", None)
    chosen["batch_size_given"] = optional(given.get("batch_size")) is not None
    chosen["pretrained"] = None if chosen["pretrained"] is None else str(chosen["pretrained"])
    chosen["new_channels"] = flag("new_channels", chosen["new_channels"])
    chosen["learning_rate"] = number("learning_rate", chosen["learning_rate"])
    chosen["resume"] = flag("resume", chosen["resume"])
    chosen["slices"] = slices(chosen["slices"])
    chosen["output_dir"] = output_folder(chosen["output_dir"])
    chosen["datalist"] = None if chosen["datalist"] is None else str(chosen["datalist"])
    return SimpleNamespace(recipe=recipe, **chosen)


def tuned(settings: SimpleNamespace, patches: int) -> SimpleNamespace:
    """The settings of a run on so many patches: with fewer than its recipe's `few` says, what stands there holds, unless it was typed."""
    few = dict(settings.few)
    return SimpleNamespace(**{**vars(settings), **few}) if patches < few.pop("below", 0) else settings


def _few(where: str, few: Any) -> dict[str, Any]:
    """What a recipe has otherwise for few patches, in its proper types.

    Raises:
        OptionError: It changes what is settled before the patches are counted, or does not say below how many it holds.
    """
    few = {} if few is None else few
    if not isinstance(few, Mapping) or not set(few) <= {"below", *FEW} or (few and "below" not in few):
        raise OptionError(where, f"`below`, a number of patches, and some of {', '.join(FEW)}", f"{few!r}", "mend the recipe")
    return {key: number(key, value) if key == "learning_rate" else value for key, value in few.items()}


def fingerprint(settings: SimpleNamespace) -> dict[str, Any]:
    """What must agree for a run to be resumed: every option that its result depends on. Data and parent speak for themselves."""
    return {key: value for key, value in vars(settings).items() if key not in ("resume", "output_dir", "datalist", "pretrained")}


def optional(value: Any) -> Any:
    """None for None and for the words none and null in any case; anything else as it is."""
    return None if isinstance(value, str) and value.strip().lower() in NONE_WORDS else value


def flag(name: str, value: Any) -> bool:
    """A truth value, also from the words true and false in any case.

    Raises:
        OptionError: It is neither.
    """
    word = str(value).strip().lower()
    if word in ("true", "1", "yes"):
        return True
    if word in ("false", "0", "no", *NONE_WORDS):
        return False
    raise OptionError(name, "True or False", repr(value), f"give --{name} True")


def without_scores(need_target: Any) -> None:
    """Refuse scores where processes share a cohort: none of them sees all subjects.

    Raises:
        OptionError: evaluate.yaml is among the config files.
    """
    if need_target:
        remedy = "predict first, then score with inference.yaml and evaluate.yaml, or `mrh evaluate`"
        raise OptionError("--config_file", "multi_gpu_inference.yaml without evaluate.yaml", "both", remedy)


def integer(name: str, value: Any, least: int = 1) -> int:
    """A whole number.

    Raises:
        OptionError: It is none, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionError(name, f"a whole number of at least {least}", repr(value), f"give --{name} {max(least, 1)} or more")
    return value


def integers(name: str, text: str | None) -> list[int]:
    """Whole numbers above 0 between commas, such as ``4,17,38``; none for None.

    Raises:
        OptionError: It is something else.
    """
    if text is None:
        return []
    words = text.split(",")
    if not all(word.strip().isascii() and word.strip().isdigit() and int(word) > 0 for word in words):
        raise OptionError(name, "whole numbers above 0 between commas, such as 4,17,38", repr(text), "mend it")
    return [int(word) for word in words]


def number(name: str, value: Any) -> float:
    """A positive number; strings such as ``1e-3``, which YAML takes for one, are read.

    Raises:
        OptionError: It is none.
    """
    try:
        if float(value) > 0 and not isinstance(value, bool):
            return float(value)
    except (TypeError, ValueError):
        pass
    raise OptionError(name, "a positive number", repr(value), f"give --{name} 0.001 or the like")


def slices(value: Any) -> Slices | None:
    """Coronal ranges from ``[[0, 13], [17, 30]]`` or ``0:13,17:30`` (0-based, stop excluded).

    Raises:
        OptionError: It is neither.
    """
    value = optional(value)
    if value is None:
        return None
    try:
        pairs = [part.split(":") for part in value.split(",")] if isinstance(value, str) else value
        ranges = tuple((int(start), int(stop)) for start, stop in pairs)
    except (TypeError, ValueError) as error:
        raise OptionError("slices", "ranges such as 0:13,17:30", repr(value), "give START:STOP, counted from 0, stop excluded") from error
    for start, stop in ranges:
        if not 0 <= start < stop:
            raise OptionError("slices", "ranges such as 0:13,17:30", f"{start}:{stop}", "give START:STOP, counted from 0, stop excluded")
    return ranges


def subjects(datalist: Any, key: str, ranges: Any) -> list[Subject]:
    """The subjects of one section of a datalist, confined to some slices.

    Args:
        datalist: JSON file.
        key: training, validation or test.
        ranges: As `slices`.

    Raises:
        DatalistError: It is no datalist, or has no subjects there.
    """
    path = optional(datalist)
    chosen = section(read_datalist(None if path is None else str(path)), key, datalist)
    return [restrict(subject, slices(ranges)) for subject in chosen]


def folder_of(datalist: Any) -> str:
    """The folder that a datalist's relative paths start from."""
    path = optional(datalist)
    return str(Path(str(path)).parent) if path is not None else "."


def output_folder(value: Any) -> Path:
    """The folder that results go to.

    Raises:
        OptionError: None is given.
    """
    value = optional(value)
    if value is None:
        raise OptionError("output_dir", "a folder for the results", "nothing", "give --output_dir FOLDER")
    return Path(str(value))
