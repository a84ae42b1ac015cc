"""What the configs of a bundle would run.

MONAI evaluates every text of a config that begins with ``$`` as Python, and calls whatever ``_target_`` names. So a config of a stranger
can do anything. Here all such places are listed. `template_history.py` compares them with the configs of this project.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from mrh_monai.errors import BundleError, printable

CONFIG = re.compile(r"configs/[\w-]+\.(?:ya?ml|json)", re.I | re.A)
LOGGING = "configs/logging.conf"
# Files that nothing runs: texts and pictures, tensors and their description.
INERT = re.compile(r"LICENSE|MANIFEST\.sha256|models/model\.(?:pt|json)|docs/\w[\w .-]*\.(?:md|png|jpg)", re.A)
# Largest configs, in bytes. The limit of YAML is lower, because the time to read some YAML grows with the square of its length.
LARGEST = {"json": 1 << 20, "yaml": 1 << 16, "yml": 1 << 16}
# Ids of files and folders. A user may give any path, but a config itself could name any file of the person who runs it.
PLACES = ("bundle_root", "bundle_weights", "ckpt_path", "datalist", "log_dir", "output_dir", "pretrained")
OUTSIDE = re.compile(r"[/~\\]|[A-Za-z]:[/\\]|(?:.*[/\\])?\.\.(?:[/\\]|$)", re.S)
ENCODING = "letters beyond ASCII, which other systems may read as code"
UNKNOWN_FILE = "a file that no bundle of this project has"


@dataclass(frozen=True, order=True)
class Code:
    """One thing that a bundle would run, or that decides what is run.

    Attributes:
        file: Path inside the bundle.
        place: Id in the config, such as ``train::trainer::_target_``; empty for the whole file.
        kind: ``expression``; ``target``, what is called; ``mode``, how it is called; ``reference`` to another id; ``id`` with ``::``, which
            changes a value inside another id; ``macro``, which reads another file; ``path`` of a file or folder; ``encoding``, letters that
            other systems read as other letters; ``logging`` or ``file``. For differences from this project's configs also ``addition`` and
            ``change``, of values that are plain by themselves.
        text: The text in that place.
    """

    file: str
    place: str
    kind: str
    text: str

    def __str__(self) -> str:
        return printable(f"{self.file}{', ' if self.place else ''}{self.place}: {self.text}")


def code_of(files: Mapping[str, bytes]) -> list[Code]:
    """Return everything that the files of a bundle would run, in order.

    Args:
        files: Contents by path inside the bundle.

    Raises:
        BundleError: A config is neither YAML nor JSON, or is too long for a config.

    Example:
        >>> [str(code) for code in code_of({"configs/inference.yaml": b"run: $print(1)"})]
        ['configs/inference.yaml, run: $print(1)']
    """
    found: list[Code] = []
    for name, content in sorted(files.items()):
        if CONFIG.fullmatch(name):
            found += [Code(name, *code) for code in code_within(parse_config(name, content), ())]
            found += encoding_of(name, content)
        elif name == LOGGING:
            found.append(Code(name, "", "logging", logging_text(content)))
        elif not INERT.fullmatch(name):
            found.append(Code(name, "", "file", UNKNOWN_FILE))
    return found


def code_within(value: Any, place: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """Yield place, kind and text of all code below a value of a config.

    Args:
        value: The value.
        place: Keys that lead to it.
    """
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            inner = (*place, str(key))
            if re.search(r"::|#|^\+", str(key)):
                yield "::".join(inner), "id", str(key)
            if key in ("_target_", "_mode_", "_debug_"):
                text = item.strip() if isinstance(item, str) else json.dumps(item, default=str)
                yield "::".join(inner), "target" if key == "_target_" else "mode", text
            else:
                yield from code_within(item, inner)
    elif isinstance(value, str):
        text = value.strip()
        kind = {"$": "expression", "%": "macro", "@": "reference"}.get(text[:1])
        if kind is None and (OUTSIDE.match(text) or (place and place[-1] in PLACES)):
            kind = "path"
        if kind is not None:
            yield "::".join(place), kind, text


def encoding_of(name: str, content: bytes) -> list[Code]:
    """Return whether a config has letters that another system could read as code: an empty list, or one entry."""
    return [] if content.isascii() else [Code(name, "", "encoding", ENCODING)]


def logging_text(content: bytes) -> str:
    """Return the text of a logging configuration, which Python's `logging.config` evaluates in part."""
    return content.decode(errors="replace").strip()


def parse_config(name: str, content: bytes) -> Any:
    """Return the values of a config, without evaluating any of them.

    Args:
        name: Path inside the bundle; its ending says whether it is YAML or JSON.
        content: The file.

    Raises:
        BundleError: The file is neither YAML nor JSON, is too long, or has aliases.
    """
    kind = name.rpartition(".")[2].lower()
    try:
        if len(content) > LARGEST[kind]:
            raise ValueError(f"{len(content) >> 10} KiB, more than {LARGEST[kind] >> 10}")
        text = content.decode()
        value = json.loads(text) if kind == "json" else yaml.load(text, _PlainLoader)
        list(code_within(value, ()))  # raises where the nesting is deeper than Python can follow
        return value
    except Exception as error:  # PyYAML passes on any exception of its constructors
        found = " ".join(str(error).split())[:200]
        remedy = "ask the sender for the bundle again"
        raise BundleError(name, "a config in YAML or JSON", f"a file that cannot be read as such ({found})", remedy) from error


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases and merge keys, which could make a short file endlessly long."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*)")
        return super().compose_node(parent, index)
