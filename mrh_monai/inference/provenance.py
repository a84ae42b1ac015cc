"""Where a result comes from: the command, the software, the network and the files."""

from __future__ import annotations

import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from mrh_monai import __version__
from mrh_monai.data import Subject
from mrh_monai.network import Sidecar
from mrh_monai.protocol import MRProtocol

LIBRARIES = ("torch", "monai", "pytorch-ignite", "numpy", "nibabel", "itk")


def versions() -> dict[str, str]:
    """Of this package, of Python and of the libraries that compute and read; those that are not installed are left out."""
    found = {"mrh-monai": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def command() -> str:
    """What was typed, as far as the process knows; a module that was run with ``-m`` by its own name."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return shlex.join(["python", "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]])
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def about_network(sidecar: Sidecar, protocol: MRProtocol) -> dict[str, Any]:
    """What a reader of a prediction wants to know of the network that made it."""
    return {
        "stain": sidecar.stain,
        "units": sidecar.units,
        "channels": protocol.to_rows(),
        "residual_blocks": sidecar.residual_blocks,
        "features": sidecar.features,
        "scaling": sidecar.scaling.to_dict(),
        "source": sidecar.source,
        "parent": None if sidecar.parent is None else {key: sidecar.parent.get(key) for key in ("stain", "sha256")},
        "versions": versions(),
        "command": command(),
    }


def about_files(subject: Subject) -> dict[str, Any]:
    """A subject's files by what they are."""
    files: dict[str, Any] = {"image": [str(path.resolve()) for path in subject.image]}
    for key in ("mask", "fa", "target", "target_mask"):
        path = getattr(subject, key)
        if path is not None:
            files[key] = str(path.resolve())
    return files
