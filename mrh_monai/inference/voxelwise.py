"""Voxel-wise prediction: the centre voxel of every patch in the mask, in batches, slab by slab. MRH-Net predicts exactly these voxels."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import nn

from mrh_monai.axis_order import CORONAL_AXIS
from mrh_monai.data import Slabs
from mrh_monai.devices import check_precision, in_precision
from mrh_monai.errors import OptionError
from mrh_monai.network import Calibration, IntervalNetwork, centre_predictor
from mrh_monai.patch_geometry import CORONAL_PATCH, PatchGeometry
from mrh_monai.patches import PatchSource
from mrh_monai.progress import progress_bar
from mrh_monai.scaling import Coefficients, Scaling

BATCH_SIZE = 4096
Volume = TypeVar("Volume", np.ndarray, torch.Tensor)


class Bounds(NamedTuple):
    """The bounds of the intervals of a stain.

    Attributes:
        lower: (X, Y, Z) float32 in the stain's units, 0 outside the mask.
        upper: The same, never below ``lower``.
    """

    lower: np.ndarray
    upper: np.ndarray


@dataclass(frozen=True)
class Computing:
    """Where and how a network computes.

    Attributes:
        device: Device, such as ``cpu`` or ``cuda:0``.
        precision: ``float32``, ``tf32``, ``bf16``, or ``auto`` (bf16 where the device is built for it).
        batch_size: Number of patches in a batch. The last batch is filled up, so that every voxel is computed in a batch of this size.
        progress: Text of a progress bar on a terminal; None for no bar.

    Raises:
        OptionError: The batch size is below 1.
    """

    device: torch.device | str = "cpu"
    precision: str = "float32"
    batch_size: int = BATCH_SIZE
    progress: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise OptionError("batch_size", "a whole number of at least 1", repr(self.batch_size), "give a number such as 4096")


def predict_volume(
    network: nn.Module,
    image: Slabs,
    mask: np.ndarray | torch.Tensor,
    coefficients: Coefficients,
    patch: PatchGeometry = CORONAL_PATCH,
    computing: Computing = Computing(),
    share: tuple[int, int] = (0, 1),
) -> torch.Tensor:
    """Predict every voxel of the mask from the patch around it.

    Voxels are taken slice by slice, in batches that may cross from one slab into the next. So the batch of a voxel, and with it the last
    bit of its value, depends on mask, batch size and number of threads only: not on the slabs, nor on the number of processes that share
    the work.

    Args:
        network: Network from (B, C, 3, 3) scaled images to (B, 1, 3, 3) scaled stain, or an `IntervalNetwork`.
        image: Raw intensities, in memory or on disk.
        mask: (X, Y, Z) bool.
        coefficients: Gain and offset of each channel, (C,) float32: scaled = raw * gain + offset; see `Scaling.coefficients`.
        patch: Shape of the patches.
        computing: Where and how to compute.
        share: (i, n) to compute only the i-th of n shares of the batches.

    Returns:
        (X, Y, Z) float32, scaled like the targets of the network, 0 outside the mask and outside the share. For an `IntervalNetwork` (2,
        X, Y, Z): the stain, with the same bits, and the expected error.

    Raises:
        OptionError: The precision is unknown, or patches would reach beyond the margin of the images.
    """
    device, batch_size = torch.device(computing.device), computing.batch_size
    mask = np.asarray(mask.cpu() if isinstance(mask, torch.Tensor) else mask, bool)
    voxels = np.argwhere(mask.swapaxes(0, CORONAL_AXIS))[:, [1, 0, 2]]
    starts = np.array_split(np.arange(0, len(voxels), batch_size), share[1])[share[0]].tolist()
    first, stop = (starts[0], min(starts[-1] + batch_size, len(voxels))) if starts else (0, 0)
    spatial = (1,) * len(patch.axes)
    gain, offset = (torch.as_tensor(values, dtype=torch.float32, device=device).view(-1, *spatial) for values in coefficients)
    outputs = (2,) if isinstance(network, IntervalNetwork) else ()
    found = torch.zeros(len(voxels), *outputs, dtype=torch.float32)
    network.eval()
    with torch.inference_mode(), in_precision(device, computing.precision):
        low = torch.bfloat16 if check_precision(device, computing.precision) == "bf16" else torch.float32
        centres = centre_predictor(network, patch.shape, low)
        with _Patches(image, voxels[first:stop], patch, device) as source:
            for start in progress_bar(starts, "batch", text=computing.progress, shown=computing.progress is not None):
                batch = voxels[start : start + batch_size]
                patches = source.gather(batch)
                if len(batch) < batch_size < len(voxels):
                    patches = torch.cat([patches, patches[:1].expand(batch_size - len(batch), *patches.shape[1:])])
                scaled = torch.addcmul(offset, patches.to(torch.float32), gain)
                found[start : start + len(batch)] = centres(scaled)[: len(batch)].float().cpu()
    volume = torch.zeros(*outputs, *mask.shape, dtype=torch.float32)
    x, y, z = (torch.from_numpy(axis) for axis in voxels.T)
    volume[..., x, y, z] = found.movedim(0, -1)
    return volume


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with all that a prediction in the stain's own units needs. Every virtual stain of a whole subject is computed here.

    Attributes:
        network: Network from (B, C, 3, 3) scaled images to (B, 1, 3, 3) scaled stain, or an `IntervalNetwork`.
        scaling: Scaling of its training subjects.
        patch: Shape of its patches.
        calibration: How wide its intervals must be; needed for an `IntervalNetwork` only.
    """

    network: nn.Module
    scaling: Scaling
    patch: PatchGeometry = CORONAL_PATCH
    calibration: Calibration | None = None

    def predict(self, image: Slabs, mask: np.ndarray, coefficients: Coefficients, computing: Computing = Computing()) -> np.ndarray:
        """Predict the stain of every voxel of the mask.

        Args:
            image: Raw intensities, in memory or on disk.
            mask: (X, Y, Z) bool.
            coefficients: Gain and offset of each channel, see `Scaling.coefficients`.
            computing: Where and how to compute.

        Returns:
            (X, Y, Z) float32 in the stain's units, 0 outside the mask.
        """
        network = self.network.network if isinstance(self.network, IntervalNetwork) else self.network
        scaled = predict_volume(network, image, mask, coefficients, self.patch, computing)
        return np.asarray(np.where(mask, self.scaling.unscaled(scaled.numpy()), np.float32(0)))

    def predict_with_bounds(
        self, image: Slabs, mask: np.ndarray, coefficients: Coefficients, computing: Computing = Computing()
    ) -> tuple[np.ndarray, Bounds | None]:
        """Predict the stain of every voxel of the mask, and the bounds of its interval if the network is an `IntervalNetwork`.

        Args:
            image: Raw intensities, in memory or on disk.
            mask: (X, Y, Z) bool.
            coefficients: Gain and offset of each channel, see `Scaling.coefficients`.
            computing: Where and how to compute.

        Returns:
            The stain as `predict` returns it, to the bit, and its bounds; None for another network.
        """
        if not isinstance(self.network, IntervalNetwork):
            return self.predict(image, mask, coefficients, computing), None
        assert self.calibration is not None
        scaled = predict_volume(self.network, image, mask, coefficients, self.patch, computing).numpy()
        stain = np.asarray(np.where(mask, self.scaling.unscaled(scaled[0]), np.float32(0)))
        return stain, Bounds(*bounds_of(stain, scaled[1], self.calibration, self.scaling))


def bounds_of(stain: Volume, expected: Volume, calibration: Calibration, scaling: Scaling) -> tuple[Volume, Volume]:
    """Return the lower and the upper bounds of the intervals of a stain.

    Args:
        stain: Predicted stain in its own units, 0 outside the mask.
        expected: Expected error of each voxel, scaled like the targets of the network, 0 outside the mask.
        calibration: How many expected errors an interval reaches in both directions.
        scaling: Scaling of the network.
    """
    reach = expected * (calibration.multiplier * scaling.target_range)
    return stain - reach, stain + reach


class _Patches:
    """Patches around voxels that come slice by slice. Each slab is read once, the next one while the network computes.

    Args:
        image: The images.
        voxels: (N, 3) all voxels that will be asked for, slice by slice.
        patch: Shape of the patches.
        device: Device on which patches are gathered.
    """

    def __init__(self, image: Slabs, voxels: np.ndarray, patch: PatchGeometry, device: torch.device):
        self._image, self._patch, self._device = image, patch, device
        self._reach = patch.reach[CORONAL_AXIS]
        if self._reach > image.margin:
            expected = f"patches within slices and their margin of {image.margin}"
            raise OptionError("patch_radius", expected, f"patches that reach {patch.radius} voxels beyond", "load a larger margin")
        self._to_come: Iterator[int] = iter(np.unique(voxels[:, CORONAL_AXIS] // image.thickness).tolist())
        self._reader = ThreadPoolExecutor(1)
        self._next: Future[tuple[int, np.ndarray | torch.Tensor]] | None = None
        self._slab = -1
        self._source: PatchSource | None = None

    def __enter__(self) -> _Patches:
        self._read_ahead()
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.shutdown(cancel_futures=True)

    def gather(self, voxels: np.ndarray) -> torch.Tensor:
        """Return the patches (B, C, 3, 3) as stored, channels-last, of voxels (B, 3) that come after the voxels of earlier calls."""
        slabs = voxels[:, CORONAL_AXIS] // self._image.thickness
        pieces: list[torch.Tensor] = []
        for slab in np.unique(slabs):
            while self._slab != slab:
                self._advance()
            assert self._source is not None
            inside = voxels[slabs == slab]
            # The source counts slices from the first slice of its slab; only the other axes have margins.
            first = slab * self._image.thickness - self._reach + self._image.margin
            inside = inside - np.eye(3, dtype=np.int64)[CORONAL_AXIS] * first
            located = self._source.locate(np.column_stack([np.zeros(len(inside), np.int64), inside]))
            pieces.append(self._source.gather(located.to(self._device)))
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _advance(self) -> None:
        assert self._next is not None
        self._slab, slab = self._next.result()
        self._source = PatchSource([torch.as_tensor(slab).to(self._device)], self._image.margin, self._patch)
        self._read_ahead()

    def _read_ahead(self) -> None:
        index = next(self._to_come, None)
        self._next = None if index is None else self._reader.submit(self._read, index)

    def _read(self, index: int) -> tuple[int, np.ndarray | torch.Tensor]:
        start = index * self._image.thickness
        stop = min(start + self._image.thickness, self._image.shape[CORONAL_AXIS])
        return index, self._image.slab(start, stop, self._reach)
