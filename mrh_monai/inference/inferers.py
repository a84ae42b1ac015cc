"""Voxel-wise prediction and plain patches as MONAI inferers, for the configs of bundles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from monai.inferers.inferer import Inferer

from mrh_monai import distributed
from mrh_monai.axis_order import CORONAL_AXIS
from mrh_monai.data import PaddedImage, Slabs
from mrh_monai.devices import in_precision
from mrh_monai.inference.voxelwise import BATCH_SIZE, Computing, predict_volume
from mrh_monai.network import IntervalNetwork
from mrh_monai.patch_geometry import CORONAL_PATCH, PatchGeometry
from mrh_monai.scaling import Coefficients


class PatchInferer(Inferer):
    """Run the network on whole patches, in a precision. The automatic mixed precision of MONAI's engines works on CUDA devices only.

    Args:
        precision: ``float32``, ``tf32``, ``bf16`` or ``auto``.
    """

    def __init__(self, precision: str = "float32"):
        super().__init__()
        self.precision = precision

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Turn patches (B, C, 3, 3) into float32 patches (B, 1, 3, 3)."""
        with in_precision(inputs.device, self.precision):
            return network(inputs, *args, **kwargs).float()


class VoxelwiseInferer(Inferer):
    """Visit every voxel of the mask and keep the centre of the predicted patch around it, see `predict_volume`.

    Args:
        patch: Shape of the patches.
        batch_size: Number of patches in a batch.
        precision: ``float32``, ``tf32``, ``bf16`` or ``auto``.
        progress: Whether to show a progress bar on a terminal.
        shared: Whether all processes of a job compute a share of every subject, and join their shares.
    """

    def __init__(
        self,
        patch: PatchGeometry = CORONAL_PATCH,
        batch_size: int = BATCH_SIZE,
        precision: str = "float32",
        progress: bool = True,
        shared: bool = False,
    ):
        super().__init__()
        self.patch, self.shared = patch, shared
        self.computing = Computing(precision=precision, batch_size=batch_size, progress="predict" if progress else None)

    def __call__(  # type: ignore[override]
        self,
        inputs: torch.Tensor | Slabs,
        network: torch.nn.Module,
        mask: torch.Tensor,
        gain: torch.Tensor,
        offset: torch.Tensor,
    ) -> torch.Tensor:
        """Predict one subject slab by slab, or a batch of subjects in memory.

        Args:
            inputs: Raw intensities: `Slabs` of one subject, which are closed afterwards, or (B, C, X, Y, Z).
            network: Network, on the device that computes.
            mask: (1, X, Y, Z), not 0 inside the brain; for a batch (B, 1, X, Y, Z).
            gain: (C,), see `Coefficients`; for a batch (B, C).
            offset: (C,); for a batch (B, C).

        Returns:
            (1, X, Y, Z) float32, for a batch (B, 1, X, Y, Z), scaled like the targets of the network, 0 outside the mask. For an
            `IntervalNetwork` 2 in place of 1: the stain and its expected error.
        """
        if not isinstance(inputs, torch.Tensor):
            predicted = self._predict(inputs, network, mask[0], gain, offset)
            inputs.close()
            return predicted
        images = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
        volumes = []
        for image, inside, g, o in zip(images, mask, gain, offset, strict=True):
            margin = self.patch.radius if CORONAL_AXIS in self.patch.axes or self._leaves_volume(inside[0].bool()) else 0
            # Channels go innermost before the margin is added, so that one copy leaves the volume in the order in which patches are read.
            voxels = image.permute(1, 2, 3, 0)
            padded = F.pad(voxels, (0, 0, *(margin,) * 6)) if margin else voxels
            volumes.append(self._predict(PaddedImage(padded, margin), network, inside[0], g, o))
        return torch.stack(volumes).to(images.device)

    def _predict(
        self, image: Slabs, network: torch.nn.Module, mask: torch.Tensor, gain: torch.Tensor, offset: torch.Tensor
    ) -> torch.Tensor:
        device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
        computing = Computing(device, self.computing.precision, self.computing.batch_size, self.computing.progress)
        share = distributed.share_of_this_process() if self.shared else (0, 1)
        volume = predict_volume(network, image, mask, Coefficients(gain, offset), self.patch, computing, share)  # type: ignore[arg-type]
        volume = distributed.merge_volume_shares(volume) if self.shared else volume
        return volume if isinstance(network, IntervalNetwork) else volume[None]

    def _leaves_volume(self, support: torch.Tensor) -> bool:
        """Return whether the patch of any voxel reaches beyond the volume. If no patch does, the volume is not copied to add a margin."""
        axes, radius = self.patch.axes, self.patch.radius
        if any(support.shape[axis] < radius for axis in axes):
            return True
        ends = [support.narrow(axis, start, radius) for axis in axes for start in (0, support.shape[axis] - radius)]
        return any(bool(end.any()) for end in ends)
