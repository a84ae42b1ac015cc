"""Bundles from one template: the three that are shipped, and any stain of your own."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import Version

from mrh_monai import __version__
from mrh_monai.errors import OptionError, OutputError
from mrh_monai.io import write_bytes
from mrh_monai.network import STAIN
from mrh_monai.protocol import MRH_NET, MRProtocol

TEMPLATE = Path(__file__).parent / "template"
PLACEHOLDER = re.compile(r"<<(\w+)>>")


@dataclass(frozen=True)
class BundleSpec:
    """What one bundle has that others have not.

    Attributes:
        folder: Name of its folder, such as ``mrh_af``.
        stain: Short name, as in result files.
        stain_name: In words, for a sentence.
        units: Of the stain's intensities.
        protocol: Its channels.
        parent: Where it starts from, as a path from its own folder, such as ``../mrh_af``; None to train from scratch.
        parent_version: Of that bundle.
    """

    folder: str
    stain: str
    stain_name: str
    units: str
    protocol: MRProtocol
    parent: str | None = None
    parent_version: str = __version__

    @property
    def title(self) -> str:
        """As ``MRH-AF``."""
        return f"MRH-{self.stain.upper()}"


SHIPPED = (
    BundleSpec("mrh_af", "af", "autofluorescence", "8-bit autofluorescence", MRH_NET),
    BundleSpec("mrh_nf", "nf", "neurofilament", "8-bit neurofilament stain", MRH_NET, "../mrh_af"),
    BundleSpec("mrh_mbp", "mbp", "myelin basic protein", "8-bit myelin basic protein stain", MRH_NET, "../mrh_af"),
)


def render(spec: BundleSpec) -> dict[str, bytes]:
    """The files of a bundle by their path in its folder."""
    words = _words(spec)
    files = {}
    for path in sorted(TEMPLATE.rglob("*")):
        if path.is_file():
            text = PLACEHOLDER.sub(lambda found: words[found[1]], path.read_text())
            name = path.relative_to(TEMPLATE).as_posix()
            files[name] = (_metadata(json.loads(text), spec) if name.endswith("metadata.json") else text).encode()
    return files


def write_shipped(root: Path | str) -> None:
    """Write the shipped bundles anew; weights and anything else in their folders stay.

    Args:
        root: The folder `bundles/` of a checkout.
    """
    for spec in SHIPPED:
        for name, content in render(spec).items():
            write_bytes(Path(root) / spec.folder / name, content)


def write_bundle(folder: Path | str, spec: BundleSpec) -> list[Path]:
    """Write a new bundle.

    Args:
        folder: Its folder, which must be empty or not yet there.
        spec: What it has that others have not.

    Raises:
        OutputError: There is something already, or the folder cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(folder, "a new folder", "something there", "name another one, or empty it first")
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
    """Write a bundle for a stain of one's own.

    Args:
        folder: New folder.
        stain: Short name: letters, digits, ``-`` and ``_``.
        channels: YAML file of the channels; None for the 67 of MRH-Net.
        pretrained: Bundle folder to start from; None to train from scratch.
        stain_name: In words; the short name if None.
        units: Of the stain's intensities.

    Returns:
        What was written.

    Raises:
        OptionError: The stain's name cannot name files, the channels are none, or the parent is no bundle.
        OutputError: The folder is not new.
    """
    folder = Path(folder)
    if not STAIN.fullmatch(stain):
        raise OptionError("--stain", "a short name of letters, digits, - and _", repr(stain), "give one such as nissl")
    for name, text in (("--stain-name", stain_name), ("--units", units)):
        if text is not None and not re.fullmatch(r"[\w(-][\w ,.()/%-]{0,79}", text, flags=re.ASCII):
            raise OptionError(name, "a few plain words", repr(text), "leave out quotes, colons, accents and the like")
    protocol = MRH_NET if channels is None else MRProtocol.from_yaml(channels)
    parent, version = None, __version__
    if pretrained is not None:
        parent = Path(os.path.relpath(Path(pretrained).resolve(), folder.resolve())).as_posix()
        version = _version_of(Path(pretrained))
        if not re.fullmatch(r"[\w ./+-]+", parent):
            raise OptionError(
                "--pretrained", "a path of letters, digits, blanks and . / + - _", repr(parent), "rename the folders on its way"
            )
    spec = BundleSpec(
        folder.resolve().name, stain, stain_name or stain, units or f"units of the {stain} histology", protocol, parent, version
    )
    write_bundle(folder, spec)
    return spec


def _version_of(bundle: Path) -> str:
    if not (bundle / "configs" / "metadata.json").is_file():
        found = "none" if not bundle.exists() else "a folder that is none" if bundle.is_dir() else "a file"
        remedy = "name one such as bundles/mrh_af; zips and .pt files are for --pretrained of its training"
        raise OptionError(bundle, "a bundle folder to start from", found, remedy)
    metadata = bundle / "configs" / "metadata.json"
    try:
        version = json.loads(metadata.read_text())["version"]
        Version(version)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(metadata, "bundle metadata with a version such as 0.1.0", f"{error!r}", "mend the metadata") from error
    return version


def _words(spec: BundleSpec) -> dict[str, str]:
    count = len(spec.protocol)
    from_parent = spec.parent is not None
    mrh_net = spec.protocol == MRH_NET
    name = Path(spec.parent).name if spec.parent is not None else ""
    place = "beside it" if spec.parent == f"../{name}" else f"at `{spec.parent}`"
    starts = (
        f"This bundle starts from `{name}` {place}, whose trained weights must be there"
        if from_parent
        else "This bundle trains from scratch"
    )
    return {
        "stain": spec.stain,
        "stain_name": spec.stain_name,
        "title": spec.title,
        "units": spec.units,
        "count": str(count),
        "s": "" if count == 1 else "s",
        "folder": f"bundles/{spec.folder}",
        "pretrained": f"$@bundle_root + '/{spec.parent}'" if from_parent else "none         ",
        "parent_text": spec.parent if spec.parent is not None else "none",
        "start_text": f"{starts}; `--pretrained` names another parent" + (", or `none`." if from_parent else "."),
        "channels_text": MRH_NET_TEXT if mrh_net else f"Channels: {count}, listed in `configs/metadata.json`.",
    }


MRH_NET_TEXT = """\
Channels: 32 volumes at b near 1900 (2 of them unweighted), 32 at b near 4800, T2-weighted, MT on, MT off. If MT on is brighter than MT off
the two look swapped, and a warning says so."""


def _metadata(content: dict[str, Any], spec: BundleSpec) -> str:
    """`metadata.json` with the protocol, one channel a line, and the parent that the bundle declares."""
    image = content["network_data_format"]["inputs"]["image"]
    image["num_channels"] = len(spec.protocol)
    image["channel_def"] = {str(index): channel.description for index, channel in enumerate(spec.protocol)}
    if spec.parent is not None:
        version = Version(spec.parent_version)
        span = f">={version.major}.{version.minor},<{version.major}.{version.minor + 1}"
        content["pretrained"] = {"name": Path(spec.parent).name, "version": span}
    text = json.dumps(content, indent=2, ensure_ascii=False)
    text = re.sub(r"\[\s+(-?\d+),\s+(-?\d+)\s+\]", r"[\1, \2]", text)
    rows = ",\n".join(f"    {json.dumps(row)}" for row in spec.protocol.to_rows())
    return text.rstrip().removesuffix("}").rstrip() + f',\n  "channels": [\n{rows}\n  ]\n}}\n'
