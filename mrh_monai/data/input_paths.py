"""One path that stands for a whole subject: its folder, a 4D image with its mask beside it, a manifest, a file of patches."""

from __future__ import annotations

import glob
from pathlib import Path

from mrh_monai.data.datalist import read_manifest
from mrh_monai.data.subject import MRH_NET_LAYOUT, Layout, Subject, find_subject
from mrh_monai.errors import SubjectError
from mrh_monai.io import ending

MANIFEST = ".mrh.json"
BESIDE = ("mask", "fa")


def find_input(path: Path | str, layout: Layout = MRH_NET_LAYOUT) -> Subject:
    """The subject that a path stands for.

    Args:
        path: A subject's folder; a 4D image ``NAME.nii.gz`` (or of another format) whose mask is ``NAME_mask.nii.gz`` beside it, or whose
            FA map is ``NAME_fa.nii.gz``, since FA > 0 can stand in for a mask; a manifest ``NAME.mrh.json``, which is one entry of a
            datalist; or a MAT file of patches.
        layout: File patterns inside a folder.

    Raises:
        SubjectError: It is none of these, or has neither mask nor FA beside it.
        DatalistError: The manifest is none.
    """
    path = Path(path)
    if path.is_dir():
        return find_subject(path, layout)
    name = input_name(path)
    if name is None or not path.is_file():
        expected = f"a subject's folder, a 4D image, a manifest (*{MANIFEST}) or a MAT file of patches"
        raise SubjectError(path, expected, "another kind of file" if path.exists() else "nothing", "check the path")
    if path.name.endswith(MANIFEST):
        return read_manifest(path, name)
    if path.suffix.lower() == ".mat":
        return Subject(name, (path,))
    mask, fa = (_beside(path, name, key) for key in BESIDE)
    if mask is None and fa is None:
        sought = " or ".join(f"{name}_{key}{ending(path)}" for key in BESIDE)
        raise SubjectError(path, f"its mask or its FA map beside it, as {sought}", "neither", "put one there, or name it in a manifest")
    return Subject(name, (path,), mask, fa)


def input_name(path: Path) -> str | None:
    """The name of the subject that a path stands for; None where it is no file that stands for one, such as a mask beside an image."""
    if path.name.endswith(MANIFEST):
        return path.name.removesuffix(MANIFEST) or None
    if path.suffix.lower() == ".mat":
        return path.stem
    kind = ending(path)
    if not kind or path.suffix == ".hdr":
        return None
    name = path.name[: -len(kind)]
    return None if name.endswith(tuple(f"_{key}" for key in BESIDE)) else name


def _beside(path: Path, name: str, key: str) -> Path | None:
    found = [file for file in sorted(path.parent.glob(f"{glob.escape(name)}_{key}.*")) if ending(file) and file.suffix != ".hdr"]
    if len(found) > 1:
        remedy = "keep one, or name it in a manifest"
        raise SubjectError(path, f"one file {name}_{key}.*", ", ".join(file.name for file in found), remedy)
    return found[0] if found else None
