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

from mrh_monai.data import CORONAL_PLANE, Subject, open_subject
from mrh_monai.inference.prediction_record import forget, made_of, prediction_path, write_record
from mrh_monai.inference.provenance import about_files
from mrh_monai.io import write_nifti, write_predictions
from mrh_monai.protocol import MRProtocol
from mrh_monai.scaling import Scaling

logger = logging.getLogger(__name__)


class OpenSubjectd(Transform):
    """A `Subject` to the dict that the engines pass on, its images left on disk.

    The result has ``subject`` (its name), ``files`` (the `Subject`), ``made_of`` (what they were before they were read), ``image`` (its
    `Slabs`), ``mask`` (1, X, Y, Z) uint8, ``gain`` and ``offset``, each (C,), which turn raw intensities into the network's numbers, and
    where the target is needed ``label`` (1, X, Y, Z) float32 in the stain's units and ``scored`` (1, X, Y, Z) uint8, the voxels to judge
    by. Volumes are `MetaTensor`s with the subject's affine. A file of patches also has ``largest``, its largest intensity.

    Args:
        protocol: The channels that a subject must have.
        scaling: Of the trained network.
        need_target: Whether targets are loaded, and a subject without one is refused.
        nan: ``refuse`` or ``zero``, as `mrh_monai.data.subject_voxels.load_subjects`.
        support: ``mask`` or ``fa``, likewise.
        axes: Array axes of the patches to come.
        radius: Half a patch's edge, rounded down.
    """

    def __init__(
        self,
        protocol: MRProtocol,
        scaling: Scaling,
        need_target: bool = False,
        nan: str = "refuse",
        support: str = "mask",
        axes: Sequence[int] = CORONAL_PLANE,
        radius: int = 1,
    ):
        self.protocol, self.scaling, self.axes, self.radius = protocol, scaling, tuple(axes), radius
        self.options: dict[str, Any] = {"need_target": need_target, "nan": nan, "support": support}

    def __call__(self, subject: Subject) -> dict[str, Any]:
        """Look through one subject."""
        inputs = made_of(subject)
        opened = open_subject(subject, self.protocol, margin=self.radius, axes=self.axes, **self.options)
        support = self.scaling.support(opened.mask, self.axes, self.radius)
        gain, offset = self.scaling.coefficients(opened, support)
        affine = torch.from_numpy(opened.affine)

        def tensor(array: np.ndarray, dtype: type) -> MetaTensor:
            return MetaTensor(torch.from_numpy(array[None].astype(dtype)), affine=affine)

        data: dict[str, Any] = {
            "subject": opened.name,
            "files": subject,
            "made_of": inputs,
            "image": opened.slabs,
            "mask": tensor(support, np.uint8),
            "gain": torch.from_numpy(gain),
            "offset": torch.from_numpy(offset),
        }
        if opened.target is not None:
            data["label"] = tensor(opened.target, np.float32)
            data["scored"] = tensor(opened.scored, np.uint8)
        if opened.largest is not None:
            data["largest"] = opened.largest
        return data


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

    Predictions of a file of patches, which lie on no grid, go into ``<subject>_<stain>.mat`` instead, as the release has them. A JSON file
    beside each says what it was made of, see `mrh_monai.inference.prediction_record`.

    Args:
        keys: Prediction (1, X, Y, Z).
        output_dir: Where to.
        stain: Short name.
        made_by: `mrh_monai.inference.prediction_record.fingerprint`.
        about: `mrh_monai.inference.provenance.about_network`, for reports.
    """

    def __init__(
        self,
        keys: str | Sequence[str],
        output_dir: Path | str,
        stain: str,
        made_by: Mapping[str, Any],
        about: Mapping[str, Any] | None = None,
    ):
        super().__init__(keys)
        self.output_dir, self.stain, self.made_by, self.about = Path(output_dir), stain, made_by, dict(about or {})

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        """Write and pass on."""
        for key in self.key_iterator(dict(data)):
            path = prediction_path(self.output_dir, data["files"], self.stain)
            voxels = np.asarray(data[key][0].cpu(), np.float32)
            forget(path)
            if "largest" in data:
                write_predictions(path, voxels, np.asarray(data["mask"][0].cpu()))
            else:
                write_nifti(path, voxels, np.asarray(data["mask"].affine))
            write_record(path, data["made_of"], self.made_by, self.about | {"files": about_files(data["files"])})
            logger.info("%s", path)
        return data


def only_item(items: Sequence[Mapping[Hashable, Any]]) -> Mapping[Hashable, Any]:
    """Collate a batch of one subject, which is that subject."""
    (item,) = items
    return item


def prepare_subject(
    data: Mapping[str, Any], device: torch.device | None = None, non_blocking: bool = False, **_: Any
) -> tuple[Any, torch.Tensor | None, tuple, dict[str, Any]]:
    """What MONAI's evaluator passes to the inferer: images, label, and what `VoxelwiseInferer` wants besides.

    Args:
        data: Of `OpenSubjectd`.
        device: Ignored: slabs and results go to and fro by themselves.
        non_blocking: Likewise.
    """
    return data["image"], data.get("label"), (), {key: data[key] for key in ("mask", "gain", "offset")}
