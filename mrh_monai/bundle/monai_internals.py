"""Everything that this package reads from the inside of MONAI. A test of this file says so when MONAI changes.

An expression cannot refer to the whole config, nor to the file in which it stands. But MONAI adds unknown ids to a config without a
warning, and a bundle must find its own folder. Therefore the objects of MONAI that evaluate an expression are looked up among the callers
of the function that the expression calls.

This file relies on these facts:

- `monai.bundle.ConfigParser` evaluates expressions in one of its methods, so that it is ``self`` in a frame of the call stack; ``get()``
  returns the whole config, with everything that was typed.
- `monai.bundle.ConfigWorkflow` calls the parser in one of its methods; ``config_root_path`` is the folder of its first config file.
- Commands without a workflow, such as ``ckpt_export``, keep the path of the config in a local variable ``config_file_``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any


def running_config() -> Mapping[str, Any]:
    """Return the whole config that contains the expression which calls this function, with everything that was typed.

    Raises:
        RuntimeError: No config is being evaluated.
    """
    from monai.bundle import ConfigParser

    parser = next((frame["self"] for frame in _callers() if isinstance(frame.get("self"), ConfigParser)), None)
    if parser is None:
        raise RuntimeError("no config of a bundle is being evaluated: this function can only be called by an expression of a config")
    config: Mapping[str, Any] = parser.get()
    return config


def running_config_folder() -> Path:
    """Return the folder of the config file that contains the expression which calls this function, as an absolute path."""
    from monai.bundle import ConfigWorkflow

    workflow = next((frame["self"] for frame in _callers() if isinstance(frame.get("self"), ConfigWorkflow)), None)
    if workflow is not None:
        return Path(workflow.config_root_path).absolute()
    named = next((frame["config_file_"] for frame in _callers() if frame.get("config_file_")), None)
    first = named if isinstance(named, str | Path) else named[0] if named else "configs/inference.yaml"
    return Path(first).absolute().parent


def _callers() -> Iterator[dict[str, Any]]:
    """Return the local variables of the nearest caller, then those of its caller, and so on."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        yield frame.f_locals
        frame = frame.f_back
