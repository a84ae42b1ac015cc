"""What a bundle's configs would run, and whether this project wrote it.

MONAI evaluates every string of a config that begins with ``$`` as Python and calls whatever ``_target_`` names. A stranger's config can
therefore do anything. Here all of it is listed, and held against what the configs of this project's own template run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Any

import yaml

from mrh_monai.bundles import SHIPPED, render
from mrh_monai.errors import BundleError

CONFIGS = (".yaml", ".yml", ".json")
# Files that nothing runs: texts, tables, pictures, and weights, which are loaded as plain tensors.
INERT = (*CONFIGS, ".md", ".txt", ".csv", ".png", ".jpg", ".sha256")
KNOWN = ("LICENSE", "models/model.pt")
LOGGING = "configs/logging.conf"
LARGEST_CONFIG = 4 << 20
# Where a parent lies is each bundle's own affair: a string added to a string.
PARENT = re.compile(r"\$@bundle_root \+ '/[\w ./+-]+'")
# Results go where the user says; a config that names such a place itself could overwrite any file.
OUTSIDE = re.compile(r"[/~\\]|[A-Za-z]:[/\\]|(?:.*[/\\])?\.\.(?:[/\\]|$)", re.S)


@dataclass(frozen=True, order=True)
class Code:
    """One thing that a bundle would run.

    Attributes:
        file: Path inside the bundle.
        place: Id in the config, such as ``train::trainer::_target_``; empty where the file as a whole is meant.
        kind: ``expression``, ``target``, ``mode``, ``macro`` (takes in another file), ``path`` (leads out of the bundle), ``logging`` or
            ``file``.
        text: As it stands there.
    """

    file: str
    place: str
    kind: str
    text: str

    def __str__(self) -> str:
        line = f"{self.file}{', ' if self.place else ''}{self.place}: {self.text}"
        # A terminal would obey what a stranger's text tells it, such as to go back and write over the line.
        return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in line)


def code_of(files: Mapping[str, bytes]) -> list[Code]:
    """All that the files of a bundle would run, in order.

    Args:
        files: Contents by path inside the bundle.

    Raises:
        BundleError: A config is neither YAML nor JSON.
    """
    found: list[Code] = []
    for name, content in sorted(files.items()):
        kind = PurePosixPath(name).suffix.lower()
        if kind in CONFIGS:
            found += [Code(name, *code) for code in _parse(name, content)]
        elif name == LOGGING:
            found.append(Code(name, "", "logging", content.decode(errors="replace").strip()))
        elif kind not in INERT and name not in KNOWN:
            found.append(Code(name, "", "file", "a file that could be run, or loaded as code"))
    return found


def foreign(found: list[Code]) -> list[Code]:
    """What of it the configs of this project do not have."""
    return [
        code for code in found if (code.kind, code.text) not in _own() and not (code.kind == "expression" and PARENT.fullmatch(code.text))
    ]


@cache
def _own() -> frozenset[tuple[str, str]]:
    """The allow-list: everything that the configs of the shipped bundles run."""
    return frozenset((code.kind, code.text) for spec in SHIPPED for code in code_of(render(spec)))


def _parse(name: str, content: bytes) -> list[tuple[str, str, str]]:
    try:
        if len(content) > LARGEST_CONFIG:
            raise ValueError(f"{len(content) / 2**20:.3g} MiB")
        text = content.decode()
        value = json.loads(text) if name.lower().endswith(".json") else yaml.safe_load(text)
        return list(_walk(value, (), set()))
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        found = " ".join(str(error).split())[:200]
        raise BundleError(
            name, "a config in YAML or JSON", f"something else ({found})", "get the bundle again from whom it came"
        ) from error


def _walk(value: Any, place: tuple[str, ...], seen: set[int]) -> Iterator[tuple[str, str, str]]:
    """Place, kind and text of all code below a value. YAML can refer to one list many times over; it is entered once."""
    if isinstance(value, dict | list):
        if id(value) in seen:
            return
        seen.add(id(value))
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if key in ("_target_", "_mode_") and not isinstance(item, dict | list):
                yield "::".join((*place, key)), key.strip("_"), str(item).strip()
            else:
                yield from _walk(item, (*place, str(key)), seen)
    elif isinstance(value, str):
        text = value.strip()
        kind = {"$": "expression", "%": "macro"}.get(text[:1]) or ("path" if OUTSIDE.match(text) else None)
        if kind is not None:
            yield "::".join(place), kind, text
