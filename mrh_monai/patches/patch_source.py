"""Volumes that lie in memory once, and whole batches of patches that are gathered from them by index."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch

from mrh_monai.errors import OptionError
from mrh_monai.patch_geometry import CORONAL_PATCH, PatchGeometry


class PatchSource:
    """Padded volumes of one or more subjects, from which the patches around any voxels are gathered at once.

    A patch is read as short contiguous strips along its last axis, with one `index_select` for a whole batch. The result lies in memory as
    (B, ..., C), that is channels-last, which is also the fastest order for convolutions. No copy is made to reorder it.

    Args:
        volumes: One volume (X + 2m, Y + 2m, Z + 2m, C) for each subject, all of one dtype, with a margin of m voxels.
        margin: Number of margin voxels m; at least the radius of the patch if patches may reach beyond the volume.
        patch: Shape of the patches.

    Example:
        >>> import numpy as np
        >>> source = PatchSource([np.arange(27.0).reshape(3, 3, 3, 1)], margin=0)
        >>> source.gather(source.locate(np.array([[0, 1, 1, 1]])))[0, 0].tolist()
        [[3.0, 4.0, 5.0], [12.0, 13.0, 14.0], [21.0, 22.0, 23.0]]
    """

    def __init__(self, volumes: Sequence[np.ndarray | torch.Tensor], margin: int, patch: PatchGeometry = CORONAL_PATCH):
        self.patch, self.margin = patch, margin
        self._shapes = np.array([volume.shape[:3] for volume in volumes])
        self.memory, self._starts, self._strides = _as_rows(volumes, patch.axes[-1])
        self.channels = self.memory.shape[1]
        rows = len(self.memory) - patch.width + 1
        self._strips = self.memory.as_strided((rows, patch.width * self.channels), (self.channels, 1))

    def to(self, device: torch.device | str) -> PatchSource:
        """Return the same volumes in the memory of a device."""
        moved = copy.copy(self)
        moved.memory = self.memory.to(device)
        moved._strips = moved.memory.as_strided(self._strips.shape, self._strips.stride())
        return moved

    def locate(self, centres: np.ndarray) -> torch.Tensor:
        """Return where in memory the strips of patches begin.

        Args:
            centres: (N, 4) index of the subject, and x, y, z of the centre voxel without the margin.

        Returns:
            (N, S) int64 for S strips of each patch.

        Raises:
            OptionError: A patch would leave the volume and its margin.
        """
        axes, radius = self.patch.axes, self.patch.radius
        subject, voxel = centres[:, 0], centres[:, 1:] + self.margin
        along, ends = voxel[:, axes], self._shapes[subject][:, axes]
        if ((along < radius) | (along + radius >= ends)).any():
            found = f"patches that reach beyond it ({radius} voxels around their centres)"
            raise OptionError("patch_radius", f"patches within the volume and its margin of {self.margin}", found, "load a larger margin")
        strides = self._strides[subject]
        offsets = np.arange(-radius, radius + 1)
        strips = self._starts[subject] + (voxel * strides).sum(1)
        strips = (strips - radius * strides[:, axes[-1]])[:, None]
        for axis in axes[:-1]:
            strips = (strips[:, :, None] + strides[:, axis, None, None] * offsets).reshape(len(centres), -1)
        return torch.from_numpy(np.ascontiguousarray(strips))

    def gather(self, located: torch.Tensor) -> torch.Tensor:
        """Gather whole patches, in the dtype in which they are stored.

        Args:
            located: (B, S) result of `locate`.

        Returns:
            (B, C, A1, A2) or (B, C, A1, A2, A3) in the volumes' dtype, channels-last in memory.
        """
        patches = self._strips.index_select(0, located.reshape(-1))
        patches = patches.view(len(located), *self.patch.shape, self.channels)
        return patches.movedim(-1, 1)


def _as_rows(volumes: Sequence[np.ndarray | torch.Tensor], strip_axis: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Return all voxels as rows (V, C) of one tensor, and for each volume its first row (N,) and its strides in rows (N, 3).

    Nothing is copied where the rows already run along ``strip_axis``: in a single volume, or in views of one array as `load_subjects`
    makes them.
    """
    first, channels = volumes[0], int(volumes[0].shape[-1])
    if len(volumes) == 1:
        only = torch.as_tensor(first)
        steps = only.stride()
        if steps[3] == 1 and steps[strip_axis] == channels and all(step % channels == 0 and step > 0 for step in steps[:3]):
            length = 1 + sum((size - 1) * step for size, step in zip(only.shape[:3], steps[:3], strict=True)) // channels
            strides = np.array([[step // channels for step in steps[:3]]])
            return only.as_strided((length, channels), (channels, 1)), np.zeros(1, np.int64), strides
    base = first.base if isinstance(first, np.ndarray) else None
    if isinstance(base, np.ndarray) and base.ndim == 2 and base.flags.c_contiguous and base.shape[1] == channels:
        arrays = [volume for volume in volumes if isinstance(volume, np.ndarray) and volume.base is base]
        row = channels * base.itemsize
        if len(arrays) == len(volumes) and all(v.strides[strip_axis] == row and v.strides[3] == base.itemsize for v in arrays):
            origin = base.__array_interface__["data"][0]
            starts = np.array([(v.__array_interface__["data"][0] - origin) // row for v in arrays])
            return torch.from_numpy(base), starts, np.array([[stride // row for stride in v.strides[:3]] for v in arrays])
    order = [axis for axis in range(3) if axis != strip_axis] + [strip_axis]
    ordered = [torch.as_tensor(volume).permute(*order, 3).contiguous() for volume in volumes]
    rows = [volume.view(-1, channels) for volume in ordered]
    strides = np.zeros((len(ordered), 3), np.int64)
    for index, volume in enumerate(ordered):
        strides[index, order] = volume.shape[1] * volume.shape[2], volume.shape[2], 1
    starts = np.cumsum([0, *(len(r) for r in rows[:-1])])
    return rows[0] if len(rows) == 1 else torch.cat(rows), starts, strides
