"""The steps of a prediction as MONAI transforms, for the configs of bundles."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform, Transform

from mrh_monai.data import ReadingOptions
from mrh_monai.inference.opened_subject import OpenedSubject, open_for_prediction
from mrh_monai.inference.prediction_record import prediction_path
from mrh_monai.inference.voxelwise import Bounds, bounds_of
from mrh_monai.network import Calibration
from mrh_monai.patch_geometry import CORONAL_PATCH, PatchGeometry
from mrh_monai.protocol import MRProtocol
from mrh_monai.scaling import Scaling
from mrh_monai.subjects import AnySubject


class OpenSubjectd(Transform):
    """Turn a `Subject` into the dict that the engines pass on. The images stay on disk, see `open_for_prediction`.

    The result has ``subject`` (its name), ``opened`` (the `OpenedSubject`), ``image`` (its `Slabs`), ``mask`` (1, X, Y, Z) uint8, and
    ``gain`` and ``offset``, each (C,), which turn raw intensities into the network's numbers. Where the target is needed it also has
    ``label`` (1, X, Y, Z) float32 in the stain's units and ``scored`` (1, X, Y, Z) uint8, the voxels on which predictions are judged.
    Volumes are `MetaTensor`s with the affine of the subject.

    Args:
        protocol: Channels that a subject must have.
        scaling: Scaling of the trained network.
        need_target: Whether targets are read, and a subject without one is refused.
        nan: ``refuse`` or ``zero``, see `ReadingOptions`; None for the rule of the scaling mode.
        support: ``mask`` or ``fa``, see `ReadingOptions`.
        patch: Shape of the patches.
    """

    def __init__(
        self,
        protocol: MRProtocol,
        scaling: Scaling,
        need_target: bool = False,
        nan: str | None = None,
        support: str = "mask",
        patch: PatchGeometry = CORONAL_PATCH,
    ):
        self.protocol, self.scaling = protocol, scaling
        rule = scaling.chosen_nan_rule(nan)
        self.options = ReadingOptions(need_target=need_target, nan=rule, support=support, patch=patch)

    def __call__(self, subject: AnySubject) -> dict[str, Any]:
        """Open one subject."""
        opened = open_for_prediction(subject, self.protocol, self.scaling, self.options)
        affine = torch.from_numpy(opened.affine)

        def tensor(array: np.ndarray, dtype: type) -> MetaTensor:
            return MetaTensor(torch.from_numpy(array[None].astype(dtype)), affine=affine)

        data: dict[str, Any] = {
            "subject": subject.name,
            "opened": opened,
            "image": opened.slabs,
            "mask": tensor(opened.support, np.uint8),
            "gain": torch.from_numpy(opened.coefficients.gain),
            "offset": torch.from_numpy(opened.coefficients.offset),
        }
        if opened.target is not None:
            data["label"] = tensor(opened.target, np.float32)
            data["scored"] = tensor(opened.scored, np.uint8)
        return data


class InverseTargetScaled(MapTransform):
    """Bring predictions back into the stain's own units; they stay 0 outside the mask.

    The prediction of an `IntervalNetwork`, (2, X, Y, Z), becomes the stain (1, X, Y, Z), and the bounds of its intervals are added under
    its key with ``_lower`` and ``_upper`` behind it.

    Args:
        keys: Keys of the predictions (1, X, Y, Z).
        scaling: Scaling of the trained network.
        calibration: How wide intervals must be; needed for an `IntervalNetwork` only.
    """

    def __init__(self, keys: str | Sequence[str], scaling: Scaling, calibration: Calibration | None = None):
        super().__init__(keys)
        self.scaling, self.calibration = scaling, calibration

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Bring the predictions back into the units of the stain."""
        mask, found = data["mask"] > 0, dict(data)
        for key in self.key_iterator(dict(data)):
            stain = self.scaling.unscaled(data[key][:1]) * mask.to(data[key].device)
            found[key] = stain
            if len(data[key]) == 2 and self.calibration is not None:
                found[f"{key}_lower"], found[f"{key}_upper"] = bounds_of(stain, data[key][1:], self.calibration, self.scaling)
        return found


class SaveStaind(MapTransform):
    """Write ``OUTPUT/<subject>/<subject>_<stain>.nii.gz``, float32, on the subject's grid, and its record beside it, see `Prediction.save`.

    Where there are bounds, as `InverseTargetScaled` adds them, they are written too.

    Predictions of a patch file, which lies on no grid, are written as ``<subject>_<stain>.mat``, in the form of the released code.

    Args:
        keys: Keys of the predictions (1, X, Y, Z).
        output_dir: Folder of the results.
        stain: Short name of the stain.
        made_by: Result of `fingerprint`.
        about: Result of `about_network`, for reports.
        overwrite: Whether a file that is not a prediction may be replaced.
    """

    def __init__(
        self,
        keys: str | Sequence[str],
        output_dir: Path | str,
        stain: str,
        made_by: Mapping[str, Any],
        about: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ):
        super().__init__(keys)
        self.overwrite = overwrite
        self.output_dir, self.stain, self.made_by, self.about = Path(output_dir), stain, dict(made_by), dict(about or {})

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        """Write the predictions and pass the data on."""
        for key in self.key_iterator(dict(data)):
            opened: OpenedSubject = data["opened"]
            stain, *bounds = (np.asarray(data[name][0].cpu(), np.float32) for name in (key, f"{key}_lower", f"{key}_upper") if name in data)
            record = opened.record(self.made_by, self.about)
            prediction = opened.prediction(stain, record, bounds=Bounds(*bounds) if bounds else None)
            prediction.save(prediction_path(self.output_dir, opened.subject, self.stain), self.overwrite)
        return data


def only_item(items: Sequence[Mapping[Hashable, Any]]) -> Mapping[Hashable, Any]:
    """Collate a batch of one subject: return that subject."""
    (item,) = items
    return item


def prepare_subject(
    data: Mapping[str, Any], device: torch.device | None = None, non_blocking: bool = False, **_: Any
) -> tuple[Any, torch.Tensor | None, tuple[()], dict[str, Any]]:
    """Return what MONAI's evaluator passes to the inferer: images, label, and the other arguments of `VoxelwiseInferer`.

    Args:
        data: Result of `OpenSubjectd`.
        device: Not used: slabs and results move between devices inside the inferer.
        non_blocking: Not used.
    """
    return data["image"], data.get("label"), (), {key: data[key] for key in ("mask", "gain", "offset")}
