"""What a bundle's configs would run, and whether this project wrote it.

MONAI evaluates every string of a config that begins with ``$`` as Python and calls whatever ``_target_`` names. A stranger's config can
therefore do anything. Here all of it is listed, and held against what the configs of this project's own template run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Any

import yaml

from mrh_monai.bundles import SHIPPED, render
from mrh_monai.errors import BundleError, one_line

CONFIG = re.compile(r"configs/[\w-]+\.(?:ya?ml|json)", re.I | re.A)
LOGGING = "configs/logging.conf"
# Files that nothing runs: texts and pictures, tensors and what is said of them.
INERT = re.compile(r"LICENSE|MANIFEST\.sha256|models/model\.(?:pt|json)|docs/\w[\w .-]*\.(?:md|png|jpg)", re.A)
# Bytes; of YAML there is less, since some of it takes time with the square of its length.
LARGEST = {"json": 1 << 20, "yaml": 1 << 16, "yml": 1 << 16}
# Ids of files and folders. What a user gives is the user's affair; what a config itself puts there could be any file of the reader's.
PLACES = ("bundle_root", "ckpt_path", "datalist", "log_dir", "output_dir", "pretrained", "published_model")
OUTSIDE = re.compile(r"[/~\\]|[A-Za-z]:[/\\]|(?:.*[/\\])?\.\.(?:[/\\]|$)", re.S)
# Where a parent lies is each bundle's own affair: a string added to a string.
PARENT = re.compile(r"\$@bundle_root \+ '/[\w ./+-]+'|none", re.A)


@dataclass(frozen=True, order=True)
class Code:
    """One thing that a bundle would run, or that decides on what is run.

    Attributes:
        file: Path inside the bundle.
        place: Id in the config, such as ``train::trainer::_target_``; empty where the file as a whole is meant.
        kind: ``expression``; ``target``, what is called; ``mode``, how; ``reference`` to another id; ``id`` that reaches into another one;
            ``macro``, which takes in another file; ``path`` of a file or folder; ``encoding``, letters that other systems read as others;
            ``logging`` or ``file``.
        text: As it stands there.
    """

    file: str
    place: str
    kind: str
    text: str

    def __str__(self) -> str:
        return one_line(f"{self.file}{', ' if self.place else ''}{self.place}: {self.text}")


def code_of(files: Mapping[str, bytes]) -> list[Code]:
    """All that the files of a bundle would run, in order.

    Args:
        files: Contents by path inside the bundle.

    Raises:
        BundleError: A config is neither YAML nor JSON, or too long for one.
    """
    found: list[Code] = []
    for name, content in sorted(files.items()):
        if CONFIG.fullmatch(name):
            found += [Code(name, *code) for code in _parse(name, content)]
            if not content.isascii():
                found.append(Code(name, "", "encoding", "letters beyond ASCII, which other systems may read as code"))
        elif name == LOGGING:
            found.append(Code(name, "", "logging", content.decode(errors="replace").strip()))
        elif not INERT.fullmatch(name):
            found.append(Code(name, "", "file", "a file that no bundle of this project has"))
    return found


def foreign(found: Sequence[Code]) -> list[Code]:
    """What of it does not stand in the same place of the same config of this project."""
    return [code for code in found if _key(code) not in _own() and not _is_parent(code)]


@cache
def _own() -> frozenset[tuple[str, ...]]:
    """The allow-list: everything that the configs of the shipped bundles run, in its place."""
    return frozenset(_key(code) for spec in SHIPPED for code in code_of(render(spec)))


def _key(code: Code) -> tuple[str, ...]:
    # A list may have more items than ours, and a config may be exported as JSON.
    place = "::".join("*" if part.isdigit() else part for part in code.place.split("::"))
    return PurePosixPath(code.file).with_suffix("").as_posix(), place, code.kind, code.text


def _is_parent(code: Code) -> bool:
    return code.file.startswith("configs/train.") and code.place == "pretrained" and PARENT.fullmatch(code.text) is not None


class _PlainLoader(yaml.SafeLoader):
    """YAML without merge keys, which can multiply without end; MONAI refuses them as well."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.YAMLError("a merge key (<<)")


def _parse(name: str, content: bytes) -> list[tuple[str, str, str]]:
    kind = name.rpartition(".")[2].lower()
    try:
        if len(content) > LARGEST[kind]:
            raise ValueError(f"{len(content) >> 10} KiB, more than {LARGEST[kind] >> 10}")
        text = content.decode()
        value = json.loads(text) if kind == "json" else yaml.load(text, _PlainLoader)
        return list(_walk(value, (), set()))
    except Exception as error:  # PyYAML raises whatever its constructors do
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
            inner = (*place, str(key))
            if re.search(r"::|#|^\+", str(key)):
                yield "::".join(inner), "id", str(key)
            if key in ("_target_", "_mode_", "_debug_"):
                text = item.strip() if isinstance(item, str) else json.dumps(item, default=str)
                yield "::".join(inner), "target" if key == "_target_" else "mode", text
            else:
                yield from _walk(item, inner, seen)
    elif isinstance(value, str):
        text = value.strip()
        kind = {"$": "expression", "%": "macro", "@": "reference"}.get(text[:1])
        if kind is None and (OUTSIDE.match(text) or (place and place[-1] in PLACES)):
            kind = "path"
        if kind is not None:
            yield "::".join(place), kind, text
