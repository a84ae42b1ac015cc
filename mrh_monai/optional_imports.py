"""Libraries that only some commands need; a missing one ends in a pip hint."""

from __future__ import annotations

import importlib
from types import ModuleType

from mrh_monai.errors import OptionError


def need(module: str, extra: str) -> ModuleType:
    """Import a library of one of the package's extras.

    Args:
        module: Its import name.
        extra: The extra that brings it.

    Raises:
        OptionError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise OptionError(
            f"the library {error.name}", "it to be installed", "no such module", f"pip install 'mrh-monai[{extra}]'"
        ) from error
