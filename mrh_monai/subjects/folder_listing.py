"""Which entries of a folder are subjects."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mrh_monai.errors import MRHError, SubjectError
from mrh_monai.io import volume_ending
from mrh_monai.subjects.datalist import read_manifest
from mrh_monai.subjects.layout import MRH_NET_LAYOUT, Layout
from mrh_monai.subjects.subject import Subject
from mrh_monai.subjects.subject_search import MANIFEST, find_subject, input_name, layout_of, volumes_in


class FolderListing(NamedTuple):
    """What lies in a folder.

    Attributes:
        subjects: Paths for `find_input`, sorted: folders of subjects, 4D images and manifests.
        other_folders: Folders without MR images.
    """

    subjects: list[Path]
    other_folders: list[Path]


def list_folder(folder: Path, layout: Layout = MRH_NET_LAYOUT) -> FolderListing:
    """Return the subjects in a folder, without reading them. Hidden entries are left out.

    An image that a manifest names is no subject of its own; neither is a file that the layout names as a mask or as an FA map.

    Args:
        folder: The folder.
        layout: File patterns inside a subject's folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     for file in ("m1.nii.gz", "m1_mask.nii.gz", "notes.txt", "m2.mrh.json"):
        ...         _ = (Path(name) / file).write_text("{}")
        ...     [path.name for path in list_folder(Path(name)).subjects]
        ['m1.nii.gz', 'm2.mrh.json']
    """
    visible = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    manifests = [entry for entry in visible if entry.name.endswith(MANIFEST)]
    parts = {file.resolve() for pattern in (layout.mask, layout.fa) if pattern for file in folder.glob(pattern)}
    parts |= {file for manifest in manifests for file in _named_by(manifest)}
    images = [entry for entry in visible if entry.is_file() and volume_ending(entry) and input_name(entry) and entry.resolve() not in parts]
    folders = [entry for entry in visible if entry.is_dir()]
    with_images = [entry for entry in folders if is_subject_folder(entry, layout)]
    return FolderListing(sorted(manifests + images + with_images), [entry for entry in folders if entry not in with_images])


def is_subject_folder(folder: Path, layout: Layout = MRH_NET_LAYOUT) -> bool:
    """Return whether a folder holds an image of a subject.

    Args:
        folder: The folder.
        layout: File patterns inside a subject's folder.
    """
    return any(volumes_in(folder, pattern) for pattern in layout_of(folder, layout).image)


def find_subjects(
    root: Path | str, layout: Layout = MRH_NET_LAYOUT, target: str | None = None, target_mask: str | None = None
) -> list[Subject]:
    """Return the subjects in the sub-folders of a folder, sorted by name. The arguments are those of `find_subject`.

    Raises:
        SubjectError: There is no subject, or a subject is incomplete.
    """
    root = Path(root)
    if not root.is_dir():
        raise SubjectError(root, "a folder of subject folders", "a file" if root.exists() else "no such folder", "check the path")
    visible = [path for path in sorted(root.iterdir()) if not path.name.startswith(".")]
    folders = [path for path in visible if path.is_dir() and is_subject_folder(path, layout)]
    if not folders:
        remedy = "describe your own file names with --layout layout.yaml"
        raise SubjectError(root, f"sub-folders with {layout.image[0]}", "no such sub-folder", remedy)
    return [find_subject(folder, layout, target, target_mask) for folder in folders]


def _named_by(manifest: Path) -> set[Path]:
    """Return the files that a manifest names; none if it cannot be read, which is reported when it is used."""
    try:
        subject = read_manifest(manifest, "")
    except MRHError:
        return set()
    return {file.resolve() for file in (*subject.image, *subject.files.values())}
