"""`voxelwise.py` and plain patches as MONAI `Inferer`s, for the configs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.inferers import Inferer
from tqdm import tqdm

from mrh_monai import distributed
from mrh_monai.data import CORONAL_AXIS, CORONAL_PLANE, PaddedImage, Slabs
from mrh_monai.devices import in_precision
from mrh_monai.inference.voxelwise import BATCH_SIZE, predict_volume


class PatchInferer(Inferer):
    """Run the network on whole patches, in a precision; the engines' own AMP knows CUDA alone.

    Args:
        precision: float32, tf32, bf16 or auto.
    """

    def __init__(self, precision: str = "float32"):
        super().__init__()
        self.precision = precision

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Patches (B, C, 3, 3) to float32 patches (B, 1, 3, 3)."""
        with in_precision(inputs.device, self.precision):
            return network(inputs, *args, **kwargs).float()


class VoxelwiseInferer(Inferer):
    """Slide over every voxel of the mask and keep the centre of each patch's prediction; see `predict_volume`.

    Args:
        axes: Array axes that a patch spans.
        radius: Half the patch's edge, rounded down.
        batch_size: Patches a batch.
        precision: float32, tf32, bf16 or auto.
        progress: Whether to show a bar on a terminal.
        shared: Whether all processes of a job compute a share of every subject, and put them together.
    """

    def __init__(
        self,
        axes: Sequence[int] = CORONAL_PLANE,
        radius: int = 1,
        batch_size: int = BATCH_SIZE,
        precision: str = "float32",
        progress: bool = True,
        shared: bool = False,
    ):
        super().__init__()
        self.shared = shared
        self.axes, self.radius, self.batch_size, self.precision, self.progress = tuple(axes), radius, batch_size, precision, progress

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
            inputs: Raw intensities: `Slabs` of one subject, which are closed behind it, or (B, C, X, Y, Z).
            network: On the device that computes.
            mask: (1, X, Y, Z), not 0 inside; of a batch (B, 1, X, Y, Z).
            gain: (C,) of `Scaling.coefficients`; of a batch (B, C).
            offset: (C,); of a batch (B, C).

        Returns:
            (1, X, Y, Z) float32, of a batch (B, 1, X, Y, Z), scaled as the network's targets, 0 outside the mask.
        """
        if not isinstance(inputs, torch.Tensor):
            predicted = self._predict(inputs, network, mask[0], gain, offset)
            inputs.close()
            return predicted
        images = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
        volumes = []
        for image, inside, g, o in zip(images, mask, gain, offset, strict=True):
            margin = self.radius if CORONAL_AXIS in self.axes or self._leaves_volume(inside[0].bool()) else 0
            # Channels go innermost before the margin is added, so that one copy leaves the volume as patches are gathered from it.
            voxels = image.permute(1, 2, 3, 0)
            padded = F.pad(voxels, (0, 0, *(margin,) * 6)) if margin else voxels
            volumes.append(self._predict(PaddedImage(padded, margin), network, inside[0], g, o))
        return torch.stack(volumes).to(images.device)

    def _predict(
        self, image: Slabs, network: torch.nn.Module, mask: torch.Tensor, gain: torch.Tensor, offset: torch.Tensor
    ) -> torch.Tensor:
        device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
        part = distributed.share() if self.shared else (0, 1)
        volume = predict_volume(
            network, image, mask, gain, offset, axes=self.axes, radius=self.radius, batch_size=self.batch_size, device=device,
            precision=self.precision, part=part, progress=show_progress("predict") if self.progress else iter,
        )  # fmt: skip
        return (distributed.put_together(volume) if self.shared else volume)[None]

    def _leaves_volume(self, support: torch.Tensor) -> bool:
        """Whether the patch of any voxel reaches beyond the volume; where none does, no margin is needed and nothing is copied."""
        if any(support.shape[axis] < self.radius for axis in self.axes):
            return True
        ends = [support.narrow(axis, start, self.radius) for axis in self.axes for start in (0, support.shape[axis] - self.radius)]
        return any(bool(end.any()) for end in ends)


def show_progress(description: str) -> Callable[[Iterable[int]], Iterable[int]]:
    """A tqdm bar on a terminal, nothing elsewhere."""
    return lambda steps: tqdm(steps, desc=description, unit="batch", disable=None, leave=False)
