"""The order in which patches are trained on: batches that depend on seed and epoch only."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from mrh_monai.errors import OptionError
from mrh_monai.patches.patch_dataset import PatchDataset


class PatchBatches:
    """Batches of a `PatchDataset` for Ignite, shuffled again for each epoch.

    The order of an epoch depends on seed and epoch only, not on the epochs before it, so that a resumed run sees the same batches.

    Args:
        dataset: The patches.
        batch_size: Number of patches in a batch; a batch never has more patches than the dataset.
        shuffle: Whether to shuffle. If so, the last, smaller batch is dropped (unless it is the only one); otherwise it is kept.
        seed: Random seed of the order.
        least: Smallest number of batches in an epoch. With few patches an epoch passes over them several times, each time in another order.
        augmentation: Function that changes each batch, with random numbers of the epoch's own generator; None for no change.
        share: (i, n) for the i-th of n processes. It gets the i-th of n equal parts of each shuffled batch, and the i-th of n parts of
            patches in order. Together the n parts are what one process would have, each patch once.

    Raises:
        OptionError: The batch size is below 1, or the processes cannot share it equally.
    """

    def __init__(
        self,
        dataset: PatchDataset,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        least: int = 1,
        augmentation: Callable[[dict[str, torch.Tensor], torch.Generator], dict[str, torch.Tensor]] | None = None,
        share: tuple[int, int] = (0, 1),
    ):
        if batch_size < 1:
            raise OptionError("batch_size", "at least 1", f"{batch_size}", "give a larger batch size")
        self.dataset, self.batch_size, self.shuffle, self.seed, self.epoch = dataset, batch_size, shuffle, seed, 1
        self.least, self.augmentation, self.share = least, augmentation, share
        size = min(batch_size, len(dataset))
        if shuffle and size % share[1]:
            remedy = f"give --batch_size {max(size // share[1], 1) * share[1]}"
            raise OptionError("batch_size", f"a multiple of the {share[1]} processes that share it", f"{size}", remedy)

    @property
    def process_batch_size(self) -> int:
        """Number of patches that this process has of a whole batch."""
        return len(self._own(torch.arange(min(self.batch_size, len(self.dataset)))))

    def __len__(self) -> int:
        whole, rest = divmod(len(self.dataset) if self.shuffle else len(self._in_order()), self.batch_size)
        return max(whole if whole and self.shuffle else whole + bool(rest), self.least if self.shuffle else 1)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        count, size = len(self.dataset), min(self.batch_size, len(self.dataset))
        order = torch.randperm(count, generator=generator) if self.shuffle else self._in_order()
        while self.shuffle and len(order) < len(self) * size:
            order = torch.cat([order, torch.randperm(count, generator=generator)])
        for index in range(len(self)):
            indices = order[index * size : (index + 1) * size]
            if self.augmentation:
                # The augmentation mixes patches of the whole batch, so that every process needs all of it.
                batch = self.augmentation(self.dataset.batch(indices), generator)
                yield {key: self._own(value) for key, value in batch.items()}
            else:
                yield self.dataset.batch(self._own(indices))

    def _own(self, values: torch.Tensor) -> torch.Tensor:
        return values.tensor_split(self.share[1])[self.share[0]] if self.shuffle else values

    def _in_order(self) -> torch.Tensor:
        return torch.arange(len(self.dataset)).tensor_split(self.share[1])[self.share[0]]
