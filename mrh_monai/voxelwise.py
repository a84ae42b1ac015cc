"""The centre voxel of every patch in the mask, in batches: what MRH-Net predicts, and all that it predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import nn

from mrh_monai.errors import OptionError
from mrh_monai.loaded import CORONAL_PLANE
from mrh_monai.patches import PatchSource

PRECISIONS = ("float32", "bf16", "auto")
BATCH_SIZE = 4096


def predict_volume(
    network: nn.Module,
    padded: np.ndarray | torch.Tensor,
    mask: np.ndarray | torch.Tensor,
    gain: np.ndarray | torch.Tensor,
    offset: np.ndarray | torch.Tensor,
    *,
    margin: int = 1,
    axes: Sequence[int] = CORONAL_PLANE,
    radius: int = 1,
    batch_size: int = BATCH_SIZE,
    device: torch.device | str = "cpu",
    precision: str = "float32",
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> torch.Tensor:
    """Predict every voxel of the mask from the patch around it.

    Args:
        network: From (B, C, 3, 3) scaled to (B, 1, 3, 3) scaled.
        padded: (X + 2m, Y + 2m, Z + 2m, C) raw intensities with a margin of m zero voxels on every side, on any device.
        mask: (X, Y, Z) bool.
        gain: (C,) float32, with ``offset`` from `mrh_monai.scaling.Scaling.coefficients`: scaled = raw * gain + offset.
        offset: (C,) float32.
        margin: m.
        axes: Array axes that a patch spans.
        radius: Half the patch's edge, rounded down.
        batch_size: Patches a batch. The last batch is filled up, so that every voxel is computed in a batch of this size.
        device: Where the network computes.
        precision: float32, bf16, or auto (bf16 where the device is built for it).
        progress: Wraps the iteration over batches.

    Returns:
        (X, Y, Z) float32, scaled as the network's targets, 0 outside the mask.
    """
    if batch_size < 1:
        raise OptionError("batch_size", "at least 1", f"{batch_size}", "give a larger one")
    device = torch.device(device)
    source = PatchSource([padded], margin, axes, radius)
    mask = np.asarray(mask.cpu() if isinstance(mask, torch.Tensor) else mask, bool)
    voxels = np.argwhere(mask)
    located = source.locate(np.column_stack([np.zeros(len(voxels), np.int64), voxels]))
    spatial = (1,) * len(source.axes)
    gain, offset = (torch.as_tensor(values, dtype=torch.float32, device=device).view(-1, *spatial) for values in (gain, offset))
    centre = (slice(None), 0, *(radius,) * len(source.axes))
    found = torch.empty(len(voxels), dtype=torch.float32)
    network.eval()
    with torch.inference_mode(), autocast(device, precision):
        for start in progress(range(0, len(voxels), batch_size)):
            batch = located[start : start + batch_size]
            count = len(batch)
            if count < batch_size < len(voxels):
                batch = torch.cat([batch, batch[:1].expand(batch_size - count, -1)])
            patches = source.gather(batch.to(source.memory.device)).to(device).to(torch.float32)
            found[start : start + count] = network(torch.addcmul(offset, patches, gain))[centre][:count].float().cpu()
    volume = torch.zeros(mask.shape, dtype=torch.float32)
    volume[torch.from_numpy(mask)] = found
    return volume


def autocast(device: torch.device | str, precision: str) -> AbstractContextManager:
    """A context in which convolutions compute in a precision, on the CPU as on CUDA.

    Args:
        device: Where they compute.
        precision: float32, bf16, or auto: bf16 on a CUDA device that is built for it, float32 elsewhere.

    Raises:
        OptionError: The precision is unknown.
    """
    if precision not in PRECISIONS:
        raise OptionError("precision", ", ".join(PRECISIONS), repr(precision), "choose one of them")
    kind = torch.device(device).type
    wanted = precision == "bf16" or (precision == "auto" and kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False))
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=wanted)


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """A device that exists.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1``; ``auto`` for CUDA where there is one.

    Raises:
        OptionError: There is no such device.
    """
    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError("device", "auto, cpu, cuda or cuda:N", repr(name), "choose one of them") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise OptionError(
            "device", f"{name}", f"{count} CUDA devices on this machine", "use --device cpu or install a CUDA build of PyTorch"
        )
    if device.type not in ("cpu", "cuda"):
        raise OptionError("device", "auto, cpu, cuda or cuda:N", repr(name), "choose one of them")
    return device
