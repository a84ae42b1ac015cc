"""The centre voxel of every patch in the mask, in batches, slab by slab: what MRH-Net predicts, and all that it predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import nn

from mrh_monai.data import CORONAL_AXIS, CORONAL_PLANE, Slabs
from mrh_monai.devices import check_precision, in_precision
from mrh_monai.errors import OptionError
from mrh_monai.network import centre_predictor
from mrh_monai.patches import PatchSource

BATCH_SIZE = 4096


def predict_volume(
    network: nn.Module,
    image: Slabs,
    mask: np.ndarray | torch.Tensor,
    gain: np.ndarray | torch.Tensor,
    offset: np.ndarray | torch.Tensor,
    *,
    axes: Sequence[int] = CORONAL_PLANE,
    radius: int = 1,
    batch_size: int = BATCH_SIZE,
    device: torch.device | str = "cpu",
    precision: str = "float32",
    part: tuple[int, int] = (0, 1),
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> torch.Tensor:
    """Predict every voxel of the mask from the patch around it.

    Voxels are taken slice by slice, in batches that may cross from one slab into the next, so that a voxel's batch, and with it the last
    bit of its value, depends on mask, batch size and number of threads alone: not on the slabs, nor on how many processes share the work.

    Args:
        network: From (B, C, 3, 3) scaled to (B, 1, 3, 3) scaled.
        image: Raw intensities, in memory or on disk.
        mask: (X, Y, Z) bool.
        gain: (C,) float32, with ``offset`` from `mrh_monai.scaling.intensity_scaling.Scaling.coefficients`: scaled = raw * gain + offset.
        offset: (C,) float32.
        axes: Array axes that a patch spans.
        radius: Half the patch's edge, rounded down.
        batch_size: Patches a batch. The last batch is filled up, so that every voxel is computed in a batch of this size.
        device: Where the network computes.
        precision: float32, tf32, bf16, or auto (bf16 where the device is built for it).
        part: (i, n) to compute the i-th of n shares of the batches alone.
        progress: Wraps the iteration over batches.

    Returns:
        (X, Y, Z) float32, scaled as the network's targets, 0 outside the mask, and outside the share.
    """
    if batch_size < 1:
        raise OptionError("batch_size", "at least 1", f"{batch_size}", "give a larger one")
    device = torch.device(device)
    mask = np.asarray(mask.cpu() if isinstance(mask, torch.Tensor) else mask, bool)
    voxels = np.argwhere(mask.swapaxes(0, CORONAL_AXIS))[:, [1, 0, 2]]
    starts = np.array_split(np.arange(0, len(voxels), batch_size), part[1])[part[0]].tolist()
    first, stop = (starts[0], min(starts[-1] + batch_size, len(voxels))) if starts else (0, 0)
    spatial = (1,) * len(axes)
    gain, offset = (torch.as_tensor(values, dtype=torch.float32, device=device).view(-1, *spatial) for values in (gain, offset))
    found = torch.zeros(len(voxels), dtype=torch.float32)
    network.eval()
    with torch.inference_mode(), in_precision(device, precision):
        low = torch.bfloat16 if check_precision(device, precision) == "bf16" else torch.float32
        centres = centre_predictor(network, (2 * radius + 1,) * len(axes), low)
        with _Patches(image, voxels[first:stop], axes, radius, device) as source:
            for start in progress(starts):
                batch = voxels[start : start + batch_size]
                patches = source.gather(batch)
                if len(batch) < batch_size < len(voxels):
                    patches = torch.cat([patches, patches[:1].expand(batch_size - len(batch), *patches.shape[1:])])
                scaled = torch.addcmul(offset, patches.to(torch.float32), gain)
                found[start : start + len(batch)] = centres(scaled)[: len(batch)].float().cpu()
    volume = torch.zeros(mask.shape, dtype=torch.float32)
    volume[tuple(torch.from_numpy(axis) for axis in voxels.T)] = found
    return volume


class _Patches:
    """Patches around voxels that come slice by slice. Each slab is read once, and the next one while a network computes.

    Args:
        image: Where slabs come from.
        voxels: (N, 3) all voxels to come.
        axes: Array axes that a patch spans.
        radius: Half the patch's edge, rounded down.
        device: Where patches are gathered.
    """

    def __init__(self, image: Slabs, voxels: np.ndarray, axes: Sequence[int], radius: int, device: torch.device):
        self._image, self._axes, self._radius, self._device = image, tuple(axes), radius, device
        self._reach = radius if CORONAL_AXIS in self._axes else 0
        if self._reach > image.margin:
            found = f"patches that reach {radius} voxels beyond theirs"
            raise OptionError("patch_radius", f"patches within slices and their margin of {image.margin}", found, "load a larger margin")
        self._to_come: Iterator[int] = iter(np.unique(voxels[:, CORONAL_AXIS] // image.thickness).tolist())
        self._reader = ThreadPoolExecutor(1)
        self._next: Future | None = None
        self._slab = -1
        self._source: PatchSource | None = None

    def __enter__(self) -> _Patches:
        self._read_ahead()
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.shutdown(cancel_futures=True)

    def gather(self, voxels: np.ndarray) -> torch.Tensor:
        """(B, C, 3, 3) as stored, channels-last, of voxels (B, 3) that lie behind those before them."""
        slabs = voxels[:, CORONAL_AXIS] // self._image.thickness
        pieces: list[torch.Tensor] = []
        for slab in np.unique(slabs):
            while self._slab != slab:
                self._advance()
            assert self._source is not None
            inside = voxels[slabs == slab]
            # The source counts slices from its slab's first, margins included on the other axes only.
            first = slab * self._image.thickness - self._reach + self._image.margin
            inside = inside - np.eye(3, dtype=np.int64)[CORONAL_AXIS] * first
            located = self._source.locate(np.column_stack([np.zeros(len(inside), np.int64), inside]))
            pieces.append(self._source.gather(located.to(self._device)))
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _advance(self) -> None:
        assert self._next is not None
        self._slab, slab = self._next.result()
        self._source = PatchSource([torch.as_tensor(slab).to(self._device)], self._image.margin, self._axes, self._radius)
        self._read_ahead()

    def _read_ahead(self) -> None:
        index = next(self._to_come, None)
        self._next = None if index is None else self._reader.submit(self._read, index)

    def _read(self, index: int) -> tuple[int, np.ndarray | torch.Tensor]:
        start = index * self._image.thickness
        stop = min(start + self._image.thickness, self._image.shape[CORONAL_AXIS])
        return index, self._image.slab(start, stop, self._reach)
