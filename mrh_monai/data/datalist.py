"""Datalists: which subjects train, validate and test, in MONAI's decathlon form."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.data.subject import Slices, Subject, in_slices
from mrh_monai.errors import DatalistError
from mrh_monai.io import write_text

SECTIONS = ("training", "validation", "test")
FILE_KEYS = ("mask", "fa", "target", "target_mask")
HOW = "write one with `mrh datalist ROOT -o ROOT/datalist.json`"

Datalist = dict[str, list[Subject]]


def read_datalist(path: Path | str | None) -> Datalist:
    """Read a datalist; its relative paths start from its own folder.

    Args:
        path: The JSON file: ``{"training": [{"subject", "image": [...], "mask", "fa", "target", "target_mask", "slices"}],
            "validation", "test"}``.
            A file of patches (``.mat``) stands for a datalist whose only subject, to train or to test, is that file.

    Returns:
        The three sections, each a list that may be empty.

    Raises:
        DatalistError: It is no such file, a section has two subjects of one name, or one subject stands in two sections with slices
            that are not disjoint.
    """
    if path is None or not str(path):
        raise DatalistError("datalist", "a JSON file", "nothing", f"give --datalist FILE; {HOW}")
    path = Path(path)
    if path.is_dir():
        raise DatalistError(path, "a datalist (JSON file)", "a folder", HOW)
    if not path.is_file():
        raise DatalistError(path, "a datalist (JSON file)", "no such file", HOW)
    if path.suffix.lower() == ".mat":
        patches = [Subject(path.name.split(".")[0], (path,))]
        return {"training": patches, "validation": [], "test": patches}
    try:
        content = json.loads(path.read_text())
    except (UnicodeDecodeError, ValueError) as error:
        raise DatalistError(path, "a datalist in JSON", f"something else ({error})", HOW) from error
    if not isinstance(content, dict) or not set(content) & set(SECTIONS):
        found = f"the keys {sorted(content)}" if isinstance(content, dict) else f"a {type(content).__name__}"
        raise DatalistError(path, f"a JSON object with {', '.join(SECTIONS)}", found, HOW)
    datalist: Datalist = {}
    for section in SECTIONS:
        entries = content.get(section, [])
        if not isinstance(entries, list):
            raise DatalistError(path, f"a list of subjects as {section}", f"a {type(entries).__name__}", HOW)
        datalist[section] = [_subject(entry, path, f"{section}[{index}]") for index, entry in enumerate(entries)]
    _check_names(datalist, path)
    _check_no_leak(datalist, path)
    return datalist


def read_manifest(path: Path | str, name: str) -> Subject:
    """One entry of a datalist in a file of its own; its relative paths start from the file's folder.

    Args:
        path: The JSON file.
        name: The subject's, where the entry has no ``subject``.

    Raises:
        DatalistError: It is no such file.
    """
    path = Path(path)
    how = "write it like an entry of a datalist: image, mask or fa, and perhaps subject and slices"
    try:
        entry = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DatalistError(path, "a manifest in JSON", f"something else ({error})", how) from error
    if isinstance(entry, dict) and not entry.get("mask") and not entry.get("fa"):
        raise DatalistError(path, "a mask, or an FA map to stand in for it", "neither", how)
    return _subject({"subject": name, **entry} if isinstance(entry, dict) else entry, path, "manifest")


def section(datalist: Datalist, key: str, where: object = "datalist") -> list[Subject]:
    """One section that must have subjects.

    Raises:
        DatalistError: The section is unknown or empty.
    """
    if key not in SECTIONS:
        raise DatalistError(where, f"one of the sections {', '.join(SECTIONS)}", repr(key), "choose one of them as datalist_key")
    if not datalist[key]:
        filled = [name for name in SECTIONS if datalist[name]]
        raise DatalistError(
            where, f"subjects under {key!r}", f"none there (only under {filled})", f"add them or choose another section than {key!r}"
        )
    return datalist[key]


def split(
    subjects: Sequence[Subject],
    counts: Sequence[int | None],
    slices: Sequence[Slices | None] = (None, None, None),
    shuffle: int | None = None,
) -> Datalist:
    """Share subjects out to the three sections.

    Args:
        subjects: In the order of their names.
        counts: How many train, validate and test; None as the last takes the rest.
        slices: Ranges a section; where any is given, every subject stands in every section that has ranges, and ``counts`` are not used.
        shuffle: Seed of a random order; None keeps the order.

    Raises:
        DatalistError: There are too few subjects, or ranges of two sections overlap.
    """
    order = list(subjects)
    if shuffle is not None:
        order = [order[index] for index in np.random.default_rng(shuffle).permutation(len(order))]
    if any(ranges is not None for ranges in slices):
        named = zip(SECTIONS, slices, strict=True)
        datalist: Datalist = {name: [replace(s, slices=ranges) for s in order] if ranges is not None else [] for name, ranges in named}
        _check_no_leak(datalist, "slices")
        return datalist
    train, val = (count or 0 for count in counts[:2])
    test = len(order) - train - val if counts[2] is None else counts[2]
    if min(train, val, test) < 0 or train + val + test > len(order):
        asked = f"{train} to train, {val} to validate" + ("" if counts[2] is None else f", {test} to test")
        raise DatalistError("mrh datalist", f"at least {train + val + max(test, 0)} subjects ({asked})", f"{len(order)}", "ask for fewer")
    edges = [0, train, train + val, train + val + test]
    return {name: order[a:b] for name, a, b in zip(SECTIONS, edges, edges[1:], strict=False)}


def write_datalist(path: Path | str, datalist: Datalist) -> None:
    """Write a datalist with paths relative to its own folder."""
    path = Path(path)
    content = {name: [_entry(subject, path.resolve().parent) for subject in datalist[name]] for name in SECTIONS}
    write_text(path, json.dumps(content, indent=2) + "\n")


def _entry(subject: Subject, folder: Path) -> dict[str, Any]:
    def relative(path: Path) -> str:
        return Path(os.path.relpath(path.resolve(), folder)).as_posix()

    entry: dict[str, Any] = {"subject": subject.name, "image": [relative(path) for path in subject.image]}
    entry |= {key: relative(getattr(subject, key)) for key in FILE_KEYS if getattr(subject, key) is not None}
    if subject.slices is not None:
        entry["slices"] = [list(pair) for pair in subject.slices]
    return entry


def _subject(entry: Any, path: Path, where: str) -> Subject:
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str | list):
        raise DatalistError(f"{path}, {where}", "an object with `subject` and `image`", f"{str(entry)[:60]}", HOW)
    unknown = set(entry) - {"subject", "image", "slices", *FILE_KEYS}
    if unknown:
        keys = f"the keys subject, image, {', '.join(FILE_KEYS)}, slices"
        raise DatalistError(f"{path}, {where}", keys, f"{sorted(unknown)}", "mend the key")
    image = [entry["image"]] if isinstance(entry["image"], str) else entry["image"]
    if not all(isinstance(name, str) for name in [*image, *(entry.get(key, "") or "" for key in FILE_KEYS)]):
        raise DatalistError(f"{path}, {where}", "file names as strings", "something else", HOW)
    name = str(entry.get("subject") or Path(image[0] if image else where).parent.name or Path(image[0]).name.split(".")[0])
    if name in (".", "..") or set(name) & set("/\\"):
        raise DatalistError(f"{path}, {where}", "a subject name that can name a folder", repr(name), "rename the subject")
    files = {key: path.parent / entry[key] if entry.get(key) else None for key in FILE_KEYS}
    return Subject(name, tuple(path.parent / file for file in image), slices=_slices(entry.get("slices"), path, where), **files)


def _slices(value: Any, path: Path, where: str) -> Slices | None:
    if value is None:
        return None
    try:
        pairs = tuple((start, stop) for start, stop in value)
        if not all(type(n) is int for pair in pairs for n in pair):
            raise ValueError("not whole numbers")
        return pairs
    except (TypeError, ValueError) as error:
        raise DatalistError(f"{path}, {where}", "slices as [[start, stop], ...]", f"{value}", "mend `slices`") from error


def _check_names(datalist: Datalist, where: object) -> None:
    for name, subjects in datalist.items():
        names = [subject.name for subject in subjects]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            remedy = "rename one with `subject`, or join their `slices` in one entry; results are filed under the name"
            raise DatalistError(where, f"every subject of {name} under its own name", f"{twice} twice", remedy)


def _check_no_leak(datalist: Datalist, where: object) -> None:
    for one, other in itertools.combinations(SECTIONS, 2):
        for a, b in itertools.product(datalist[one], datalist[other]):
            same = a.name == b.name or {p.resolve() for p in a.image} & {p.resolve() for p in b.image}
            if same and not _disjoint(a.slices, b.slices):
                raise DatalistError(
                    where,
                    "every subject in one section, or with disjoint `slices`",
                    f"{a.name} in {one} and in {other}",
                    "take it out of one of them",
                )


def _disjoint(a: Slices | None, b: Slices | None) -> bool:
    if a is None or b is None:
        return False
    length = max((stop for _, stop in a + b), default=0)
    return not (in_slices(length, a) & in_slices(length, b)).any()
