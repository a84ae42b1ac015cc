"""Where a result comes from: the command, the software, the network and the files."""

from __future__ import annotations

import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from mrh_monai import __version__
from mrh_monai.network import Sidecar
from mrh_monai.protocol import MRProtocol
from mrh_monai.subjects import AnySubject, Subject

NO_HEAD = "the network was trained or imported without an interval head"
NOT_WRITTEN = "the network can give intervals, and was asked for none or ran in a way that gives none"
LIBRARIES = ("torch", "monai", "pytorch-ignite", "numpy", "nibabel", "itk-io")


def versions() -> dict[str, str]:
    """Return the versions of this package, of Python, and of the libraries that compute and read, as far as they are installed."""
    found = {"mrh-monai": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def command() -> str:
    """Return the command line of this process; a module that was run with ``-m`` appears under its own name."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return shlex.join(["python", "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]])
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def about_network(sidecar: Sidecar, protocol: MRProtocol) -> dict[str, Any]:
    """Return what a reader of a prediction wants to know of the network that made it, as plain values."""
    return {
        "stain": sidecar.stain,
        "units": sidecar.units,
        "channels": protocol.to_rows(),
        "residual_blocks": sidecar.residual_blocks,
        "features": sidecar.features,
        "scaling": sidecar.scaling.to_dict(),
        "source": sidecar.source,
        "intervals": NO_HEAD if sidecar.intervals is None else sidecar.intervals.held,
        "gives_intervals": sidecar.gives_intervals,
        "parent": None if sidecar.parent is None else {key: sidecar.parent.get(key) for key in ("stain", "sha256")},
        "versions": versions(),
        "command": command(),
    }


def about_subject(subject: AnySubject) -> dict[str, Any]:
    """Return the name of a subject, and the absolute paths of its files by their names in a datalist; arrays have no files."""
    if not isinstance(subject, Subject):
        return {"subject": subject.name}
    files: dict[str, Any] = {"image": [str(path.resolve()) for path in subject.image]}
    return {"subject": subject.name, "files": files | {key: str(path.resolve()) for key, path in subject.files.items()}}
