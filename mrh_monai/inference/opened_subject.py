"""The first half of every prediction: a subject is found, read and measured, so that a network can begin."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.axis_order import CORONAL_AXIS, AxisOrder, affine_in_order, in_order, inverse_order
from mrh_monai.data import InputKind, ReadingOptions, Slabs, input_kind, open_subject
from mrh_monai.errors import MRHWarning
from mrh_monai.inference.prediction import Prediction
from mrh_monai.inference.prediction_record import input_state
from mrh_monai.inference.provenance import NOT_WRITTEN, about_subject
from mrh_monai.inference.voxelwise import Bounds
from mrh_monai.io import Placement
from mrh_monai.protocol import MRProtocol
from mrh_monai.scaling import FAR, Coefficients, Scaling, robust_level
from mrh_monai.subjects import AnySubject, Subject, files_of


@dataclass(frozen=True)
class OpenedSubject:
    """A subject that is ready to be predicted.

    Attributes:
        subject: The subject.
        input_state: Its files as they were before they were read, see `mrh_monai.inference.input_state`.
        slabs: Its images, slab by slab.
        support: (X, Y, Z) bool, the voxels to predict.
        coefficients: Gain and offset that turn raw intensities into the network's numbers.
        affine: (4, 4) from voxel index to RAS+ mm.
        placement: Fields that place the image, from the header of its NIfTI file; None for other formats and for arrays.
        axes: Axis of the files that is X, Y and Z here, with the coronal slices along Y, see `mrh_monai.io.Header`.
        target: (X, Y, Z) in the stain's units; None without a target.
        scored: (X, Y, Z) bool, the voxels of the mask where the target is intact.
    """

    subject: AnySubject
    input_state: dict[str, Any]
    slabs: Slabs
    support: np.ndarray
    coefficients: Coefficients
    affine: np.ndarray
    placement: Placement | None
    axes: AxisOrder
    target: np.ndarray | None
    scored: np.ndarray

    @property
    def kind(self) -> InputKind:
        """What the subject is stored as."""
        return input_kind(self.subject)

    def prediction(
        self, stain: np.ndarray, record: Mapping[str, Any], bundle: Sequence[Path] = (), bounds: Bounds | None = None
    ) -> Prediction:
        """Return the predicted stain as it is given to users and written: with the axes in the order of the files.

        Args:
            stain: (X, Y, Z) float32 in the stain's units.
            record: Result of `record`.
            bundle: Files of the bundle, which the prediction never replaces.
            bounds: Bounds of the intervals of the stain; None if it has no intervals.
        """
        order = inverse_order(self.axes)
        about = dict(record.get("about") or {})
        if about.pop("gives_intervals", False) and bounds is None:
            about["intervals"] = NOT_WRITTEN
        record = {**record, "about": about}
        if bounds is not None:
            bounds = Bounds(*(in_order(each, order) for each in bounds))
        stain, support, affine = in_order(stain, order), in_order(self.support, order), affine_in_order(self.affine, order)
        inputs = (*bundle, *(files_of(self.subject) if isinstance(self.subject, Subject) else ()))
        return Prediction(stain, affine, support, record, self.kind, self.placement, inputs, bounds)

    def record(self, made_by: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
        """Return the record of its prediction.

        Args:
            made_by: Result of `fingerprint`.
            about: Result of `about_network`.
        """
        about = {**about, **about_subject(self.subject)}
        if self.kind.has_grid:
            about["coronal_axis"] = self.axes[CORONAL_AXIS]
        return {"made_by": dict(made_by), **self.input_state, "about": about}


def open_for_prediction(subject: AnySubject, protocol: MRProtocol, scaling: Scaling, options: ReadingOptions) -> OpenedSubject:
    """Read a subject once, check it, and measure what its scaling needs.

    Args:
        subject: The subject.
        protocol: Channels that the subject must have.
        scaling: Scaling of the trained network.
        options: How to read the subject.

    Raises:
        SubjectError: The subject cannot be read, or does not fit the protocol.
    """
    state = input_state(subject)
    opened = open_subject(subject, protocol, options)
    support = scaling.support(opened.mask, options.patch)
    coefficients = scaling.coefficients(opened, support)
    _warn_if_unlike_training(subject.name, opened.level_values, protocol, scaling)
    return OpenedSubject(
        subject=subject,
        input_state=state,
        slabs=opened.slabs,
        support=support,
        coefficients=coefficients,
        affine=opened.affine,
        placement=opened.placement,
        axes=opened.axes,
        target=opened.target,
        scored=opened.scored,
    )


def _warn_if_unlike_training(name: str, values: np.ndarray, protocol: MRProtocol, scaling: Scaling) -> None:
    """Warn where the signals of a subject (N, C) are unlike those of the training subjects."""
    levels = scaling.training_levels
    if levels is None or len(levels.mean) != values.shape[1]:
        return
    worst, away = levels.furthest(values.mean(0, dtype=np.float64) / robust_level(values))
    if abs(away) >= FAR:
        text = (
            f"{name}: {protocol.names[worst]} is furthest from the training subjects, by {away:+.2f} standard deviations of their voxels; "
            "check the order of the channels. If it is right, tissue or protocol differ, and the stain deserves less trust."
        )
        warnings.warn(text, MRHWarning, stacklevel=2)
