"""The patches of a training set: images and stain, gathered and scaled a batch at a time."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from mrh_monai.axis_order import CORONAL_AXIS
from mrh_monai.data import SubjectInMemory
from mrh_monai.patch_geometry import CORONAL_PATCH, PatchGeometry
from mrh_monai.patches.patch_source import PatchSource
from mrh_monai.scaling import Coefficients


class PatchDataset(Dataset[dict[str, torch.Tensor]]):
    """Scaled patches of MR images and of the stain.

    ``dataset[i]`` is one patch. `torch.utils.data.DataLoader` asks for a whole batch at once (``__getitems__``), which is one gather.
    `PatchBatches` is faster still, because it does not divide a batch into patches and join them again as a `DataLoader` does. The workers
    of a `DataLoader` share the volumes with their parent: forked workers by copy on write, spawned ones by torch's shared memory.

    A patch reaches beyond its centre. Labels of torn tissue, and of slices to which the subject is not restricted, are NaN there: losses
    leave them out, see `mrh_monai.training.KnownLabels`.

    Args:
        subjects: Subjects in memory, with targets.
        centres: (N, 4) int64, index of the subject, and x, y, z of the centre voxel.
        coefficients: Gain and offset of each subject, see `Scaling.training_coefficients`.
        target_max: Target that is scaled to 1, in the stain's units, see `Scaling.target_limits`.
        patch: Shape of the patches.
        target_min: Target that is scaled to 0, in the stain's units.
    """

    def __init__(
        self,
        subjects: Sequence[SubjectInMemory],
        centres: np.ndarray,
        coefficients: Sequence[Coefficients],
        target_max: float = 1.0,
        patch: PatchGeometry = CORONAL_PATCH,
        target_min: float = 0.0,
    ):
        margin = subjects[0].margin
        self.images = PatchSource([s.padded for s in subjects], margin, patch)
        pad = [(margin, margin)] * 3 + [(0, 0)]
        targets = [_labels(subject, target_min, patch) for subject in subjects if subject.target is not None]
        labels = [np.pad(target[..., None], pad, constant_values=target_min) for target in targets]
        self.labels = PatchSource(labels, margin, patch)
        self.subject = torch.from_numpy(centres[:, 0].copy())
        self.image_strips = self.images.locate(centres)
        self.label_strips = self.labels.locate(centres)
        spatial = (1,) * len(patch.axes)
        self.gain = torch.from_numpy(np.stack([gain for gain, _ in coefficients])).view(len(subjects), -1, *spatial)
        self.offset = torch.from_numpy(np.stack([offset for _, offset in coefficients])).view(len(subjects), -1, *spatial)
        self.target_max, self.target_min = target_max, target_min

    def around(self, centres: np.ndarray) -> PatchDataset:
        """Return patches around other voxels of the same subjects, whose volumes lie in memory once.

        Args:
            centres: (N, 4) int64, as for the class.
        """
        other = copy.copy(self)
        device = self.subject.device
        other.subject = torch.from_numpy(centres[:, 0].copy()).to(device)
        other.image_strips, other.label_strips = self.images.locate(centres).to(device), self.labels.locate(centres).to(device)
        return other

    def to(self, device: torch.device | str) -> PatchDataset:
        """Return the same patches, gathered and scaled on a device if volumes and indices fit into half of its free memory."""
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
        """Gather and scale some patches.

        Args:
            indices: (B,) int64, numbers of the patches.

        Returns:
            ``image`` (B, C, 3, 3) and ``label`` (B, 1, 3, 3), float32, NaN where the stain is not known; for 3D patches one axis more.
        """
        indices = torch.as_tensor(indices, device=self.subject.device)
        subject = self.subject[indices]
        image = self.images.gather(self.image_strips[indices]).to(torch.float32)
        label = self.labels.gather(self.label_strips[indices]).to(torch.float32)
        if self.target_min:
            label.sub_(self.target_min)
        label.div_(self.target_max - self.target_min)
        return {"image": torch.addcmul(self.offset[subject], image, self.gain[subject]), "label": label}


def _labels(subject: SubjectInMemory, target_min: float, patch: PatchGeometry) -> np.ndarray:
    """Return the stain (X, Y, Z) as networks may see it: ``target_min`` around the brain, NaN where it is not known."""
    assert subject.target is not None
    # Outside the brain a file has 0, which is far from all values of a stain with an offset, such as 10,000 to 10,255.
    labels = np.where(subject.scored, subject.target, target_min) if target_min else subject.target
    hidden = np.zeros(labels.shape, bool) if subject.torn is None else subject.torn
    if subject.left_out is not None and CORONAL_AXIS in patch.axes:
        hidden = hidden | subject.left_out[None, :, None]
    return np.where(hidden, np.float32(np.nan), labels.astype(np.float32)) if hidden.any() else labels


def _free_memory(device: torch.device) -> float:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")
