"""Volumes in memory once, whole batches of patches gathered from them by index."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from mrh_monai.data import CORONAL_PLANE, LoadedSubject, check_axes
from mrh_monai.errors import OptionError


class PatchSource:
    """Padded volumes of one or more subjects from which patches around any voxels are gathered at once.

    A patch is read as short contiguous strips along its last axis, one `index_select` for a whole batch. The result lies in memory as
    (B, ..., C), that is channels-last, which is also what convolutions like best; no copy is made to reorder it.

    Args:
        volumes: Per subject (X + 2m, Y + 2m, Z + 2m, C), all of one dtype, with a margin of m voxels.
        margin: m; the radius or more if patches are to reach beyond the volume.
        axes: Array axes that the patch spans, ascending: (0, 2) is the coronal plane; three for 3D patches.
        radius: Half the patch's edge, rounded down: 1 for 3x3.

    Raises:
        OptionError: The axes or the radius are impossible.
    """

    def __init__(self, volumes: Sequence[np.ndarray | torch.Tensor], margin: int, axes: Sequence[int] = CORONAL_PLANE, radius: int = 1):
        axes = check_axes(axes)
        if radius < 1:
            raise OptionError("patch_radius", "at least 1", f"{radius}", "give 1 for patches of 3 voxels")
        self.axes, self.radius, self.margin, self.width = axes, radius, margin, 2 * radius + 1
        self._shapes = np.array([volume.shape[:3] for volume in volumes])
        self.memory, self._starts, self._strides = _as_rows(volumes, axes[-1])
        self.channels = self.memory.shape[1]
        rows = len(self.memory) - self.width + 1
        self._strips = self.memory.as_strided((rows, self.width * self.channels), (self.channels, 1))

    @property
    def patch_shape(self) -> tuple[int, ...]:
        """(3, 3) for a radius of 1 in a plane."""
        return (self.width,) * len(self.axes)

    def to(self, device: torch.device | str) -> PatchSource:
        """The same volumes in a device's memory."""
        moved = copy.copy(self)
        moved.memory = self.memory.to(device)
        moved._strips = moved.memory.as_strided(self._strips.shape, self._strips.stride())
        return moved

    def locate(self, centres: np.ndarray) -> torch.Tensor:
        """Where in memory the strips of patches begin.

        Args:
            centres: (N, 4) subject index, x, y, z without the margin.

        Returns:
            (N, S) int64, S strips a patch.

        Raises:
            OptionError: A patch would leave the volume and its margin.
        """
        subject, voxel = centres[:, 0], centres[:, 1:] + self.margin
        along, ends = voxel[:, self.axes], self._shapes[subject][:, self.axes]
        if ((along < self.radius) | (along + self.radius >= ends)).any():
            found = f"patches that reach beyond it ({self.radius} voxels around their centres)"
            raise OptionError("patch_radius", f"patches within the volume and its margin of {self.margin}", found, "load a larger margin")
        strides = self._strides[subject]
        offsets = np.arange(-self.radius, self.radius + 1)
        strips = self._starts[subject] + (voxel * strides).sum(1)
        strips = (strips - self.radius * strides[:, self.axes[-1]])[:, None]
        for axis in self.axes[:-1]:
            strips = (strips[:, :, None] + strides[:, axis, None, None] * offsets).reshape(len(centres), -1)
        return torch.from_numpy(np.ascontiguousarray(strips))

    def gather(self, located: torch.Tensor) -> torch.Tensor:
        """Whole patches as stored.

        Args:
            located: (B, S) of `locate`.

        Returns:
            (B, C, A1, A2) or (B, C, A1, A2, A3) in the volumes' dtype, channels-last in memory.
        """
        patches = self._strips.index_select(0, located.reshape(-1))
        patches = patches.view(len(located), *self.patch_shape, self.channels)
        return patches.movedim(-1, 1)


class PatchDataset(Dataset):
    """Patches of MR images and of the stain, scaled, for one `DataLoader` batch at a time.

    ``dataset[i]`` gives one patch. `torch.utils.data.DataLoader` asks for a whole batch at once (``__getitems__``), which is one gather;
    `PatchBatches` does without the taking apart and putting together that a `DataLoader` wants, and is faster still.
    Workers share the volumes with their parent: forked ones by copy on write, spawned ones by torch's shared memory.

    Args:
        subjects: Loaded subjects with targets.
        centres: (N, 4) int64 subject index, x, y, z.
        coefficients: Per subject gain and offset, each (C,): scaled = raw * gain + offset.
        target_max: What the target is divided by, in the stain's units.
        axes: Array axes that the patch spans.
        radius: Half the patch's edge, rounded down.
    """

    def __init__(
        self,
        subjects: Sequence[LoadedSubject],
        centres: np.ndarray,
        coefficients: Sequence[tuple[np.ndarray, np.ndarray]],
        target_max: float = 1.0,
        axes: Sequence[int] = CORONAL_PLANE,
        radius: int = 1,
    ):
        margin = subjects[0].margin
        self.images = PatchSource([s.padded for s in subjects], margin, axes, radius)
        pad = [(margin, margin)] * 3 + [(0, 0)]
        labels = [np.pad(s.target[..., None], pad) for s in subjects if s.target is not None]
        self.labels = PatchSource(labels, margin, axes, radius)
        self.subject = torch.from_numpy(centres[:, 0].copy())
        self.image_strips = self.images.locate(centres)
        self.label_strips = self.labels.locate(centres)
        spatial = (1,) * len(self.images.axes)
        self.gain = torch.from_numpy(np.stack([gain for gain, _ in coefficients])).view(len(subjects), -1, *spatial)
        self.offset = torch.from_numpy(np.stack([offset for _, offset in coefficients])).view(len(subjects), -1, *spatial)
        self.target_max = target_max

    def to(self, device: torch.device | str) -> PatchDataset:
        """The same patches, gathered and scaled on a device, where volumes and indices take no more than half of its free memory."""
        if torch.device(device).type == self.subject.device.type:
            return self
        moved = copy.copy(self)
        tensors = ("subject", "image_strips", "label_strips", "gain", "offset")
        held = [self.images.memory, self.labels.memory, *(getattr(self, name) for name in tensors)]
        if sum(tensor.nbytes for tensor in held) > _free_memory(torch.device(device)) / 2:
            return self
        moved.images, moved.labels = self.images.to(device), self.labels.to(device)
        for name in tensors:
            setattr(moved, name, getattr(self, name).to(device))
        return moved

    def __len__(self) -> int:
        return len(self.subject)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return {key: value[0] for key, value in self.batch(torch.tensor([index % len(self)])).items()}

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, torch.Tensor]]:
        batch = self.batch(torch.as_tensor(indices))
        return [{key: value[n] for key, value in batch.items()} for n in range(len(indices))]

    def batch(self, indices: torch.Tensor) -> dict[str, torch.Tensor]:
        """Gather and scale the patches of some indices.

        Args:
            indices: (B,) int64.

        Returns:
            ``image`` (B, C, 3, 3) and ``label`` (B, 1, 3, 3), float32; for 3D patches one axis more.
        """
        indices = torch.as_tensor(indices, device=self.subject.device)
        subject = self.subject[indices]
        image = self.images.gather(self.image_strips[indices]).to(torch.float32)
        label = self.labels.gather(self.label_strips[indices]).to(torch.float32)
        return {"image": torch.addcmul(self.offset[subject], image, self.gain[subject]), "label": label.div_(self.target_max)}


class PatchBatches:
    """Batches of a `PatchDataset` for Ignite: shuffled anew each epoch, by seed and epoch alone.

    The order of an epoch does not depend on those before it, so that a resumed run sees the same batches.

    Args:
        dataset: Where patches come from.
        batch_size: Patches a batch.
        shuffle: Whether to shuffle; the last, smaller batch is dropped then (unless it is the only one), and kept otherwise.
        seed: Seed of the order.
        least: Batches that an epoch has at least: with few patches it passes over them several times, each time in another order.
        augmentation: Changes each batch, by chance from the epoch's own generator; None for nothing.
        strict: Whether fewer patches than a batch holds are refused; the batch shrinks otherwise.
        share: (i, n): of each shuffled batch the i-th of n equal parts, and of patches in order the i-th of n parts of all. Together the n
            parts are what one process would have, each patch once.

    Raises:
        OptionError: The batch size is below 1, or larger than there are patches where that is refused; or batches cannot be shared out.
    """

    def __init__(
        self,
        dataset: PatchDataset,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        least: int = 1,
        augmentation: Callable[[dict[str, torch.Tensor], torch.Generator], dict[str, torch.Tensor]] | None = None,
        strict: bool = False,
        share: tuple[int, int] = (0, 1),
    ):
        if batch_size < 1 or (strict and batch_size > len(dataset)):
            expected = "at least 1" if batch_size < 1 else f"at most the {len(dataset)} patches that there are"
            raise OptionError("batch_size", expected, f"{batch_size}", f"give a {'larger' if batch_size < 1 else 'smaller'} one")
        self.dataset, self.batch_size, self.shuffle, self.seed, self.epoch = dataset, batch_size, shuffle, seed, 1
        self.least, self.augmentation, self.share = least, augmentation, share
        size = min(batch_size, len(dataset))
        if shuffle and size % share[1]:
            remedy = f"give --batch_size {max(size // share[1], 1) * share[1]}"
            raise OptionError("batch_size", f"a multiple of the {share[1]} processes that share it", f"{size}", remedy)

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
                # It mixes patches of the whole batch.
                batch = self.augmentation(self.dataset.batch(indices), generator)
                yield {key: self._own(value) for key, value in batch.items()}
            else:
                yield self.dataset.batch(self._own(indices))

    def _own(self, values: torch.Tensor) -> torch.Tensor:
        return values.tensor_split(self.share[1])[self.share[0]] if self.shuffle else values

    def _in_order(self) -> torch.Tensor:
        return torch.arange(len(self.dataset)).tensor_split(self.share[1])[self.share[0]]


def _free_memory(device: torch.device) -> float:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")


def _as_rows(volumes: Sequence[np.ndarray | torch.Tensor], strip_axis: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """All voxels as rows (V, C) of one tensor, and where each volume starts (N,) and its strides (N, 3), in rows.

    Nothing is copied where rows run along ``strip_axis`` already: in one volume, or in views of one array as `load_subjects` leaves them.
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
