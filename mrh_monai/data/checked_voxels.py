"""Read the voxels of stains and channels, and refuse values that no network could use."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mrh_monai.axis_order import FILE_ORDER, AxisOrder, in_order, inverse_order
from mrh_monai.data.grid import check_one_grid, check_single
from mrh_monai.data.masks import read_mask, read_target_mask
from mrh_monai.data.robust_range import warn_of_hot_voxels
from mrh_monai.errors import MRHWarning, SubjectError, one_of
from mrh_monai.io import Header, read_header, read_voxels
from mrh_monai.patch_geometry import CORONAL_PATCH, PatchGeometry
from mrh_monai.protocol import MT_OFF, MT_ON, MRProtocol

NanRule = Literal["refuse", "zero"]
Support = Literal["mask", "fa"]
CORRECT_OR_ZERO = "correct the scan, or set them to 0 as published with --nan zero"
NAME_TARGET_MASK = "name the intact voxels in a target_mask; `mrh datalist --target-mask auto` writes one of the finite voxels"
NAN_RULES: tuple[NanRule, ...] = ("refuse", "zero")
SUPPORTS: tuple[Support, ...] = ("mask", "fa")


@dataclass(frozen=True)
class ReadingOptions:
    """How subjects are read.

    Attributes:
        need_target: Whether targets are read, and a subject without one is refused.
        need_fa: Whether FA maps are read where there are any.
        nan: ``refuse``, or ``zero`` to set NaN and Inf of images inside the mask to 0, as published. Outside the mask they always become 0.
            In a target they are always refused: 0 would be taught where tissue is torn.
        support: ``mask`` (FA > 0 where there is no mask), or ``fa`` to take FA > 0 as the mask in any case.
        patch: Shape of the patches that will be gathered. The volume is stored so that each patch is a few short strips of memory.
        margin: Number of zero voxels added on every side, for patches at the edge of the volume; None for the radius of the patch.

    Raises:
        OptionError: ``nan`` or ``support`` is unknown.
    """

    need_target: bool = False
    need_fa: bool = False
    nan: str = "refuse"
    support: str = "mask"
    patch: PatchGeometry = CORONAL_PATCH
    margin: int | None = None

    def __post_init__(self) -> None:
        one_of("nan", self.nan, NAN_RULES)
        one_of("support", self.support, SUPPORTS)

    @property
    def padding(self) -> int:
        """Number of zero voxels added on every side."""
        return self.patch.radius if self.margin is None else self.margin


def load_stains(paths: Sequence[Path], mask: Path) -> tuple[np.ndarray, ...]:
    """Read volumes of one channel that lie on the grid of a mask, and the mask.

    Args:
        paths: Files of the stains.
        mask: File of 0 and 1.

    Returns:
        Each stain (X, Y, Z) in the dtype of its file, then the mask (X, Y, Z) bool.

    Raises:
        SubjectError: The files lie on different grids, or a stain is not finite inside the mask.
    """
    headers = [read_header(path) for path in (*paths, mask)]
    for header in headers:
        check_single(header, "stain or mask")
    check_one_grid(headers)
    inside = read_mask(headers[-1])
    return *(finite_voxels(read_voxels(header)[..., 0], inside, header.path, "refuse") for header in headers[:-1]), inside


def check_stain(
    stain: np.ndarray, scored: np.ndarray, where: object, voxels: str = "inside the mask", axes: AxisOrder = FILE_ORDER
) -> None:
    """Refuse a stain that is the same everywhere: a network cannot learn from it, and a prediction cannot be judged by it.

    Args:
        stain: (X, Y, Z). A voxel that is far brighter than all others is named in a warning.
        scored: (X, Y, Z) bool, at least one voxel.
        where: File that the error names.
        voxels: Which voxels these are, in words.
        axes: Axis of the file that is X, Y and Z here.

    Raises:
        SubjectError: All values are the same.
    """
    stain, scored = (in_order(volume, inverse_order(axes)) for volume in (stain, scored))
    values = stain.T[scored.T]
    warn_of_hot_voxels(values, scored, where, "the stain")
    if values.min() == values.max():
        found = "only zeros" if not values.any() else f"{values[0]:g} everywhere"
        raise SubjectError(where, f"a stain {voxels}", found, "check that it is the right file, on the subject's grid")


def checked_channels(
    volumes: Iterable[tuple[object, np.ndarray]],
    subject: str,
    mask: np.ndarray,
    protocol: MRProtocol,
    nan: str,
    axes: AxisOrder = FILE_ORDER,
) -> Iterator[np.ndarray]:
    """Pass on the channels of a subject one by one, and check each: finite numbers and signal inside the mask, MT off brighter than MT on.

    Args:
        volumes: For every channel, in the order of the protocol, the file that errors name and the voxels (X, Y, Z).
        subject: Name of the subject.
        mask: (X, Y, Z) bool.
        protocol: Names of the channels.
        nan: ``refuse`` or ``zero``, see `ReadingOptions`.
        axes: Axis of the files that is X, Y and Z here.

    Yields:
        (X, Y, Z) in the dtype of the file, with NaN and Inf replaced by 0.

    Raises:
        SubjectError: A channel has NaN or Inf inside the mask that may not be replaced, or only zeros.
    """
    order = inverse_order(axes)
    file_mask = in_order(mask, order)
    inside = np.ascontiguousarray(file_mask.T)  # in the order of the files, which is several times as fast
    means = {}
    replaced: dict[object, list[int]] = {}
    for name, (where, stored) in zip(protocol.names, volumes, strict=True):
        volume = finite_voxels(stored, mask, where, nan, name)
        if volume is not stored and (count := int((~np.isfinite(stored))[mask].sum())):
            replaced.setdefault(where, []).append(count)
        signal = in_order(volume, order).T[inside]
        if not signal.any():
            raise SubjectError(where, f"signal in channel {name}", "only zeros in the mask", "check the scan and the order of the channels")
        means[name] = float(signal.mean(dtype=np.float64))
        warn_of_hot_voxels(signal, file_mask, where, f"channel {name}")
        yield volume
    for where, counts in replaced.items():
        share = percent(sum(counts) / (len(counts) * int(mask.sum())))
        places = f"{len(counts)} channel{'s' * (len(counts) > 1)}"
        text = f"{where}: {sum(counts)} NaN or Inf inside the mask in {places} ({share} of the voxels there) were set to 0."
        warnings.warn(text, MRHWarning, stacklevel=2)
    warn_if_swapped(subject, protocol, means)


def read_target(headers: Mapping[str, list[Header]], mask: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the target of a subject, and find the voxels where it is intact.

    Args:
        headers: Headers of `read_headers`.
        mask: (X, Y, Z) bool.

    Returns:
        The target (X, Y, Z) in the stain's units, and the voxels where it is intact (X, Y, Z) bool; None if it is intact everywhere.

    Raises:
        SubjectError: The target is not finite inside the mask, is the same everywhere, or is not intact at any voxel of the mask.
    """
    header = headers["target"][0]
    intact = read_target_mask(headers["target_mask"], mask)
    scored = mask if intact is None else mask & intact
    target = finite_voxels(read_voxels(header)[..., 0], scored, header.path, "refuse", remedy=NAME_TARGET_MASK)
    check_stain(target, scored, header.path, "inside the mask" + ("" if intact is None else " and the target_mask"), header.axes)
    return target, intact


def finite_voxels(
    voxels: np.ndarray, mask: np.ndarray, where: object, nan: str, channel: str | None = None, remedy: str = CORRECT_OR_ZERO
) -> np.ndarray:
    """Return voxels with NaN and Inf replaced by 0.

    Args:
        voxels: (X, Y, Z).
        mask: (X, Y, Z) bool, inside which NaN and Inf are refused unless ``nan`` is ``zero``.
        where: File that the error names.
        nan: ``refuse`` or ``zero``.
        channel: Channel that the error names; None for no name.
        remedy: What the error advises.

    Raises:
        SubjectError: NaN or Inf inside the mask may not be replaced.
    """
    if not np.issubdtype(voxels.dtype, np.floating):
        return voxels
    bad = ~np.isfinite(voxels)
    if not bad.any():
        return voxels
    inside = int(bad[mask].sum())
    if inside and nan == "refuse":
        place = "inside the mask" + ("" if channel is None else f" in channel {channel}")
        found = f"{inside} NaN or Inf ({percent(inside / int(mask.sum()))})"
        raise SubjectError(where, f"numbers {place}", found, remedy)
    return np.asarray(np.where(bad, voxels.dtype.type(0), voxels))


def percent(share: float) -> str:
    """Return a share as a text in percent with two significant digits.

    Example:
        >>> percent(0.01234), percent(0.5), percent(1)
        ('1.2%', '50%', '100%')
    """
    return f"{100 * share:.2g}%" if share < 0.095 else f"{share:.0%}"


def warn_if_swapped(subject: str, protocol: MRProtocol, means: Mapping[str, float]) -> None:
    """Warn where signals contradict physics: MT on is brighter than MT off, or a weighting for diffusion makes brighter.

    Args:
        subject: Name of the subject.
        protocol: Channels of the subject.
        means: Mean signal in the mask of each channel.
    """
    left: dict[int, float] = {}  # signal of each shell as a share of the unweighted images that come before it
    for b_value, members in protocol.shells.items():
        before = [index for index in protocol.unweighted if index < members[0]]
        # Of several diffusion scans, each has its own unweighted images, and its own gain.
        own = [index for index in before if index > max((i for i in protocol.weighted if i < members[0]), default=-1)] or before
        if own:
            reference = sum(means[protocol.names[index]] for index in own) / len(own)
            left[b_value] = sum(means[protocol.names[index]] for index in members) / len(members) / max(reference, 1e-30)
    ordered = list(left.items())
    if any(share >= 1 for share in left.values()) or any(b[1] >= a[1] for a, b in itertools.pairwise(ordered)):
        shares = ", ".join(f"{share:.2f} at b = {b_value}" for b_value, share in ordered)
        text = (
            f"{subject}: diffusion weighting should darken, and more so with a higher b-value, but the signals relative to the unweighted "
            f"images are {shares}; check the order of the channels."
        )
        warnings.warn(text, MRHWarning, stacklevel=2)
    if means.get(MT_ON, 0.0) > means.get(MT_OFF, math.inf):
        warnings.warn(
            f"{subject}: MT on is brighter than MT off (mean {means[MT_ON]:.4g} against {means[MT_OFF]:.4g} in the mask), so the two look "
            "swapped; the order of the protocol is T2, MT on, MT off.",
            MRHWarning,
            stacklevel=2,
        )
