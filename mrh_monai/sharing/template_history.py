"""The configs of every release of this project, and the differences of a received config from all of them.

A bundle that was packed by an older release still has that release's configs. They are this project's own, as long as all of them are of
one and the same release. The folder `templates/` has one JSON file for each release, as the template renders it for a bundle with a parent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from packaging.version import Version

from mrh_monai import __version__
from mrh_monai.bundle import SHIPPED, render
from mrh_monai.errors import printable
from mrh_monai.io import write_text
from mrh_monai.sharing.config_code import CONFIG, LOGGING, Code, code_of, code_within, encoding_of, logging_text, parse_config

FOLDER = Path(__file__).parent / "templates"
UNKNOWN_CONFIG = "a config that no bundle of this project has"
# The parent can lie anywhere: the only expression that may differ joins two texts.
PARENT = re.compile(r"\$@bundle_root \+ '/[\w ./+-]+'|none", re.A)
_ABSENT = object()
# What every bundle has for itself: config and id.
CHOSEN = {("train", "pretrained"), ("train", "stain"), ("train", "units")}


@dataclass(frozen=True)
class VersionTemplate:
    """The configs of a bundle as one release writes them.

    Attributes:
        version: Version of the release.
        configs: Values of each config, by its name without the ending.
        logging: Text of the logging configuration.
    """

    version: str
    configs: Mapping[str, Any]
    logging: str


class ChangedValue(NamedTuple):
    """A plain value of a config that differs from the release's own, or an entry that was removed.

    Attributes:
        file: Path inside the bundle.
        place: Id in the config, such as ``settings::seed``.
        text: The value; None where the entry was removed.
        own: The release's own value.
    """

    file: str
    place: str
    text: str | None
    own: str

    def __str__(self) -> str:
        now = "removed" if self.text is None else self.text
        return printable(f"{self.file}, {self.place}: {now} (in the release: {self.own})")


class Difference(NamedTuple):
    """How the files of a bundle differ from the release that is nearest to them.

    Attributes:
        version: Version of that release.
        foreign: Code that the release's own bundles do not have in the same place; empty if all code is the release's own.
        changed: Plain values that differ, which every bundle may choose, and entries that were removed. Stain, units and parent are not
            among them, because every bundle has its own.
    """

    version: str
    foreign: list[Code]
    changed: list[ChangedValue]


def foreign(files: Mapping[str, bytes]) -> list[Code]:
    """Return the code of a bundle that this project did not write, see `compare_with_releases`."""
    return compare_with_releases(files).foreign


def compare_with_releases(files: Mapping[str, bytes]) -> Difference:
    """Compare the files of a bundle with the configs of every release, and return the differences from the nearest release.

    A config may differ from a release's own only in plain values. Every added key counts as foreign, even if its value is plain: an
    additional argument of something that is called can be as dangerous as code. All configs must be of the same release, because lines that
    are harmless in two releases can be dangerous together.

    Args:
        files: Contents by path inside the bundle.

    Raises:
        BundleError: A config is neither YAML nor JSON, or is too long for a config.
    """
    parsed = {name: parse_config(name, content) for name, content in files.items() if CONFIG.fullmatch(name)}
    found = [
        Difference(template.version, _differences(files, parsed, template), _changed_values(parsed, template))
        for template in version_templates()
    ]
    return min(found, key=lambda each: len(each.foreign))  # the newest of several equal ones, because it comes first


@cache
def version_templates() -> tuple[VersionTemplate, ...]:
    """Return the templates of all releases, the newest first."""
    read = (VersionTemplate(path.stem, **json.loads(path.read_text(encoding="utf-8-sig"))) for path in FOLDER.glob("*.json"))
    return tuple(sorted(read, key=lambda template: Version(template.version), reverse=True))


def current_template() -> VersionTemplate:
    """Return the template of this version, as a bundle with a parent has it."""
    files = render(next(spec for spec in SHIPPED if spec.parent is not None))
    names = [name for name in sorted(files) if CONFIG.fullmatch(name) and _stem(name) != "metadata"]
    configs = {_stem(name): parse_config(name, files[name]) for name in names}
    return VersionTemplate(__version__, configs, logging_text(files[LOGGING]))


def write_current_template(folder: Path | str = FOLDER) -> Path:
    """Write the template of this version among those of the releases; only the developers of this project do so, before a release.

    Args:
        folder: Folder of the templates.
    """
    template = current_template()
    path = Path(folder) / f"{template.version}.json"
    write_text(path, json.dumps({"configs": template.configs, "logging": template.logging}, indent=1) + "\n")
    return path


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _differences(files: Mapping[str, bytes], parsed: Mapping[str, Any], template: VersionTemplate) -> list[Code]:
    found: list[Code] = []
    for name, content in sorted(files.items()):
        stem = _stem(name)
        if not CONFIG.fullmatch(name):
            found += [code for code in code_of({name: content}) if code.kind == "file" or code.text != template.logging]
            continue
        found += encoding_of(name, content)
        if stem == "metadata":
            found += [Code(name, *code) for code in code_within(parsed[name], ())]
        elif stem not in template.configs:
            found.append(Code(name, "", "file", UNKNOWN_CONFIG))
            found += [Code(name, *code) for code in code_within(parsed[name], ())]
        else:
            differing = _differing(parsed[name], template.configs[stem], ())
            found += [Code(name, *code) for code in differing if not _is_parent(stem, *code)]
    return found


def _changed_values(parsed: Mapping[str, Any], template: VersionTemplate) -> list[ChangedValue]:
    found: list[ChangedValue] = []
    for name, content in sorted(parsed.items()):
        own = template.configs.get(_stem(name))
        if own is not None:
            changed = [ChangedValue(name, "::".join(place), text, ours) for place, text, ours in _changed(content, own, ())]
            found += [each for each in changed if (_stem(name), each.place) not in CHOSEN]
    return found


def _changed(value: Any, own: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str | None, str]]:
    """Yield place, text and our text of every plain value that differs from ours, and of every entry of ours that is missing."""
    if isinstance(value, dict) and isinstance(own, dict):
        for key, ours in own.items():
            if key in value:
                yield from _changed(value[key], ours, (*place, str(key)))
            else:
                yield (*place, str(key)), None, json.dumps(ours, default=str)
    elif isinstance(value, list) and isinstance(own, list) and not _is_plain(own):
        for index, ours in enumerate(own):
            if index < len(value):
                yield from _changed(value[index], ours, (*place, str(index)))
            else:
                yield (*place, str(index)), None, json.dumps(ours, default=str)
    elif (value != own or type(value) is not type(own)) and not list(code_within(value, place)):
        yield place, json.dumps(value, default=str), json.dumps(own, default=str)


def _differing(value: Any, own: Any, place: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """Yield place, kind and text of everything that is not in our config, or that differs more than plain values may."""
    if isinstance(value, dict) and isinstance(own, dict):
        for key, item in value.items():
            yield from _differing(item, own.get(key, _ABSENT), (*place, str(key)))
    elif isinstance(value, list) and isinstance(own, list) and not _is_plain(own):
        for index, item in enumerate(value):
            yield from _differing(item, own[index] if index < len(own) else _ABSENT, (*place, str(index)))
    elif value != own or type(value) is not type(own):
        code = list(code_within(value, place))
        called = own is _ABSENT or not _is_plain(own) or place[-1] in ("_target_", "_mode_")
        if code or called or not _is_plain(value):
            yield from code or [("::".join(place), "addition" if own is _ABSENT else "change", json.dumps(value, default=str))]


def _is_plain(value: Any) -> bool:
    """Return whether a value is a number, true or false, a text that MONAI does not evaluate, or a list of these."""
    if isinstance(value, list):
        return bool(value) and all(_is_plain(item) for item in value)
    return not isinstance(value, dict) and not (isinstance(value, str) and value.strip()[:1] in tuple("$%@"))


def _is_parent(stem: str, place: str, _: str, text: str) -> bool:
    return stem == "train" and place == "pretrained" and PARENT.fullmatch(text.strip('"')) is not None
