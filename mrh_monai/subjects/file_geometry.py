"""What a user states of the geometry of files that do not say it, or say it wrongly: voxel size and coronal axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from mrh_monai.errors import OptionError, cause_in_words


class FileGeometry(NamedTuple):
    """What a user states of the files of a subject, where the files do not say it or say it wrongly.

    Attributes:
        voxel_size: Voxel size along the array axes, mm; None for that of the files.
        coronal_axis: Array axis along which the coronal slices lie; None for that of the layout or of the files.
    """

    voxel_size: tuple[float, float, float] | None = None
    coronal_axis: int | None = None


FROM_FILES = FileGeometry()  # nothing is stated


def checked_coronal_axis(axis: object, where: object = "coronal_axis") -> int | None:
    """Return an array axis as an integer; None stays None.

    Args:
        axis: What was given.
        where: File or option that the error names.

    Raises:
        OptionError: It is not 0, 1 or 2.

    Example:
        >>> checked_coronal_axis(2)
        2
    """
    if axis is None:
        return None
    if not isinstance(axis, int | np.integer) or isinstance(axis, bool) or axis not in (0, 1, 2):
        raise OptionError(where, "0, 1 or 2", repr(axis)[:40], "give the array axis along which coronal slices follow each other")
    return int(axis)


def checked_voxel_size(size: Sequence[float] | None) -> tuple[float, float, float] | None:
    """Return a voxel size as three numbers; None stays None.

    Args:
        size: Edges of a voxel along the array axes, mm.

    Raises:
        OptionError: These are not three lengths above 0.

    Example:
        >>> checked_voxel_size([0.14, 0.14, 0.4])
        (0.14, 0.14, 0.4)
    """
    if size is None:
        return None
    try:
        x, y, z = (float(edge) for edge in size)
    except (TypeError, ValueError):
        x = y = z = math.nan
    if not all(0 < edge < math.inf for edge in (x, y, z)):
        raise OptionError("voxel_size", "three lengths in mm above 0", f"{size}"[:60], "give them like 0.14 0.14 0.4")
    return x, y, z


def bundle_coronal_axis(bundle: Path) -> int | None:
    """Return the option ``coronal_axis`` of a bundle's inference config; None where it is not set.

    Args:
        bundle: Bundle folder.

    Raises:
        OptionError: The config cannot be read, or the option is not 0, 1 or 2.
    """
    config = next((path for ending in (".yaml", ".yml", ".json") if (path := bundle / "configs" / f"inference{ending}").is_file()), None)
    if config is None:
        return None
    try:
        axis = yaml.safe_load(config.read_text(encoding="utf-8-sig")).get("coronal_axis")
    except (OSError, UnicodeDecodeError, AttributeError, yaml.YAMLError) as error:
        remedy = "use the file that the bundle came with"
        raise OptionError(config, "a YAML or JSON file of options", cause_in_words(error), remedy) from error
    return checked_coronal_axis(axis, f"{config}, coronal_axis")
