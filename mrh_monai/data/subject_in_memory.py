"""One subject in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mrh_monai.data.slabs import PaddedImage
from mrh_monai.errors import OptionError

CORONAL_PLANE = (0, 2)
# Percentiles of this many voxels are within 1% of the subject's own, and cost little time.
LEVEL_VOXELS = 50_000


@dataclass(frozen=True)
class LoadedSubject:
    """One subject in memory.

    Attributes:
        name: As in `Subject`.
        padded: (X + 2m, Y + 2m, Z + 2m, C) as stored in the files, with a margin of m zero voxels on each side.
        margin: m.
        mask: (X, Y, Z) bool, restricted to the subject's slices.
        target: (X, Y, Z) in the stain's own units; None without one.
        fa: (X, Y, Z); None without one.
        affine: (4, 4) voxel index to RAS+ mm, the image's own as its reader gives it.
        target_mask: (X, Y, Z) bool, where the target is sound; None if it is throughout.
        largest: Of a file of patches its largest intensity; None for volumes.
        whole_mask: (X, Y, Z) bool, the mask over all slices; None where it is not restricted to some.
    """

    name: str
    padded: np.ndarray
    margin: int
    mask: np.ndarray
    target: np.ndarray | None
    fa: np.ndarray | None
    affine: np.ndarray
    target_mask: np.ndarray | None = None
    largest: float | None = None
    whole_mask: np.ndarray | None = None

    @property
    def brain(self) -> np.ndarray:
        """(X, Y, Z) bool: the mask over all slices, so that a subject's level does not depend on which of them are in use."""
        return self.mask if self.whole_mask is None else self.whole_mask

    @property
    def is_patches(self) -> bool:
        """Whether this is a file of patches: N patches as a volume (3, N, 3), in whose mask only centres are."""
        return self.largest is not None

    @property
    def scored(self) -> np.ndarray:
        """(X, Y, Z) bool: the voxels of the mask whose target is sound, by which networks are trained and judged."""
        return self.mask if self.target_mask is None else self.mask & self.target_mask

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Edges of a voxel along x, y and z, in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def slabs(self) -> PaddedImage:
        """The images, slab by slab."""
        return PaddedImage(self.padded, self.margin)

    @property
    def level_values(self) -> np.ndarray:
        """(N, C) as stored, of voxels spread over the brain: what the subject's level is taken from."""
        return self.image[level_voxels(self.brain)]

    @property
    def image(self) -> np.ndarray:
        """(X, Y, Z, C), a view without the margin."""
        inner = (slice(self.margin, -self.margin or None),) * 3
        return self.padded[inner]


def level_voxels(brain: np.ndarray) -> tuple[np.ndarray, ...]:
    """The voxels of a mask (X, Y, Z), or some of them if they are many, spread over all of it: their x, y and z."""
    step = max(1, int(brain.sum()) // LEVEL_VOXELS)
    return tuple(axis[::step] for axis in np.nonzero(brain))


def check_axes(axes: Sequence[int]) -> tuple[int, ...]:
    """The array axes that a patch spans.

    Raises:
        OptionError: They are not two or three different axes in ascending order.
    """
    if len(axes) not in (2, 3) or sorted(set(axes)) != list(axes) or not set(axes) <= {0, 1, 2}:
        expected = "two or three different axes of 0, 1, 2 in ascending order"
        raise OptionError("patch_axes", expected, f"{list(axes)}", "give [0, 2] for the coronal plane")
    return tuple(axes)
