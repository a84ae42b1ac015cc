"""Subjects, scaling and writing as MONAI transforms, for the configs."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TraceKeys
from torch.utils.data import default_collate

from mrh_monai.loaded import CORONAL_PLANE
from mrh_monai.loading import load_subject
from mrh_monai.patch_files import write_predictions
from mrh_monai.protocol import Protocol
from mrh_monai.scaling import Scaling
from mrh_monai.subjects import Subject
from mrh_monai.volumes import write_nifti

logger = logging.getLogger(__name__)


class LoadSubjectd(Transform):
    """A `Subject` to the dict that the engines pass on.

    The result has ``subject`` (its name), ``image`` (C, X, Y, Z) as stored, ``mask`` (1, X, Y, Z) uint8, ``brain`` likewise, which is the
    mask over all slices, and where the target
    is needed ``label`` (1, X, Y, Z) float32 in the stain's units and ``scored`` (1, X, Y, Z) uint8, the voxels to judge by. Images are
    `MetaTensor`s with the subject's affine. A file of patches also has ``largest``, its largest intensity.

    Args:
        protocol: The channels that a subject must have.
        need_target: Whether targets are loaded, and a subject without one is refused.
        nan: ``refuse`` or ``zero``, as `mrh_monai.loading.load_subjects`.
        support: ``mask`` or ``fa``, likewise.
        axes: Array axes of the patches to come.
    """

    def __init__(
        self,
        protocol: Protocol,
        need_target: bool = False,
        nan: str = "refuse",
        support: str = "mask",
        axes: Sequence[int] = CORONAL_PLANE,
    ):
        self.protocol, self.axes = protocol, tuple(axes)
        self.options: dict[str, Any] = {"need_target": need_target, "nan": nan, "support": support}

    def __call__(self, subject: Subject) -> dict[str, Any]:
        """Load one subject."""
        loaded = load_subject(subject, self.protocol, margin=0, axes=self.axes, **self.options)
        affine = torch.from_numpy(loaded.affine)

        def tensor(array: np.ndarray) -> MetaTensor:
            return MetaTensor(torch.from_numpy(array), affine=affine)

        data: dict[str, Any] = {
            "subject": loaded.name,
            "image": tensor(loaded.image.transpose(3, 0, 1, 2)),
            "mask": tensor(loaded.mask[None].astype(np.uint8)),
            "brain": tensor(loaded.brain[None].astype(np.uint8)),
        }
        if loaded.target is not None:
            data["label"] = tensor(loaded.target[None].astype(np.float32))
            data["scored"] = tensor(loaded.scored[None].astype(np.uint8))
        if loaded.largest is not None:
            data["largest"] = loaded.largest
        return data


class SubjectCoefficientsd(Transform):
    """Add a subject's ``gain`` and ``offset``, each (C,), which turn raw intensities into the network's numbers.

    Args:
        scaling: Of the trained network.
        axes: Array axes that a patch spans.
        radius: Half the patch's edge, rounded down.
    """

    def __init__(self, scaling: Scaling, axes: Sequence[int] = CORONAL_PLANE, radius: int = 1):
        self.scaling, self.axes, self.radius = scaling, tuple(axes), radius

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Compute them from ``image``, ``mask`` and ``brain``; the mask becomes the scaling's support."""
        image, mask = data["image"].numpy().transpose(1, 2, 3, 0), data["mask"]
        support = self.scaling.support(mask[0].numpy().astype(bool), self.axes, self.radius)
        brain = data["brain"][0].numpy().astype(bool)
        gain, offset = self.scaling.coefficients(image, support, data.get("largest"), brain)
        mask = MetaTensor(torch.from_numpy(support[None].astype(np.uint8)), affine=mask.affine)
        return {**data, "mask": mask, "gain": torch.from_numpy(gain), "offset": torch.from_numpy(offset)}


class InverseTargetScaled(MapTransform):
    """Predictions back into the stain's own units, 0 outside the mask.

    Args:
        keys: Predictions (1, X, Y, Z).
        scaling: Of the trained network.
    """

    def __init__(self, keys: str | Sequence[str], scaling: Scaling):
        super().__init__(keys)
        self.scaling = scaling

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Multiply by the largest target of the training set."""
        return {**data, **{key: data[key] * self.scaling.target_max for key in self.key_iterator(dict(data))}}


class SaveStaind(MapTransform):
    """Write ``OUTPUT/<subject>/<subject>_<stain>.nii.gz``, float32, on the subject's grid, each file whole or not at all.

    Predictions of a file of patches, which lie on no grid, go into ``<subject>_<stain>.mat`` instead, as the release has them.

    Args:
        keys: Prediction (1, X, Y, Z).
        output_dir: Where to.
        stain: Short name.
    """

    def __init__(self, keys: str | Sequence[str], output_dir: Path | str, stain: str):
        super().__init__(keys)
        self.output_dir, self.stain = Path(output_dir), stain

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        """Write and pass on."""
        for key in self.key_iterator(dict(data)):
            path = self.output_dir / data["subject"] / f"{data['subject']}_{self.stain}.nii.gz"
            voxels = np.asarray(data[key][0].cpu(), np.float32)
            if "largest" in data:
                path = path.with_name(f"{data['subject']}_{self.stain}.mat")
                write_predictions(path, voxels, np.asarray(data["mask"][0].cpu()))
            else:
                write_nifti(path, voxels, np.asarray(data["image"].affine))
            logger.info("%s", path)
        return data


def one_subject(items: Sequence[Mapping[Hashable, Any]]) -> dict[Hashable, Any]:
    """Collate a batch of one subject: a leading axis, and no copy of its voxels.

    Args:
        items: One dict of `LoadSubjectd`.

    Returns:
        Tensors (1, ...), and lists of one of all else.
    """
    (item,) = items
    return {key: _batched(value) if isinstance(value, MetaTensor) else default_collate([value]) for key, value in item.items()}


def _batched(value: MetaTensor) -> MetaTensor:
    """As MONAI collates, but a view instead of a stacked copy."""
    batch = MetaTensor(value.as_tensor()[None])
    batch.meta = default_collate([value.meta])
    batch.applied_operations = [value.applied_operations or TraceKeys.NONE]
    batch.is_batch = True
    return batch
