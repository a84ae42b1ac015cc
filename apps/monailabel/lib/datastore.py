"""A folder of scans as a datastore of MONAI Label. One image of the datastore is one whole subject."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from monailabel.datastore.local import LocalDatastore

from lib.answers import UnknownError, answered
from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.io import READABLE_ENDINGS, volume_ending, writable_folder
from mrh_monai.subjects import BESIDE_IMAGE, MANIFEST, input_name, list_folder, mask_beside

LABELS = ("*.nii.gz", "*.nii", "*.nrrd")


class ScanDatastore(LocalDatastore):
    """A datastore of subject folders, 4D images with a mask or an FA map beside them, and manifests, see `mrh_monai.subjects.find_input`.

    The folder is read again whenever it is listed, so that scans that were added later are found. Scans can neither be uploaded nor removed
    over HTTP.

    Args:
        folder: Folder of the scans; labels are written into its sub-folder ``labels``.

    Raises:
        OptionError: The path is not a folder on this machine.
        OutputError: The folder cannot be written, which MONAI Label needs.
    """

    def __init__(self, folder: str):
        if "://" in folder:
            raise OptionError("--studies", "a folder of scans", folder, "copy the scans here and name their folder")
        self.folder = writable_folder(folder)
        super().__init__(folder, extensions=LABELS)

    def path_of(self, image: str) -> Path:
        """Return the path of an image, for `mrh_monai.subjects.find_input`. A manifest has priority over other files of its name.

        Raises:
            UnknownError: There is no image of that name.
            SubjectError: There are several images of that name.
        """
        named = [path for path in sorted(self.folder.iterdir()) if _to_id(path.name, path.is_dir())[0] == image]
        named = [path for path in named if path.is_dir() or input_name(path) == image]
        scans = set(self._scans())
        best = [path for path in named if path.name.endswith(MANIFEST)] or [path for path in named if path in scans] or named
        if not best:
            known = ", ".join(self.list_images()) or "none yet"
            remedy = f"put the scan into {self.folder}: a subject's folder, a 4D NIfTI with NAME_mask beside it, or NAME{MANIFEST}"
            raise UnknownError(f"image {image!r}", f"an image of the datastore ({known})", "an unknown name", remedy)
        if len(best) > 1:
            names = " and ".join(path.name for path in best)
            raise SubjectError(self.folder, f"one scan named {image}", names, f"rename one, or write {image}{MANIFEST}")
        return best[0]

    def _scans(self) -> list[Path]:
        """Return the paths that stand for a subject; an image must have its mask or its FA map beside it."""

        def is_complete(path: Path) -> bool:
            return path.is_dir() or path.name.endswith(MANIFEST) or any(mask_beside(path, key) for key in BESIDE_IMAGE)

        return [path for path in list_folder(self.folder).subjects if is_complete(path)]

    # Methods that the base class calls.

    def _list_files(self, path: str, patterns: Any) -> dict[str, str]:
        if Path(path).resolve() != self.folder.resolve():
            listed: dict[str, str] = super()._list_files(path, patterns)
            return listed
        # Manifests come first in the order, so that a manifest has priority over other files of its name.
        scans = sorted(self._scans(), key=lambda scan: (not scan.name.endswith(MANIFEST), scan.name))
        return {scan.name: scan.name for scan in scans}

    def _to_id(self, file: str) -> tuple[str, str]:
        return _to_id(file, (self.folder / file).is_dir())

    # Methods that the HTTP routes of MONAI Label call.

    def list_images(self) -> list[str]:
        """Read the folder again and return the names of the images."""
        self.refresh()
        return sorted(super().list_images())

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Read the folder again and return the names of the images without a final label."""
        self.refresh()
        return sorted(super().get_unlabeled_images(label_tag, labels))

    def status(self) -> dict[str, Any]:
        """Return the counts of MONAI Label, and the names of the images."""
        images = self.list_images()
        return {**super().status(), "images": images}

    def json(self) -> dict[str, Any]:
        """Read the folder again and return everything that is known about images and labels."""
        self.refresh()
        known: dict[str, Any] = super().json()
        return known

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Store a volume as the label of an image, under a tag."""
        with answered():
            self.path_of(image_id)
            _check_tag(label_tag)
            if not volume_ending(label_filename):
                raise OptionError("label", f"a volume ({READABLE_ENDINGS})", os.path.basename(label_filename), "save it as .nii.gz")
        saved: str = super().save_label(image_id, label_filename, label_tag, label_info)
        return saved

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Return the path of a label, which is sent over HTTP, or removed."""
        with answered():
            _check_tag(label_tag)
            if not label_id or set(label_id) & set("/\\"):
                raise UnknownError(f"label {label_id!r}", "the name of an image", "a path", "name an image of the datastore")
        uri: str = super().get_label_uri(label_id, label_tag)
        return uri

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Refuse the upload: a single file is not a subject."""
        with answered():
            raise OptionError("datastore", "scans in its folder", "an upload", f"put the scan and its mask into {self.folder}")

    def remove_image(self, image_id: str) -> None:
        """Refuse the removal: an image can be a whole folder of raw data."""
        with answered():
            raise OptionError("datastore", "that scans stay", f"a request to remove {image_id}", f"delete it from {self.folder} yourself")


def _check_tag(tag: object) -> None:
    """Refuse a tag that could name a folder outside ``labels``.

    Raises:
        OptionError: The tag has other characters than letters, digits, - and _.
    """
    if not isinstance(tag, str) or not re.fullmatch(r"\w[\w-]*", tag):
        raise OptionError("label_tag", "letters, digits, - and _", repr(tag), "name it like mrh_af or final")


def _to_id(name: str, is_folder: bool) -> tuple[str, str]:
    kind = "" if is_folder else MANIFEST if name.endswith(MANIFEST) else volume_ending(name)
    return (name[: -len(kind)], name[-len(kind) :]) if kind else (name, "")
