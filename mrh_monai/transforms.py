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

from mrh_monai.loaded import CORONAL_PLANE
from mrh_monai.loading import load_subject
from mrh_monai.protocol import Protocol
from mrh_monai.scaling import Scaling
from mrh_monai.subjects import Subject
from mrh_monai.volumes import write_nifti

logger = logging.getLogger(__name__)


class LoadSubjectd(Transform):
    """A `Subject` to the dict that the engines pass on.

    The result has ``subject`` (its name), ``image`` (C, X, Y, Z) as stored, ``mask`` (1, X, Y, Z) uint8, and where the target
    is needed ``label`` (1, X, Y, Z) float32 in the stain's units. Images are `MetaTensor`s with the subject's affine.

    Args:
        protocol: The channels that a subject must have.
        need_target: Whether targets are loaded, and a subject without one is refused.
        nan: ``refuse`` or ``zero``, as `mrh_monai.loading.load_subjects`.
        axes: Array axes of the patches to come.
    """

    def __init__(self, protocol: Protocol, need_target: bool = False, nan: str = "refuse", axes: Sequence[int] = CORONAL_PLANE):
        self.protocol, self.need_target, self.nan, self.axes = protocol, need_target, nan, tuple(axes)

    def __call__(self, subject: Subject) -> dict[str, Any]:
        """Load one subject."""
        loaded = load_subject(subject, self.protocol, need_target=self.need_target, nan=self.nan, margin=0, axes=self.axes)
        affine = torch.from_numpy(loaded.affine)

        def tensor(array: np.ndarray) -> MetaTensor:
            return MetaTensor(torch.from_numpy(array), affine=affine)

        data = {
            "subject": loaded.name,
            "image": tensor(loaded.image.transpose(3, 0, 1, 2)),
            "mask": tensor(loaded.mask[None].astype(np.uint8)),
        }
        return data if loaded.target is None else {**data, "label": tensor(loaded.target[None].astype(np.float32))}


class SubjectCoefficientsd(Transform):
    """Add a subject's ``gain`` and ``offset``, each (C,), which turn raw intensities into the network's numbers.

    Args:
        scaling: Of the trained network.
    """

    def __init__(self, scaling: Scaling):
        self.scaling = scaling

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Compute them from ``image`` and ``mask``, which stay as they are."""
        image, mask = data["image"].numpy().transpose(1, 2, 3, 0), data["mask"][0].numpy().astype(bool)
        gain, offset = self.scaling.coefficients(image, mask)
        return {**data, "gain": torch.from_numpy(gain), "offset": torch.from_numpy(offset)}


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
            write_nifti(path, np.asarray(data[key][0].cpu(), np.float32), np.asarray(data["image"].affine))
            logger.info("%s", path)
        return data
