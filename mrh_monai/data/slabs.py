"""The images of a subject, a few coronal slices at a time, from memory or from disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mrh_monai.io import Header, each_volume, map_voxels, scale_stored_voxels, scratch_array

# Two slabs are in memory while a network computes: the one that it works on, and the next one.
SLAB_BYTES = 48 * 2**20


class Slabs(Protocol):
    """Images that give some of their coronal slices (array axis 1) at a time.

    Attributes:
        shape: (X, Y, Z), voxels.
        channels: Number of channels C.
        margin: Number of margin voxels m.
        thickness: Number of slices to read at once.
    """

    @property
    def shape(self) -> tuple[int, int, int]: ...  # noqa: D102
    @property
    def channels(self) -> int: ...  # noqa: D102
    @property
    def margin(self) -> int: ...  # noqa: D102
    @property
    def thickness(self) -> int: ...  # noqa: D102

    def slab(self, start: int, stop: int, reach: int = 0) -> Any:
        """Return some slices.

        Args:
            start: First slice.
            stop: Slice after the last one.
            reach: Number of neighbouring slices to add on either side.

        Returns:
            (X + 2m, stop - start + 2 reach, Z + 2m, C) array or tensor as stored, 0 beyond the volume.
        """
        ...

    def close(self) -> None:
        """Remove temporary files; no slab can be read afterwards."""
        ...


@dataclass(frozen=True)
class PaddedImage:
    """Images in memory; slabs are views of them.

    Attributes:
        padded: (X + 2m, Y + 2m, Z + 2m, C) array or tensor, 0 in the margin.
        margin: Number of margin voxels m on every side.
    """

    padded: Any
    margin: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(X, Y, Z), voxels."""
        x, y, z = (int(size) - 2 * self.margin for size in self.padded.shape[:3])
        return x, y, z

    @property
    def channels(self) -> int:
        """Number of channels C."""
        return int(self.padded.shape[3])

    @property
    def thickness(self) -> int:
        """Number of slices to read at once."""
        return _thickness(self.padded.shape, self.padded.dtype.itemsize)

    def slab(self, start: int, stop: int, reach: int = 0) -> Any:
        """Return some slices without a copy, see `Slabs.slab`; the reach cannot be larger than the margin."""
        return self.padded[:, start + self.margin - reach : stop + self.margin + reach]

    def close(self) -> None:
        """Do nothing: there are no temporary files."""


class FileSlabs:
    """Images on disk; only a few slices of them are in memory at a time.

    Voxels that are stored without compression (.img, .nii) are read from their files. In other files (.nii.gz, ITK's formats) the channel
    is the slowest axis of one long stream, so that the last channel of the first slice lies near its end. Such files are unpacked once, by
    `volumes`, into an unnamed temporary file (in TMPDIR), which disappears with this object.

    Args:
        headers: Headers of the files, on one grid, joined along the channel axis.
        margin: Number of zero voxels m to add on every side.
        axes: Array axes of the patches that will be gathered. In a slab, memory runs fastest along the last of these axes.
    """

    def __init__(self, headers: Sequence[Header], margin: int, axes: Sequence[int]):
        self.headers, self.margin = list(headers), margin
        self.shape = headers[0].shape
        self.channels = sum(header.channels for header in headers)
        self.dtype = np.result_type(*(header.dtype for header in headers))
        self.order = memory_order(axes)
        self._stored: list[np.ndarray] = []

    @property
    def thickness(self) -> int:
        """Number of slices to read at once."""
        x, _, z = (size + 2 * self.margin for size in self.shape)
        return _thickness((x, 0, z, self.channels), self.dtype.itemsize)

    def volumes(self) -> Iterator[tuple[Header, np.ndarray]]:
        """Yield every channel once, before the first slab is read: its file and its voxels (X, Y, Z), X running fastest.

        Raises:
            SubjectError: A file cannot be decoded.
            OutputError: The disk has no room to unpack a file.
        """
        for header in self.headers:
            if header.can_map:
                yield from ((header, volume) for volume in each_volume(header))
                self._stored.append(map_voxels(header))
                continue
            unpacked = scratch_array((header.channels, *header.shape[::-1]), header.dtype).T
            for channel, volume in enumerate(each_volume(header)):
                unpacked[..., channel] = volume
                yield header, volume
            self._stored.append(unpacked)

    def close(self) -> None:
        """Remove temporary files; no slab can be read afterwards."""
        self._stored.clear()

    def slab(self, start: int, stop: int, reach: int = 0) -> np.ndarray:
        """Read some slices from disk, see `Slabs.slab`; NaN and Inf become 0."""
        x, y, z = self.shape
        shape = (x + 2 * self.margin, stop - start + 2 * reach, z + 2 * self.margin)
        padded = np.zeros([*(shape[axis] for axis in self.order), self.channels], self.dtype).transpose(*np.argsort(self.order), 3)
        first, last = max(start - reach, 0), min(stop + reach, y)
        m, shift = self.margin, reach - start
        inner = padded[m : m + x, first + shift : last + shift, m : m + z]
        channel = 0
        for header, stored in zip(self.headers, self._stored, strict=True):
            part = inner[..., channel : channel + header.channels]
            # In files X runs fastest and channels slowest, in patches the reverse. One plane at a time fits into the caches, which is three
            # times as fast as copying all planes at once.
            for k in range(z):
                plane = stored[:, first:last, k]
                part[:, :, k] = scale_stored_voxels(header, plane) if header.can_map else plane
            channel += header.channels
        if self.dtype.kind == "f":
            np.nan_to_num(padded, copy=False, nan=0, posinf=0, neginf=0)
        return padded


def memory_order(axes: Sequence[int]) -> list[int]:
    """Return the array axes from slowest to fastest in memory, so that a patch along ``axes`` lies in short strips."""
    return [axis for axis in range(3) if axis not in axes] + list(axes)


def _thickness(shape: Sequence[int], itemsize: int) -> int:
    return max(1, SLAB_BYTES // (int(shape[0]) * int(shape[2]) * int(shape[3]) * itemsize))
