"""A folder of scans as MONAI Label's datastore, where an image is all that one subject has."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from monailabel.datastore.local import LocalDatastore

from lib.answers import UnknownError, answered
from mrh_monai.data import BESIDE, MANIFEST, MRH_NET_LAYOUT, input_name
from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.io import READABLE, ending, writable_folder

LABELS = ("*.nii.gz", "*.nii", "*.nrrd")


class ScanDatastore(LocalDatastore):
    """Subject folders, 4D images with a mask or an FA map beside them, and manifests: each is one image, see `mrh_monai.data.input_paths`.

    The folder is looked at again whenever it is listed, so that a scan that was put there later is found. Scans are neither taken in nor
    removed over HTTP.

    Args:
        folder: Where the scans lie; labels go into its sub-folder ``labels``.

    Raises:
        OptionError: It is no folder.
        OutputError: It cannot be written, as MONAI Label has to.
    """

    def __init__(self, folder: str):
        if "://" in folder:
            raise OptionError("--studies", "a folder of scans", folder, "copy the scans here and name their folder")
        self.folder = writable_folder(folder)
        super().__init__(folder, extensions=LABELS)

    def path_of(self, image: str) -> Path:
        """What stands for an image on disk, for `mrh_monai.data.input_paths.find_input`; a manifest goes before all else of its name.

        Raises:
            UnknownError: There is nothing of that name.
            SubjectError: There are several.
        """
        named = [path for path in sorted(self.folder.iterdir()) if _to_id(path.name, path.is_dir())[0] == image]
        named = [path for path in named if path.is_dir() or input_name(path) == image]
        best = [path for path in named if path.name.endswith(MANIFEST)] or self._scans(named) or named
        if not best:
            known = ", ".join(self.list_images()) or "none yet"
            remedy = f"put it into {self.folder}: a subject's folder, a 4D NIfTI with NAME_mask beside it, or NAME{MANIFEST}"
            raise UnknownError(f"image {image!r}", f"an image of the datastore ({known})", "none of that name", remedy)
        if len(best) > 1:
            names = " and ".join(path.name for path in best)
            raise SubjectError(self.folder, f"one scan named {image}", names, f"rename one, or write {image}{MANIFEST}")
        return best[0]

    def _scans(self, paths: list[Path]) -> list[Path]:
        """Those that stand for a subject."""
        beside = {path.name[: -len(ending(path))] for path in self.folder.iterdir() if ending(path)}

        def is_scan(path: Path) -> bool:
            if path.is_dir():
                return any(any(path.glob(pattern)) for pattern in MRH_NET_LAYOUT.image)
            name = input_name(path)
            return bool(name) and (
                path.name.endswith(MANIFEST) or (bool(ending(path)) and any(f"{name}_{key}" in beside for key in BESIDE))
            )

        return [path for path in paths if is_scan(path)]

    # What MONAI Label's own datastore asks itself.

    def _list_files(self, path: str, patterns: Any) -> dict[str, str]:
        if Path(path).resolve() != self.folder.resolve():
            return super()._list_files(path, patterns)
        # A manifest sorts first, so that it is what stands for its name.
        scans = sorted(self._scans(list(self.folder.iterdir())), key=lambda scan: (not scan.name.endswith(MANIFEST), scan.name))
        return {scan.name: scan.name for scan in scans}

    def _to_id(self, file: str) -> tuple[str, str]:
        return _to_id(file, (self.folder / file).is_dir())

    # What its HTTP routes ask for.

    def list_images(self) -> list[str]:
        """Names, after another look at the folder."""
        self.refresh()
        return sorted(super().list_images())

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Names of the images without a final label."""
        self.refresh()
        return sorted(super().get_unlabeled_images(label_tag, labels))

    def status(self) -> dict[str, Any]:
        """MONAI Label's counts, and the names."""
        images = self.list_images()
        return {**super().status(), "images": images}

    def json(self) -> dict[str, Any]:
        """All that is known of images and labels."""
        self.refresh()
        return super().json()

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Keep a volume as the label of an image, under a tag."""
        with answered():
            self.path_of(image_id)
            _check_tag(label_tag)
            if not ending(label_filename):
                raise OptionError("label", f"a volume ({READABLE})", os.path.basename(label_filename), "save it as .nii.gz")
        return super().save_label(image_id, label_filename, label_tag, label_info)

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Where a label lies; it is what is given out over HTTP, and removed."""
        with answered():
            _check_tag(label_tag)
            if not label_id or set(label_id) & set("/\\"):
                raise UnknownError(f"label {label_id!r}", "the name of an image", "a path", "name an image of the datastore")
        return super().get_label_uri(label_id, label_tag)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Refuse: a lone file is no subject."""
        with answered():
            raise OptionError("datastore", "scans in its folder", "an upload", f"put the scan and its mask into {self.folder}")

    def remove_image(self, image_id: str) -> None:
        """Refuse: an image can be a whole folder of raw data."""
        with answered():
            raise OptionError("datastore", "scans to stay", f"a request to remove {image_id}", f"remove it from {self.folder} by hand")


def _check_tag(tag: object) -> None:
    """A tag names a folder below ``labels``; anything else could name any folder.

    Raises:
        OptionError: It is none.
    """
    if not isinstance(tag, str) or not re.fullmatch(r"\w[\w-]*", tag):
        raise OptionError("label_tag", "letters, digits, - and _", repr(tag), "name it like mrh_af or final")


def _to_id(name: str, is_folder: bool) -> tuple[str, str]:
    kind = "" if is_folder else MANIFEST if name.endswith(MANIFEST) else ending(name)
    return (name[: -len(kind)], name[-len(kind) :]) if kind else (name, "")
