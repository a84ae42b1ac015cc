"""One subject on disk: its files, finding them, and writing down where they lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml

from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.io import ending

Slices = tuple[tuple[int, int], ...]
CORONAL_AXIS = 1


@dataclass(frozen=True)
class Subject:
    """The files of one subject.

    Attributes:
        name: Unique name; results are filed under it.
        image: 3D or 4D files, joined along the channel axis in the protocol's order.
        mask: 0/1 brain mask; None if ``fa`` is to stand in for it (FA > 0, as published).
        fa: Fractional anisotropy, uint8 x 255; None if absent.
        target: The stain; None for pure inference.
        target_mask: 1 where the stain is sound, 0 where tissue is torn or missing; None if it is sound throughout.
        slices: Ranges (start, stop) along array axis 1, 0-based, stop excluded; None for all.
    """

    name: str
    image: tuple[Path, ...]
    mask: Path | None = None
    fa: Path | None = None
    target: Path | None = None
    target_mask: Path | None = None
    slices: Slices | None = None


@dataclass(frozen=True)
class Layout:
    """Where a subject's files lie: glob patterns inside its folder.

    Attributes:
        image: One pattern a file, in the protocol's order.
        mask: Pattern of the brain mask; None if there is none.
        fa: Pattern of the FA map; None if there is none.
    """

    image: tuple[str, ...]
    mask: str | None = None
    fa: str | None = None

    @classmethod
    def from_yaml(cls, path: Path | str) -> Layout:
        """Read ``image: [patterns]``, ``mask: pattern`` and ``fa: pattern``.

        Raises:
            OptionError: The file is missing or says something else.
        """
        remedy = "write `image: [qa.nii.gz, iso.nii.gz]` and `mask: mask.nii.gz`"
        try:
            content = yaml.safe_load(Path(path).read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise OptionError(path, "a YAML file of file patterns", type(error).__name__, remedy) from error
        if not isinstance(content, dict) or not content.get("image") or set(content) - {"image", "mask", "fa"}:
            keys = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
            raise OptionError(path, "the keys image, mask and fa", f"{keys}", remedy)
        image = [content["image"]] if isinstance(content["image"], str) else content["image"]
        patterns = [*image, *(content[key] for key in ("mask", "fa") if content.get(key))] if isinstance(image, list) else [image]
        wrong = next((p for p in patterns if not isinstance(p, str) or Path(p).is_absolute()), None)
        if wrong is not None:
            raise OptionError(path, "patterns inside a subject's folder", f"{wrong!r}", remedy)
        return cls(tuple(image), content.get("mask"), content.get("fa"))


# The files that users of MRH-Net have, in the order of the 67 channels.
MRH_NET_LAYOUT = Layout(
    ("rigidaffine_[Ll]ddm_dwi2000.*", "rigidaffine_[Ll]ddm_dwi5000.*", "rigidaffine_[Ll]ddm_t2MTONOFF.*"),
    mask="Masked_outline.*",
    fa="rigidaffine_[Ll]ddm_fa.*",
)


def find_subject(folder: Path | str, layout: Layout = MRH_NET_LAYOUT, target: str | None = None, target_mask: str | None = None) -> Subject:
    """The subject in one folder.

    Args:
        folder: Its folder; the folder's name is the subject's.
        layout: File patterns.
        target: A file inside the folder, or else beside it (one histology for many subjects); None for none.
        target_mask: Likewise, where the target is sound.

    Raises:
        SubjectError: A file is missing, or a pattern fits several.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SubjectError(folder, "a subject's folder", "a file" if folder.exists() else "nothing", "name a folder with MR images")
    image = tuple(_match(folder, pattern) for pattern in layout.image)
    mask = _match(folder, layout.mask) if layout.mask else None
    fa = _match(folder, layout.fa, optional=True) if layout.fa else None
    stain, sound = (_beside(folder, name) for name in (target, target_mask))
    return Subject(folder.resolve().name, image, mask, fa, stain, sound)  # type: ignore[arg-type]


def find_subjects(
    root: Path | str, layout: Layout = MRH_NET_LAYOUT, target: str | None = None, target_mask: str | None = None
) -> list[Subject]:
    """The subjects in the sub-folders of a folder, in the order of their names.

    Raises:
        SubjectError: There is none, or one is incomplete.
    """
    root = Path(root)
    if not root.is_dir():
        raise SubjectError(root, "a folder of subject folders", "a file" if root.exists() else "nothing", "check the path")
    folders = [f for f in sorted(root.iterdir()) if f.is_dir() and any(_candidates(f, pattern) for pattern in layout.image)]
    if not folders:
        raise SubjectError(root, f"sub-folders with {layout.image[0]}", "none", "describe your own file names with --layout layout.yaml")
    return [find_subject(folder, layout, target, target_mask) for folder in folders]


def in_slices(length: int, slices: Slices | None) -> np.ndarray:
    """(length,) bool: which coronal slices lie in any of the ranges; all of them for None."""
    if slices is None:
        return np.ones(length, bool)
    inside = np.zeros(length, bool)
    for start, stop in slices:
        inside[start:stop] = True
    return inside


def restrict(subject: Subject, slices: Slices | None) -> Subject:
    """The same subject, confined to those of its slices that also lie in ``slices``; None leaves it as it is."""
    if slices is None or subject.slices is None:
        return subject if slices is None else replace(subject, slices=slices)
    both = tuple((max(a, c), min(b, d)) for a, b in subject.slices for c, d in slices if max(a, c) < min(b, d))
    if not both:
        raise OptionError("slices", f"slices of {subject.name} among {list(subject.slices)}", f"{list(slices)}", "choose others")
    return replace(subject, slices=both)


def _beside(folder: Path, name: str | None) -> Path | None:
    if name is None:
        return None
    chosen = next((place for place in (folder / name, folder.parent / name, Path(name)) if place.is_file()), None)
    if chosen is None:
        raise SubjectError(folder, f"the target {name} in it or beside it", "neither", "name the file relative to either folder")
    return chosen


def _candidates(folder: Path, pattern: str) -> list[Path]:
    found = [path for path in sorted(folder.glob(pattern)) if ending(path)]
    images = [path for path in found if path.suffix != ".hdr"]
    return images or found


def _match(folder: Path, pattern: str, optional: bool = False) -> Path | None:
    found = _candidates(folder, pattern)
    if len(found) == 1 or (optional and not found):
        return found[0] if found else None
    names = "none" if not found else ", ".join(path.name for path in found)
    raise SubjectError(folder, f"one file {pattern}", names, "complete the folder, or name its files with --layout layout.yaml")
