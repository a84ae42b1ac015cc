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

from mrh_monai.bundle import SHIPPED, render
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
ENCODING = "letters beyond ASCII, which other systems may read as code"
_NONE = object()
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
            ``logging`` or ``file``. Of what is foreign also ``addition`` and ``change``, of what is plain in itself.
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
            found += [Code(name, *code) for code in _walk(_parse(name, content), ())]
            if not content.isascii():
                found.append(Code(name, "", "encoding", ENCODING))
        elif name == LOGGING:
            found.append(Code(name, "", "logging", content.decode(errors="replace").strip()))
        elif not INERT.fullmatch(name):
            found.append(Code(name, "", "file", "a file that no bundle of this project has"))
    return found


def foreign(files: Mapping[str, bytes]) -> list[Code]:
    """What of it this project did not write: all that its own configs do not have in the same place.

    A config may differ from ours in plain values alone. Whatever is added counts, even where it is plain: an argument of something that is
    called can be as good as code.

    Args:
        files: As `code_of`.

    Raises:
        BundleError: As `code_of`.
    """
    found: list[Code] = []
    for name, content in sorted(files.items()):
        stem = PurePosixPath(name).stem
        if not CONFIG.fullmatch(name):
            found += [code for code in code_of({name: content}) if code.kind == "file" or code.text != _own()[LOGGING]]
            continue
        value = _parse(name, content)
        found += [Code(name, "", "encoding", ENCODING)] if not content.isascii() else []
        if stem == "metadata":
            found += [Code(name, *code) for code in _walk(value, ())]
        elif stem not in _own():
            found.append(Code(name, "", "file", "a config that no bundle of this project has"))
            found += [Code(name, *code) for code in _walk(value, ())]
        else:
            found += [Code(name, *code) for code in _differences(value, _own()[stem], ()) if not _is_parent(stem, *code)]
    return found


@cache
def _own() -> dict[str, Any]:
    """The allow-list: this project's configs by name, of a bundle with a parent."""
    files = render(next(spec for spec in SHIPPED if spec.parent is not None))
    configs = {PurePosixPath(name).stem: _parse(name, content) for name, content in files.items() if CONFIG.fullmatch(name)}
    return configs | {LOGGING: files[LOGGING].decode().strip()}


def _differences(value: Any, own: Any, place: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """Place, kind and text of all that is not in our config, or other than plain values may be."""
    if isinstance(value, dict) and isinstance(own, dict):
        for key, item in value.items():
            yield from _differences(item, own.get(key, _NONE), (*place, str(key)))
    elif isinstance(value, list) and isinstance(own, list) and not _is_plain(own):
        for index, item in enumerate(value):
            yield from _differences(item, own[index] if index < len(own) else _NONE, (*place, str(index)))
    elif value != own or type(value) is not type(own):
        code = list(_walk(value, place))
        called = own is _NONE or not _is_plain(own) or place[-1] in ("_target_", "_mode_")
        if code or called or not _is_plain(value):
            yield from code or [("::".join(place), "addition" if own is _NONE else "change", json.dumps(value, default=str))]


def _is_plain(value: Any) -> bool:
    """A number, a truth value, a text that means nothing to MONAI, or lists of these."""
    if isinstance(value, list):
        return bool(value) and all(_is_plain(item) for item in value)
    return not isinstance(value, dict) and not (isinstance(value, str) and value.strip()[:1] in tuple("$%@"))


def _is_parent(stem: str, place: str, _: str, text: str) -> bool:
    return stem == "train" and place == "pretrained" and PARENT.fullmatch(text.strip('"')) is not None


class _PlainLoader(yaml.SafeLoader):
    """YAML in which everything stands where it is used: aliases and merge keys can multiply without end."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*)")
        return super().compose_node(parent, index)


def _parse(name: str, content: bytes) -> Any:
    kind = name.rpartition(".")[2].lower()
    try:
        if len(content) > LARGEST[kind]:
            raise ValueError(f"{len(content) >> 10} KiB, more than {LARGEST[kind] >> 10}")
        text = content.decode()
        value = json.loads(text) if kind == "json" else yaml.load(text, _PlainLoader)
        list(_walk(value, ()))  # which goes as deep as Python can, or not
        return value
    except Exception as error:  # PyYAML raises whatever its constructors do
        found = " ".join(str(error).split())[:200]
        raise BundleError(
            name, "a config in YAML or JSON", f"something else ({found})", "get the bundle again from whom it came"
        ) from error


def _walk(value: Any, place: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """Place, kind and text of all code below a value."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            inner = (*place, str(key))
            if re.search(r"::|#|^\+", str(key)):
                yield "::".join(inner), "id", str(key)
            if key in ("_target_", "_mode_", "_debug_"):
                text = item.strip() if isinstance(item, str) else json.dumps(item, default=str)
                yield "::".join(inner), "target" if key == "_target_" else "mode", text
            else:
                yield from _walk(item, inner)
    elif isinstance(value, str):
        text = value.strip()
        kind = {"$": "expression", "%": "macro", "@": "reference"}.get(text[:1])
        if kind is None and (OUTSIDE.match(text) or (place and place[-1] in PLACES)):
            kind = "path"
        if kind is not None:
            yield "::".join(place), kind, text
