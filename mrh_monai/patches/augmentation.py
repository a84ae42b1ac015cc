"""Change batches of training patches at random, so that a network learns more from few patches."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Augmentation:
    """Mirroring and mixing of patches. Both keep the relation between the stain of a voxel and its signals.

    Mirroring exchanges the neighbours of the centre voxel, in the images and in the stain, and leaves the signals of each voxel unchanged.
    This is right for diffusion images too: the signal of a voxel depends on the gradient direction, not on where the neighbours lie. Mixing
    (Zhang et al., mixup, ICLR 2018) averages two patches and their stains, like a voxel that holds both tissues.

    Attributes:
        mirror: Whether a batch is mirrored, along each axis of the patch with a probability of one half.
        mixup: Both parameters of the Beta distribution of the weights; 0 for no mixing.
    """

    mirror: bool = False
    mixup: float = 0.0

    def __bool__(self) -> bool:
        """Return whether anything is changed."""
        return self.mirror or bool(self.mixup)

    def __call__(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Change a batch.

        Args:
            batch: ``image`` (B, C, 3, 3) and ``label`` (B, 1, 3, 3).
            generator: Source of the random numbers.

        Returns:
            A batch of the same shapes.
        """
        axes = [axis for axis in range(2, batch["image"].ndim) if self.mirror and torch.rand((), generator=generator) < 0.5]
        if axes:
            batch = {key: value.flip(axes) for key, value in batch.items()}
        if self.mixup:
            count = len(batch["image"])
            device = batch["image"].device
            order = torch.randperm(count, generator=generator).to(device)
            weight = _beta(self.mixup, count, generator).view(-1, *(1,) * (batch["image"].ndim - 1)).to(device)
            batch = {key: torch.lerp(value[order], value, weight) for key, value in batch.items()}
        return batch


def _beta(alpha: float, count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw (count,) numbers of Beta(alpha, alpha) by Jöhnk's method; the distributions of torch do not take a generator."""
    kept = torch.empty(0)
    while len(kept) < count:
        u, v = torch.rand(2, 2 * count, generator=generator) ** (1 / alpha)
        inside = (u + v <= 1) & (u + v > 0)
        kept = torch.cat([kept, (u / (u + v))[inside]])
    return kept[:count]
