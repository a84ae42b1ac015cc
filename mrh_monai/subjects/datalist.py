"""Datalists: which subjects train, validate and test, in the decathlon form of MONAI."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.errors import DatalistError, OptionError, shortened
from mrh_monai.io import is_patch_file, write_text
from mrh_monai.output_files import writing
from mrh_monai.subjects.coronal import with_default_axis
from mrh_monai.subjects.file_geometry import checked_coronal_axis, checked_voxel_size
from mrh_monai.subjects.subject import FILE_KEYS, SUBJECT_NAME, Slices, Subject, files_of, in_slices, is_subject_name
from mrh_monai.subjects.subject_arrays import AnySubject

SECTIONS = ("training", "validation", "test")
WRITE_ONE = "write one with `mrh datalist ROOT -o ROOT/datalist.json`"


@dataclass(frozen=True)
class Datalist:
    """The subjects of a study in three sections.

    Attributes:
        training: Subjects to train on: files (`Subject`) or arrays (`SubjectArrays`).
        validation: Subjects to validate on after each epoch of training.
        test: Subjects that no training sees.

    Example:
        >>> from pathlib import Path
        >>> subjects = [Subject(name, (Path(name) / "images.nii.gz",)) for name in ("m1", "m2", "m3")]
        >>> [subject.name for subject in Datalist.split(subjects, (1, 1, None)).test]
        ['m3']
    """

    training: tuple[AnySubject, ...] = ()
    validation: tuple[AnySubject, ...] = ()
    test: tuple[AnySubject, ...] = ()

    @property
    def sections(self) -> dict[str, tuple[AnySubject, ...]]:
        """The three sections by name."""
        return {name: getattr(self, name) for name in SECTIONS}

    @property
    def files(self) -> list[Path]:
        """Every file that is read for the subjects of all sections."""
        return [file for subject in itertools.chain(*self.sections.values()) if isinstance(subject, Subject) for file in files_of(subject)]

    def section(self, key: str, where: object = "datalist") -> tuple[AnySubject, ...]:
        """Return the subjects of one section, which must have some.

        Args:
            key: ``training``, ``validation`` or ``test``.
            where: File or option that the error names.

        Raises:
            DatalistError: The section is unknown or empty.
        """
        if key not in SECTIONS:
            remedy = "give one of them as datalist_key"
            raise DatalistError(where, f"one of the sections {', '.join(SECTIONS)}", repr(key), remedy)
        subjects = self.sections[key]
        if not subjects:
            filled = [name for name, entries in self.sections.items() if entries]
            found = f"no subjects in this section (there are some under {filled})"
            raise DatalistError(where, f"subjects under {key!r}", found, f"add subjects there, or choose another section than {key!r}")
        return subjects

    def with_default_axis(self, coronal_axis: int | None) -> Datalist:
        """Return the datalist with a coronal axis for its subjects that do not state one; None leaves it unchanged."""
        every = iter(with_default_axis(list(itertools.chain(*self.sections.values())), coronal_axis))
        return Datalist(*(tuple(itertools.islice(every, len(each))) for each in self.sections.values()))

    @classmethod
    def read(cls, path: Path | str | None) -> Datalist:
        """Read a datalist; its relative paths start from its own folder.

        Args:
            path: JSON file: ``{"training": [{"subject", "image": [...], "mask", "fa", "target", "target_mask", "slices",
                "voxel_size"}], "validation",
                "test"}``. A patch file stands for a datalist whose only subject, to train or to test on, is that file.

        Raises:
            DatalistError: The file is not such JSON, two subjects of a section have the same name, or one subject stands in two
                sections whose slices overlap.
        """
        if path is None or not str(path):
            raise DatalistError("datalist", "a JSON file", "no path", f"give --datalist FILE; {WRITE_ONE}")
        path = Path(path)
        if not path.is_file():
            found = "a folder" if path.is_dir() else "no such file"
            raise DatalistError(path, "a datalist (JSON file)", found, WRITE_ONE)
        if is_patch_file(path):
            patches = (Subject(path.name.split(".")[0], (path,)),)
            return cls(training=patches, test=patches)
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except (UnicodeDecodeError, ValueError) as error:
            raise DatalistError(path, "a datalist in JSON", f"a file that is not valid JSON ({error})", WRITE_ONE) from error
        if not isinstance(content, dict) or not set(content) & set(SECTIONS):
            found = f"the keys {sorted(content)}" if isinstance(content, dict) else f"a {type(content).__name__}"
            raise DatalistError(path, f"a JSON object with {', '.join(SECTIONS)}", found, WRITE_ONE)
        datalist = cls(**{name: _read_section(content.get(name, []), path, name) for name in SECTIONS})
        datalist._check_names(path)
        datalist._check_no_leak(path)
        return datalist

    def write(self, path: Path | str, overwrite: bool = False) -> None:
        """Write the datalist as JSON, with paths relative to its own folder.

        Args:
            path: File to write. A datalist there that this function wrote, and that is unchanged since, is replaced.
            overwrite: Whether another file may be replaced too; a file of the subjects never is.

        Raises:
            DatalistError: A subject consists of arrays, which a JSON file cannot name, or has a name that cannot name files.
            OutputError: The file cannot be written, or is another file.
        """
        path = Path(path)
        names = [subject.name for subject in itertools.chain(*self.sections.values())]
        wrong = next((name for name in names if not is_subject_name(name)), None)
        if wrong is not None:
            raise DatalistError(path, f"for every subject {SUBJECT_NAME}", repr(shortened(wrong)), "rename its folder")
        content = {name: [_entry(subject, path.resolve().parent) for subject in subjects] for name, subjects in self.sections.items()}
        with writing("datalist", [path], self.files, overwrite):
            write_text(path, json.dumps(content, indent=2) + "\n")

    @classmethod
    def split(
        cls,
        subjects: Sequence[Subject],
        counts: Sequence[int | None],
        slices: Sequence[Slices | None] = (None, None, None),
        shuffle: int | None = None,
    ) -> Datalist:
        """Divide subjects among the three sections.

        Args:
            subjects: Subjects in the order of their names.
            counts: Number of subjects to train, to validate and to test on; None as the last number takes the rest.
            slices: Ranges of slices for each section. If there are ranges, every subject stands in every section that has ranges, and
                ``counts`` is not used.
            shuffle: Random seed of the order; None keeps the order.

        Raises:
            DatalistError: There are too few subjects, or the ranges of two sections overlap.
        """
        order = list(subjects)
        if shuffle is not None:
            order = [order[index] for index in np.random.default_rng(shuffle).permutation(len(order))]
        if any(ranges is not None for ranges in slices):
            parts = [tuple(replace(s, slices=ranges) for s in order) if ranges is not None else () for ranges in slices]
            datalist = cls(*parts)
            datalist._check_no_leak("slices")
            return datalist
        train, val = (count or 0 for count in counts[:2])
        test = len(order) - train - val if counts[2] is None else counts[2]
        if min(train, val, test) < 0 or train + val + test > len(order):
            asked = f"{train} to train, {val} to validate" + ("" if counts[2] is None else f", {test} to test")
            expected = f"at least {train + val + max(test, 0)} subjects ({asked})"
            raise DatalistError("mrh datalist", expected, f"{len(order)}", "ask for fewer subjects")
        edges = [0, train, train + val, train + val + test]
        return cls(*(tuple(order[a:b]) for a, b in itertools.pairwise(edges)))

    def _check_names(self, where: object) -> None:
        for name, subjects in self.sections.items():
            names = [subject.name for subject in subjects]
            repeated = next((n for n in names if names.count(n) > 1), None)
            if repeated is not None:
                remedy = "rename one with `subject`, or join their `slices` in one entry; results are filed under the name"
                raise DatalistError(where, f"every subject of {name} under its own name", f"{repeated} twice", remedy)

    def _check_no_leak(self, where: object) -> None:
        for one, other in itertools.combinations(SECTIONS, 2):
            for a, b in itertools.product(self.sections[one], self.sections[other]):
                same = a.name == b.name or _files(a) & _files(b)
                if same and not _disjoint(a.slices, b.slices):
                    expected = "every subject in one section, or with disjoint `slices`"
                    raise DatalistError(where, expected, f"{a.name} in {one} and in {other}", "remove it from one of them")


def read_manifest(path: Path | str, name: str) -> Subject:
    """Read a manifest, which is like one entry of a datalist; its relative paths start from the file's folder.

    Args:
        path: JSON file.
        name: Name of the subject where the entry has no ``subject``.

    Raises:
        DatalistError: The file is not valid JSON, or is not like an entry of a datalist.
    """
    path = Path(path)
    remedy = "write it like an entry of a datalist: image, mask or fa, and optionally subject and slices"
    try:
        entry = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DatalistError(path, "a manifest in JSON", f"a file that is not valid JSON ({error})", remedy) from error
    if isinstance(entry, dict) and not entry.get("mask") and not entry.get("fa"):
        raise DatalistError(path, "a mask, or an FA map instead", "no mask and no FA map", remedy)
    return _subject({"subject": name, **entry} if isinstance(entry, dict) else entry, path, "manifest")


def _read_section(entries: Any, path: Path, section: str) -> tuple[Subject, ...]:
    if not isinstance(entries, list):
        raise DatalistError(path, f"a list of subjects as {section}", f"a {type(entries).__name__}", WRITE_ONE)
    return tuple(_subject(entry, path, f"{section}[{index}]") for index, entry in enumerate(entries))


def _files(subject: AnySubject) -> set[Path]:
    """Return the image files of a subject; none of one that consists of arrays."""
    return {path.resolve() for path in subject.image} if isinstance(subject, Subject) else set()


def _entry(subject: AnySubject, folder: Path) -> dict[str, Any]:
    def relative(path: Path) -> str:
        return Path(os.path.relpath(path.resolve(), folder)).as_posix()

    if not isinstance(subject, Subject):
        remedy = "list the files of the subject, or write its arrays as NIfTI files first"
        raise DatalistError("datalist", "subjects in files, to be written as JSON", f"arrays as {subject.name}", remedy)
    entry: dict[str, Any] = {"subject": subject.name, "image": [relative(path) for path in subject.image]}
    entry |= {key: relative(path) for key, path in subject.files.items()}
    if subject.voxel_size is not None:
        entry["voxel_size"] = list(subject.voxel_size)
    if subject.coronal_axis is not None:
        entry["coronal_axis"] = subject.coronal_axis
    if subject.slices is not None:
        entry["slices"] = [list(pair) for pair in subject.slices]
    return entry


def _subject(entry: Any, path: Path, where: str) -> Subject:
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str | list):
        raise DatalistError(f"{path}, {where}", "an object with `subject` and `image`", f"{str(entry)[:60]}", WRITE_ONE)
    unknown = set(entry) - {"subject", "image", "slices", "voxel_size", "coronal_axis", *FILE_KEYS}
    if unknown:
        keys = f"the keys subject, image, {', '.join(FILE_KEYS)}, slices, voxel_size, coronal_axis"
        raise DatalistError(f"{path}, {where}", keys, f"{sorted(unknown)}", "correct the key")
    image = [entry["image"]] if isinstance(entry["image"], str) else entry["image"]
    if not all(isinstance(name, str) for name in [*image, *(entry.get(key, "") or "" for key in FILE_KEYS)]):
        raise DatalistError(f"{path}, {where}", "file names as strings", "values that are not strings", WRITE_ONE)
    if not image or not all(file.strip() for file in image):
        raise DatalistError(f"{path}, {where}", "the names of its image files", f"{image}", "list the files of the images")
    if any("\0" in file for file in [*image, *(entry.get(key, "") or "" for key in FILE_KEYS)]):
        raise DatalistError(f"{path}, {where}", "file names without NUL characters", "a file name with one", "correct the file name")
    given = entry.get("subject")
    unnamed = given is None or given == ""
    name: Any = (Path(image[0]).parent.name or Path(image[0]).name.split(".")[0]) if unnamed else given
    name = str(name) if type(name) is int else name  # a number that was written without quotes
    if not is_subject_name(name):
        raise DatalistError(f"{path}, {where}", SUBJECT_NAME, repr(shortened(str(name))), "rename the subject")
    files = {key: path.parent / entry[key] if entry.get(key) else None for key in FILE_KEYS}
    try:
        size, axis = checked_voxel_size(entry.get("voxel_size")), checked_coronal_axis(entry.get("coronal_axis"))
    except OptionError as error:
        raise DatalistError(f"{path}, {where}", f"{error.where} as {error.expected}", error.found, f"correct `{error.where}`") from error
    slices = _slices(entry.get("slices"), path, where)
    images = tuple(path.parent / file for file in image)
    return Subject(name, images, slices=slices, voxel_size=size, coronal_axis=axis, listed_in=path, **files)


def _slices(value: Any, path: Path, where: str) -> Slices | None:
    if value is None:
        return None
    try:
        pairs = tuple((start, stop) for start, stop in value)
        if not all(type(n) is int for pair in pairs for n in pair):
            raise ValueError("not whole numbers")
        return pairs
    except (TypeError, ValueError) as error:
        raise DatalistError(f"{path}, {where}", "slices as [[start, stop], ...]", f"{value}", "correct `slices`") from error


def _disjoint(a: Slices | None, b: Slices | None) -> bool:
    if a is None or b is None:
        return False
    length = max((stop for _, stop in a + b), default=0)
    return not (in_slices(length, a) & in_slices(length, b)).any()
