"""A subject's images a few coronal slices at a time, from memory or from disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mrh_monai.io import Header, each_volume, from_stored, map_voxels, scratch_array

# Two of them are in memory while a network computes, the one at work and the next.
SLAB_BYTES = 48 * 2**20


class Slabs(Protocol):
    """Images that give some of their coronal slices, array axis 1, at a time.

    Attributes:
        shape: (X, Y, Z), voxels.
        channels: C.
        margin: m.
        thickness: Slices to ask for at once.
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
        """Some slices.

        Args:
            start: The first.
            stop: Behind the last.
            reach: Neighbouring slices to add on either side.

        Returns:
            (X + 2m, stop - start + 2 reach, Z + 2m, C) array or tensor as stored, 0 beyond the volume.
        """
        ...

    def close(self) -> None:
        """Let go of temporary files; there are no slabs any more."""
        ...


@dataclass(frozen=True)
class PaddedImage:
    """Images in memory; slabs are views of them.

    Attributes:
        padded: (X + 2m, Y + 2m, Z + 2m, C) array or tensor, 0 in the margin.
        margin: m, voxels on every side.
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
        """C."""
        return int(self.padded.shape[3])

    @property
    def thickness(self) -> int:
        """Slices to ask for at once."""
        return _thickness(self.padded.shape, self.padded.dtype.itemsize)

    def slab(self, start: int, stop: int, reach: int = 0) -> Any:
        """Some slices, see `Slabs`; without a copy, and so with no larger reach than the margin."""
        return self.padded[:, start + self.margin - reach : stop + self.margin + reach]

    def close(self) -> None:
        """Nothing to let go of."""


class FileSlabs:
    """Images on disk, of which only slabs are in memory.

    Voxels that lie in their files as they are (.img, .nii) are read from there. In others (.nii.gz, ITK's formats) the channel is the
    slowest axis of one long stream, so that the last channel of the first slice lies near its end: those are unpacked once, on the way
    through `volumes`, into an unnamed temporary file (in TMPDIR), which goes with this object.

    Args:
        headers: Of the files, on one grid, joined along the channel axis.
        margin: m, zero voxels to add on every side.
        axes: Array axes of the patches to come; memory runs fastest along the last of them.
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
        """Slices to ask for at once."""
        x, _, z = (size + 2 * self.margin for size in self.shape)
        return _thickness((x, 0, z, self.channels), self.dtype.itemsize)

    def volumes(self) -> Iterator[tuple[Header, np.ndarray]]:
        """Every channel once, before the first slab is read: its file and its voxels (X, Y, Z), X running fastest.

        Raises:
            SubjectError: A file cannot be decoded.
            OutputError: There is no room to unpack it.
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
        """Let go of temporary files; there are no slabs any more."""
        self._stored.clear()

    def slab(self, start: int, stop: int, reach: int = 0) -> np.ndarray:
        """Some slices, see `Slabs`; read from disk, NaN and Inf as 0."""
        x, y, z = self.shape
        shape = (x + 2 * self.margin, stop - start + 2 * reach, z + 2 * self.margin)
        padded = np.zeros([*(shape[axis] for axis in self.order), self.channels], self.dtype).transpose(*np.argsort(self.order), 3)
        first, last = max(start - reach, 0), min(stop + reach, y)
        m, shift = self.margin, reach - start
        inner = padded[m : m + x, first + shift : last + shift, m : m + z]
        channel = 0
        for header, stored in zip(self.headers, self._stored, strict=True):
            part = inner[..., channel : channel + header.channels]
            # In files X runs fastest and channels slowest, in patches the other way round. One plane at a time fits the caches, and is
            # three times as fast as all at once.
            for k in range(z):
                plane = stored[:, first:last, k]
                part[:, :, k] = from_stored(header, plane) if header.can_map else plane
            channel += header.channels
        if self.dtype.kind == "f":
            np.nan_to_num(padded, copy=False, nan=0, posinf=0, neginf=0)
        return padded


def memory_order(axes: Sequence[int]) -> list[int]:
    """The array axes from slowest to fastest, so that a patch along some of them lies in short strips."""
    return [axis for axis in range(3) if axis not in axes] + list(axes)


def _thickness(shape: Sequence[int], itemsize: int) -> int:
    return max(1, SLAB_BYTES // (int(shape[0]) * int(shape[2]) * int(shape[3]) * itemsize))
