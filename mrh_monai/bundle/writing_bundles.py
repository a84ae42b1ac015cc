"""Write bundles to disk: the shipped ones, and a new bundle for any stain."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from packaging.version import Version

from mrh_monai import __version__
from mrh_monai.bundle.template_rendering import SHIPPED, BundleSpec, render
from mrh_monai.errors import OptionError, OutputError
from mrh_monai.io import write_bytes
from mrh_monai.network import STAIN
from mrh_monai.protocol import MRH_NET, MRProtocol


def write_shipped(root: Path | str) -> None:
    """Write the shipped bundles again from the template; weights and all other files in their folders are not changed.

    Args:
        root: The folder `bundles/` of a checkout.
    """
    for spec in SHIPPED:
        for name, content in render(spec).items():
            write_bytes(Path(root) / spec.folder / name, content)


def write_bundle(folder: Path | str, spec: BundleSpec) -> list[Path]:
    """Write a new bundle.

    Args:
        folder: Folder of the bundle, which must be empty or must not exist yet.
        spec: What distinguishes the bundle from others.

    Returns:
        The files that were written.

    Raises:
        OutputError: The folder is not empty, or cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(folder, "a new folder", "a file or a folder that is not empty", "name another folder, or empty this one first")
    paths = []
    for name, content in render(spec).items():
        write_bytes(folder / name, content)
        paths.append(folder / name)
    return paths


def new_bundle(
    folder: Path | str,
    stain: str,
    channels: Path | str | None = None,
    pretrained: Path | str | None = None,
    stain_name: str | None = None,
    units: str | None = None,
) -> BundleSpec:
    """Write a bundle for your own stain.

    Args:
        folder: New folder.
        stain: Short name of the stain: letters, digits, ``-`` and ``_``.
        channels: YAML file that lists the channels; None for the 67 channels of MRH-Net.
        pretrained: Bundle folder from whose network training starts; None to train from scratch.
        stain_name: The stain in words; None for the short name.
        units: Units of the stain's intensities; None for "units of the STAIN histology".

    Returns:
        What distinguishes the new bundle from others.

    Raises:
        OptionError: The name of the stain cannot name files, the channels cannot be read, or the parent is not a bundle.
        OutputError: The folder is not new.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     new_bundle(f"{folder}/mrh_nissl", "nissl", stain_name="Nissl stain").title
        'MRH-NISSL'
    """
    folder = Path(folder)
    if not STAIN.fullmatch(stain):
        raise OptionError("stain", "a short name of letters, digits, - and _", repr(stain), "give a name such as nissl")
    for name, text in (("--stain-name", stain_name), ("--units", units)):
        if text is not None and not re.fullmatch(r"[\w(-][\w ,.()/%-]{0,79}", text, flags=re.ASCII):
            raise OptionError(name, "a few plain words", repr(text), "leave out quotes, colons and letters with accents")
    protocol = MRH_NET if channels is None else MRProtocol.from_yaml(channels)
    parent, version = None, __version__
    if pretrained is not None:
        parent = Path(os.path.relpath(Path(pretrained).resolve(), folder.resolve())).as_posix()
        version = _version_of(Path(pretrained))
        if not re.fullmatch(r"[\w ./+-]+", parent):
            expected = "a path of letters, digits, blanks and . / + - _"
            raise OptionError("pretrained", expected, repr(parent), "rename the folders of this path")
    spec = BundleSpec(
        folder.resolve().name, stain, stain_name or stain, units or f"units of the {stain} histology", protocol, parent, version
    )
    write_bundle(folder, spec)
    return spec


def _version_of(bundle: Path) -> str:
    metadata = bundle / "configs" / "metadata.json"
    if not metadata.is_file():
        found = "no such folder" if not bundle.exists() else "a folder without configs/metadata.json" if bundle.is_dir() else "a file"
        remedy = "name a bundle folder such as bundles/mrh_af; zips and .pt files can be given as --pretrained when the bundle is trained"
        raise OptionError(bundle, "a bundle folder to start from", found, remedy)
    try:
        version = str(json.loads(metadata.read_text(encoding="utf-8-sig"))["version"])
        Version(version)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(metadata, "bundle metadata with a version such as 0.2.0", f"{error!r}", "correct `version` in it") from error
    return version
