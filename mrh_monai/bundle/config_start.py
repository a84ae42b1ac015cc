"""The first things that a bundle's config does: find its own folder, turn errors into sentences, and refuse unknown options."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mrh_monai.bundle.monai_internals import running_config, running_config_folder
from mrh_monai.bundle.option_values import flag
from mrh_monai.errors import OptionError, print_errors_as_sentences

# Top-level ids that MONAI itself adds to a config.
MONAIS_OWN = {"_meta_", "bundle_root", "save_execute_config"}


def bundle_root() -> str:
    """Return the folder of the bundle whose config is being run: the folder around the config's own `configs/`."""
    return str(Path(os.path.normpath(running_config_folder())).parent)


def start_config(config_files: Sequence[Path | str]) -> None:
    """Turn the errors of this process into sentences, unless ``debug`` is set, and refuse unknown top-level ids.

    MONAI accepts unknown ids without a warning: ``--residual_block 10`` would train 5 blocks.

    Args:
        config_files: The config files that the bundle needs for this run, which define the known ids; YAML files, or files exported as JSON
            under the same names.

    Raises:
        OptionError: The config that is being run has an id that its files do not define and to which nothing refers; or it does not consist
            of these files.
    """
    running = running_config()
    try:
        debug = flag("debug", running.get("debug"))
    except OptionError:
        print_errors_as_sentences()
        raise
    print_errors_as_sentences(debug)
    known = MONAIS_OWN.union(*(_read_config(Path(path)) for path in config_files))
    print_errors_as_sentences(debug, options={f"--{name}" for name in (*known, "config_file")})
    missing = known - MONAIS_OWN - set(running)
    if missing:
        files = [str(path) for path in config_files]
        raise OptionError("--config_file", f"{files} together", f"a config without {min(missing)}", f'give --config_file "{files}"')
    references = set(re.findall(r"@([\w-]+)", json.dumps(running, default=str)))
    for name in running:
        if name not in known and name not in references:
            # Sections such as `train` can be overridden by those who know them, but should not be suggested.
            options = sorted(key for key in known - MONAIS_OWN if not isinstance(running[key], dict | list))
            nearest = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
            remedy = f"did you mean --{nearest[0]}" if nearest else f"choose among {', '.join(options)}"
            raise OptionError(f"--{name}", "an option of this bundle", "an unknown option", remedy)


def refuse_scores(need_target: object) -> None:
    """Refuse to score subjects where several processes share a cohort, because no process sees all subjects.

    Raises:
        OptionError: `evaluate.yaml` is among the config files.
    """
    if need_target:
        remedy = "predict first, then score with inference.yaml and evaluate.yaml, or with `mrh evaluate`"
        raise OptionError("--config_file", "multi_gpu_inference.yaml without evaluate.yaml", "both", remedy)


def _read_config(path: Path) -> dict[str, Any]:
    exported = path.with_suffix(".json")
    try:
        content = yaml.safe_load(
            (exported if exported.is_file() and not path.is_file() else path).read_text(encoding="utf-8-sig")
        )  # JSON is YAML too
    except FileNotFoundError as error:
        remedy = "give --bundle_root and the folder of a bundle, such as bundles/mrh_af"
        raise OptionError("--bundle_root", "the folder of a bundle", f"no file {path}", remedy) from error
    return dict(content)
