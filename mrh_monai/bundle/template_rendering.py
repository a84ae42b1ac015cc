"""The files of a bundle, rendered from the one template that all bundles share."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from packaging.version import Version

from mrh_monai import __version__
from mrh_monai.bundle.option_definition import argument_lines, config_lines, table_rows
from mrh_monai.bundle.run_settings import CohortSettings, InferenceSettings
from mrh_monai.bundle.training_settings import TrainingSettings
from mrh_monai.protocol import MRH_NET, MRProtocol

TEMPLATE = Path(__file__).parent / "template"
# A word in a line, such as <<stain>>; and a whole line, such as `# <<training options>>`, which is replaced by several lines.
WORD = re.compile(r"<<(\w+)>>")
LINE = re.compile(r"^( *)(?:# )?<<(\w+) (\w+)>>$", re.M)
SETTINGS = {"training": TrainingSettings, "inference": InferenceSettings, "cohort": CohortSettings}
LINES = {"options": config_lines, "arguments": argument_lines, "rows": table_rows}
MRH_NET_TEXT = """\
Channels: 32 volumes at b near 1900 (2 of them unweighted), 32 volumes at b near 4800 (also 2 unweighted), T2-weighted, MT on, MT off. If MT
on is brighter than MT off, the two look swapped, and a warning says so."""


@dataclass(frozen=True)
class BundleSpec:
    """What distinguishes a bundle from others.

    Attributes:
        folder: Name of its folder, such as ``mrh_af``.
        stain: Short name of the stain, as in result files.
        stain_name: The stain in words, for a sentence.
        units: Units of the stain's intensities.
        protocol: Channels of the network.
        parent: Path of the bundle from which training starts, relative to the folder, such as ``../mrh_af``; None to train from scratch.
        parent_version: Version of that bundle.
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
        """The name of the network, such as ``MRH-AF``."""
        return f"MRH-{self.stain.upper()}"


SHIPPED = (
    BundleSpec("mrh_af", "af", "autofluorescence", "8-bit autofluorescence", MRH_NET),
    BundleSpec("mrh_nf", "nf", "neurofilament", "8-bit neurofilament stain", MRH_NET, "../mrh_af"),
    BundleSpec("mrh_mbp", "mbp", "myelin basic protein", "8-bit myelin basic protein stain", MRH_NET, "../mrh_af"),
)


def render(spec: BundleSpec) -> dict[str, bytes]:
    """Return the files of a bundle by their path in its folder.

    Args:
        spec: What distinguishes the bundle from others.
    """
    words = _words(spec)
    files = {}
    for path in sorted(TEMPLATE.rglob("*")):
        if path.is_file():
            text = WORD.sub(lambda found: words[found[1]], LINE.sub(_lines, path.read_text(encoding="utf-8-sig")))
            name = path.relative_to(TEMPLATE).as_posix()
            files[name] = (_metadata(json.loads(text), spec) if name.endswith("metadata.json") else text).encode()
    return files


def shipped_settings(recipe: str = "fast", **options: Any) -> TrainingSettings:
    """Return the settings of training with a recipe as the shipped bundles have it.

    Args:
        recipe: ``fast``, ``paper`` or ``released``.
        options: Options of training, see `TrainingSettings`. With ``pretrained`` they are those of a network that starts from a parent.

    Returns:
        The settings; their loss is the text that stands in the config.

    Raises:
        OptionError: An option is unknown or has a wrong value.

    Example:
        >>> shipped_settings("paper").epochs
        60
    """
    config = _shipped_training_config()
    return TrainingSettings.from_options(config["recipes"], config["transfers"], recipe=recipe, **options)


@cache
def _shipped_training_config() -> dict[str, Any]:
    return dict(yaml.safe_load(render(SHIPPED[0])["configs/train.yaml"]))


def _lines(found: re.Match[str]) -> str:
    """Return the lines that follow from the definitions of options, indented as the line that they replace."""
    lines = LINES[found[3]](SETTINGS[found[2]]).splitlines()
    return "\n".join(f"{found[1]}{line}".rstrip() for line in lines)


def _words(spec: BundleSpec) -> dict[str, str]:
    count = len(spec.protocol)
    name = "" if spec.parent is None else Path(spec.parent).name
    place = "beside it" if spec.parent == f"../{name}" else f"at `{spec.parent}`"
    if spec.parent is None:
        start = "This bundle trains from scratch; `--pretrained` names a parent."
    else:
        start = f"This bundle starts from `{name}` {place}, whose trained weights must be there. "
        start += "`--pretrained` names another parent, or `none`."
    return {
        "stain": spec.stain,
        "stain_name": spec.stain_name,
        "title": spec.title,
        "units": spec.units,
        "count": str(count),
        "s": "" if count == 1 else "s",
        "folder": f"bundles/{spec.folder}",
        "pretrained": "none" if spec.parent is None else f"$@bundle_root + '/{spec.parent}'",
        "parent": "none" if spec.parent is None else spec.parent,
        "start_text": start,
        "channels_text": MRH_NET_TEXT if spec.protocol == MRH_NET else f"Channels: {count}, listed in `configs/metadata.json`.",
    }


def _metadata(content: dict[str, Any], spec: BundleSpec) -> str:
    """Return `metadata.json` with the protocol, one channel a line, and with the parent that the bundle declares."""
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
