"""Finding the files of subjects: in folders, beside a 4D image, in a manifest, or in a patch file."""

from __future__ import annotations

import glob
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path

from mrh_monai.errors import SubjectError
from mrh_monai.io import is_patch_file, volume_ending
from mrh_monai.subjects.datalist import read_manifest
from mrh_monai.subjects.layout import MRH_NET_LAYOUT, SHIVERER_LAYOUT, Layout
from mrh_monai.subjects.subject import Subject

MANIFEST = ".mrh.json"
# Files that lie beside a 4D image NAME.nii.gz, as NAME_mask.nii.gz and NAME_fa.nii.gz.
BESIDE_IMAGE = ("mask", "fa")


def layout_of(folder: Path, layout: Layout = MRH_NET_LAYOUT) -> Layout:
    """Return the layout of a subject's folder: the given one, or that of the shiverer where MRH-Net's is given and its files are not there.

    Args:
        folder: The folder of the subject.
        layout: File patterns.
    """
    if layout != MRH_NET_LAYOUT or any(volumes_in(folder, pattern) for pattern in layout.image):
        return layout
    return SHIVERER_LAYOUT if any(volumes_in(folder, pattern) for pattern in SHIVERER_LAYOUT.image) else layout


def find_subject(folder: Path | str, layout: Layout = MRH_NET_LAYOUT, target: str | None = None, target_mask: str | None = None) -> Subject:
    """Return the subject in one folder, named after the folder.

    Args:
        folder: The folder of the subject.
        layout: File patterns.
        target: File of the stain inside the folder, or otherwise beside the folder (one histology for many subjects); None for no stain.
            ``{subject}`` in it stands for the name of the folder, as in ``Axon_to_{subject}.img``.
        target_mask: File inside or beside the folder that is 1 where the stain is intact; None for no such file. It may also have
            ``{subject}`` in it.

    Raises:
        SubjectError: A file is missing, or a pattern matches several files.
    """
    folder = Path(folder)
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise SubjectError(folder, "a subject's folder", found, "name a folder with MR images")
    layout = layout_of(folder, layout)
    image = tuple(_the_file(folder, pattern) for pattern in layout.image)
    fa = _file_or_none(folder, layout.fa) if layout.fa else None
    need_mask = fa is None or not layout.fa_suffices
    mask = None if layout.mask is None else _the_file(folder, layout.mask) if need_mask else _file_or_none(folder, layout.mask)
    stain, stain_mask = (_in_or_beside(folder, name) for name in (target, target_mask))
    return Subject(folder.resolve().name, image, mask, fa, stain, stain_mask, coronal_axis=layout.coronal_axis)


class InputPath(ABC):
    """A kind of path that can stand for a whole subject.

    Attributes:
        description: The kind in words, for error messages.
    """

    description: str

    @abstractmethod
    def subject_name(self, path: Path) -> str | None:
        """Return the name of the subject that a path of this kind stands for; None where the path is of another kind."""

    @abstractmethod
    def find(self, path: Path, name: str, layout: Layout) -> Subject:
        """Return the subject.

        Args:
            path: A path of this kind.
            name: Name of the subject, from `subject_name`.
            layout: File patterns inside a folder.
        """


class FolderPath(InputPath):
    """A folder with the files of one subject."""

    description = "a subject's folder"

    def subject_name(self, path: Path) -> str | None:
        """Return the name of the folder."""
        return path.resolve().name if path.is_dir() else None

    def find(self, path: Path, name: str, layout: Layout) -> Subject:
        """Return the subject in the folder."""
        return find_subject(path, layout)


class ManifestPath(InputPath):
    """A JSON file that lists the files of one subject, like an entry of a datalist."""

    description = f"a manifest (*{MANIFEST})"

    def subject_name(self, path: Path) -> str | None:
        """Return the file's name without ``.mrh.json``."""
        return path.name.removesuffix(MANIFEST) or None if path.name.endswith(MANIFEST) else None

    def find(self, path: Path, name: str, layout: Layout) -> Subject:
        """Read the manifest."""
        return read_manifest(path, name)


class PatchFilePath(InputPath):
    """A patch file of MRH-Net's released code."""

    description = "a MAT file of patches"

    def subject_name(self, path: Path) -> str | None:
        """Return the file's name without its ending."""
        return path.stem if is_patch_file(path) else None

    def find(self, path: Path, name: str, layout: Layout) -> Subject:
        """Return the patch file as a subject."""
        return Subject(name, (path,))


class ImagePath(InputPath):
    """A 4D image ``NAME.nii.gz`` (or of another format) with ``NAME_mask.nii.gz``, or ``NAME_fa.nii.gz``, beside it."""

    description = "a 4D image"

    def subject_name(self, path: Path) -> str | None:
        """Return the file's name without its ending; None for a mask or an FA map that lies beside an image."""
        kind = volume_ending(path)
        if not kind or path.suffix.lower() == ".hdr":
            return None
        name = path.name[: -len(kind)]
        return None if name.endswith(tuple(f"_{key}" for key in BESIDE_IMAGE)) else name

    def find(self, path: Path, name: str, layout: Layout) -> Subject:
        """Return the image with its mask or its FA map.

        Raises:
            SubjectError: Neither a mask nor an FA map lies beside the image, or several files have such a name.
        """
        mask, fa = (mask_beside(path, key) for key in BESIDE_IMAGE)
        if mask is None and fa is None:
            sought = " or ".join(f"{name}_{key}{volume_ending(path)}" for key in BESIDE_IMAGE)
            remedy = "put the mask or the FA map there, or name it in a manifest"
            raise SubjectError(path, f"its mask or its FA map beside it, as {sought}", "neither file", remedy)
        return Subject(name, (path,), mask, fa)


FILE_INPUTS: tuple[InputPath, ...] = (ImagePath(), ManifestPath(), PatchFilePath())
INPUTS: tuple[InputPath, ...] = (FolderPath(), *FILE_INPUTS)


def find_input(path: Path | str, layout: Layout = MRH_NET_LAYOUT) -> Subject:
    """Return the subject that a path stands for.

    Args:
        path: The folder of a subject; a 4D image ``NAME.nii.gz`` (or of another format) whose mask is ``NAME_mask.nii.gz`` beside it, or
            whose FA map is ``NAME_fa.nii.gz``, since FA > 0 can stand in for a mask; a manifest ``NAME.mrh.json``, which is like one entry
            of a datalist; or a patch file.
        layout: File patterns inside a folder. Its coronal axis holds for 4D images and manifests too, unless these state one.

    Raises:
        SubjectError: The path is of another kind, or files are missing.
        DatalistError: The manifest is not like an entry of a datalist.
    """
    path = Path(path)
    for kind in INPUTS:
        name = kind.subject_name(path)
        if name is not None and path.exists():
            found = kind.find(path, name, layout)
            # A layout of one's own says which axis is coronal in files of every kind; that of MRH-Net only describes folders.
            return found if layout == MRH_NET_LAYOUT or found.coronal_axis is not None else replace(found, coronal_axis=layout.coronal_axis)
    first, *others, last = (kind.description for kind in INPUTS)
    expected = f"{', '.join([first, *others])} or {last}"
    raise SubjectError(path, expected, "another kind of file" if path.exists() else "no such file", "check the path")


def mask_beside(image: Path, key: str = "mask") -> Path | None:
    """Return the mask of an image ``NAME.nii.gz``, which lies beside it as ``NAME_mask.*``; None if there is no such file.

    Args:
        image: The image.
        key: ``mask``, or ``fa`` for the FA map.

    Raises:
        SubjectError: There are several such files.
    """
    name = image.name[: -len(volume_ending(image))]
    found = [file for file in volumes_in(image.parent, f"{glob.escape(name)}_{key}.*") if file.suffix.lower() != ".hdr"]
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise SubjectError(image, f"one file {name}_{key}.*", names, "keep one of them, or name it in a manifest")
    return found[0] if found else None


def input_name(path: Path) -> str | None:
    """Return the name of the subject that a file stands for; None where it does not stand for one, such as a mask beside an image."""
    return next((name for kind in FILE_INPUTS if (name := kind.subject_name(path)) is not None), None)


def _in_or_beside(folder: Path, name: str | None) -> Path | None:
    if name is None:
        return None
    name = name.replace("{subject}", folder.resolve().name)
    chosen = next((place for place in (folder / name, folder.parent / name, Path(name)) if place.is_file()), None)
    if chosen is None:
        remedy = "name the file relative to either folder"
        raise SubjectError(folder, f"the target {name} in the folder or beside it", "no such file", remedy)
    return chosen


def volumes_in(folder: Path, pattern: str) -> list[Path]:
    """Return the volume files in a folder that fit a pattern; of a pair, the ``.img`` only.

    Args:
        folder: The folder.
        pattern: Glob pattern inside it.
    """
    # Names that begin with a dot are hidden, such as the twins ._NAME that macOS writes beside every file.
    found = [path for path in sorted(folder.glob(pattern)) if volume_ending(path) and not path.name.startswith(".")]
    images = [path for path in found if path.suffix.lower() != ".hdr"]
    return images or found


def _file_or_none(folder: Path, pattern: str) -> Path | None:
    found = volumes_in(folder, pattern)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise SubjectError(folder, f"one file {pattern}", names, "keep one of them, or name the files with --layout layout.yaml")
    return found[0] if found else None


def _the_file(folder: Path, pattern: str) -> Path:
    found = _file_or_none(folder, pattern)
    if found is None:
        remedy = "add the missing file to the folder, or name its files with --layout layout.yaml"
        raise SubjectError(folder, f"one file {pattern}", "no such file", remedy)
    return found
