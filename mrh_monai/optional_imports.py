"""Libraries that only some commands need. The error about a missing one says how to install it."""

from __future__ import annotations

import importlib
from types import ModuleType

from mrh_monai.errors import OptionError


def import_optional(module: str, extra: str) -> ModuleType:
    """Import a library that belongs to one of the package's extras.

    Args:
        module: Import name of the library, or of a module in it.
        extra: Extra of the package `mrh-monai` that installs the library.

    Raises:
        OptionError: The library is not installed.

    Example:
        >>> import_optional("json", "analysis").dumps([1])
        '[1]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise OptionError(
            f"the library {error.name}", "an installed library", "no such module", f"run pip install 'mrh-monai[{extra}]'"
        ) from error
