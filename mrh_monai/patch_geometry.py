"""The shape of a patch: which axes of the volume it spans, and how far it reaches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrh_monai.errors import OptionError


@dataclass(frozen=True)
class PatchGeometry:
    """The voxels around a centre voxel that a network sees at once.

    Attributes:
        axes: Array axes that the patch spans, two or three of 0, 1, 2 in ascending order. (0, 2) is the coronal plane, as published.
        radius: Number of voxels on each side of the centre; 1 for patches of 3 x 3 voxels, as published.

    Raises:
        OptionError: The axes or the radius are impossible.

    Example:
        >>> PatchGeometry().shape
        (3, 3)
        >>> PatchGeometry((0, 1, 2), radius=2).shape
        (5, 5, 5)
    """

    axes: tuple[int, ...] = (0, 2)
    radius: int = 1

    def __post_init__(self) -> None:
        axes = tuple(self.axes)
        if len(axes) not in (2, 3) or tuple(sorted(set(axes))) != axes or not set(axes) <= {0, 1, 2}:
            expected = "two or three different axes of 0, 1, 2 in ascending order"
            raise OptionError("patch_axes", expected, f"{list(axes)}", "give [0, 2] for the coronal plane")
        if type(self.radius) is not int or self.radius < 1:
            raise OptionError("patch_radius", "a whole number of at least 1", f"{self.radius!r}", "give 1 for patches of 3 voxels")
        object.__setattr__(self, "axes", axes)

    @property
    def width(self) -> int:
        """Number of voxels along an edge of the patch."""
        return 2 * self.radius + 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along each axis of the patch, (3, 3) as published."""
        return (self.width,) * len(self.axes)

    @property
    def centre(self) -> tuple[int, ...]:
        """Place of the centre voxel in the patch, (1, 1) as published."""
        return (self.radius,) * len(self.axes)

    @property
    def reach(self) -> tuple[int, int, int]:
        """Number of voxels by which the patch reaches beyond its centre along x, y and z."""
        x, y, z = (self.radius if axis in self.axes else 0 for axis in range(3))
        return x, y, z

    def inner(self, mask: np.ndarray) -> np.ndarray:
        """Return the voxels of a mask whose patch lies inside the volume.

        Args:
            mask: (X, Y, Z) bool.

        Returns:
            (X, Y, Z) bool.
        """
        inside = tuple(slice(reach, -reach or None) for reach in self.reach)
        found = np.zeros_like(mask)
        found[inside] = mask[inside]
        return found


CORONAL_PATCH = PatchGeometry()
