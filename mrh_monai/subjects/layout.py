"""Layouts: where the files of a subject lie inside its folder, and along which axis they are coronal."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from pathlib import Path

import yaml

from mrh_monai.errors import OptionError, cause_in_words
from mrh_monai.subjects.file_geometry import checked_coronal_axis


@dataclass(frozen=True)
class Layout:
    """Where the files of a subject lie: glob patterns inside its folder.

    Attributes:
        image: One pattern for each image file, in the order of the protocol.
        mask: Pattern of the brain mask; None if there is no mask.
        fa: Pattern of the FA map; None if there is no map.
        coronal_axis: Array axis along which the coronal slices lie, in 4D images too; None for the axis that the affine names.
        fa_suffices: Whether a folder with an FA map may lack the mask; FA > 0 then stands in for it, as published.
    """

    image: tuple[str, ...]
    mask: str | None = None
    fa: str | None = None
    coronal_axis: int | None = None
    fa_suffices: bool = False

    @classmethod
    def from_yaml(cls, path: Path | str | None) -> Layout:
        """Read ``image: [patterns]``, ``mask: pattern``, ``fa: pattern`` and ``coronal_axis: 2``; None returns the layout of MRH-Net.

        Raises:
            OptionError: The file does not exist, or does not hold such patterns.
        """
        if path is None:
            return MRH_NET_LAYOUT
        remedy = "write `image: [qa.nii.gz, iso.nii.gz]` and `mask: mask.nii.gz`"
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise OptionError(path, "a YAML file of file patterns", cause_in_words(error), remedy) from error
        if not isinstance(content, dict) or not content.get("image") or set(content) - {"image", "mask", "fa", "coronal_axis"}:
            keys = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
            raise OptionError(path, "the keys image, mask, fa and coronal_axis", f"{keys}", remedy)
        image = [content["image"]] if isinstance(content["image"], str) else content["image"]
        patterns = [*image, *(content[key] for key in ("mask", "fa") if content.get(key))] if isinstance(image, list) else [image]
        wrong = next((p for p in patterns if not isinstance(p, str) or not p or Path(p).is_absolute()), None)
        if wrong is not None:
            raise OptionError(path, "patterns inside a subject's folder", f"{wrong!r}", remedy)
        axis = checked_coronal_axis(content.get("coronal_axis"), f"{path}, coronal_axis")
        return cls(tuple(image), content.get("mask"), content.get("fa"), axis)


# The files that users of MRH-Net have, in the order of the 67 channels.
MRH_NET_LAYOUT = Layout(
    ("rigidaffine_[Ll]ddm_dwi2000.*", "rigidaffine_[Ll]ddm_dwi5000.*", "rigidaffine_[Ll]ddm_t2MTONOFF.*"),
    mask="Masked_outline.*",
    fa="rigidaffine_[Ll]ddm_fa.*",
    coronal_axis=1,
)
# The published shiverer was not registered by LDDMM, and has no mask.
SHIVERER_LAYOUT = Layout(
    ("rigidaffine_dwi2000.*", "rigidaffine_dwi5000.*", "rigidaffine_t2MTONOFF.*"),
    mask="Masked_outline.*",
    fa="rigidaffine_fa.*",
    coronal_axis=1,
    fa_suffices=True,
)


def is_named_like_mrh_nets(path: Path) -> bool:
    """Return whether a file has a name of MRH-Net's layout or of the published shiverer's.

    Example:
        >>> is_named_like_mrh_nets(Path("m7/rigidaffine_Lddm_dwi2000.img")), is_named_like_mrh_nets(Path("m7/dwi.img"))
        (True, False)
    """
    patterns = {pattern for each in (MRH_NET_LAYOUT, SHIVERER_LAYOUT) for pattern in (*each.image, each.mask, each.fa) if pattern}
    return any(fnmatch.fnmatchcase(path.name, pattern) for pattern in patterns)
