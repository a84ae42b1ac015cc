"""Bundles as Python objects: load a bundle once, predict many subjects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.data import NanRule, ReadingOptions, Support
from mrh_monai.devices import PrecisionOption, check_precision, choose_device
from mrh_monai.inference.opened_subject import open_for_prediction
from mrh_monai.inference.prediction import Prediction
from mrh_monai.inference.prediction_record import fingerprint
from mrh_monai.inference.provenance import about_network
from mrh_monai.inference.voxelwise import BATCH_SIZE, Computing, TrainedNetwork
from mrh_monai.network import IntervalNetwork, MRHNet, Sidecar, bundle_files, load_network, with_intervals
from mrh_monai.protocol import MRProtocol
from mrh_monai.subjects import MRH_NET_LAYOUT, Layout, SubjectLike, as_subject, bundle_coronal_axis, with_default_axis

WEIGHTS = Path("models") / "model.pt"


@dataclass(frozen=True)
class PredictionOptions:
    """How a bundle predicts.

    Attributes:
        device: ``auto`` (CUDA where there is a device), ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``float32``, ``tf32``, ``bf16``, or ``auto`` (bf16 where the device is built for it).
        batch_size: Number of patches in a batch; only speed and memory depend on it.
        nan: ``refuse``, or ``zero`` to set NaN and Inf inside the mask to 0; None to use ``zero`` with published
            scaling, and ``refuse`` otherwise.
        support: ``mask`` (FA > 0 where there is no mask), or ``fa`` to predict where FA > 0 even if there is a mask.
        coronal_axis: Array axis of the coronal slices of subjects that do not state it; None for ``coronal_axis`` in the bundle's
            `configs/inference.yaml`.
        intervals: Whether each voxel gets an interval, if the bundle has an interval head that was measured on subjects.
    """

    device: str = "auto"
    precision: PrecisionOption = "float32"
    batch_size: int = BATCH_SIZE
    nan: NanRule | None = None
    support: Support = "mask"
    coronal_axis: int | None = None
    intervals: bool = True


class Predictor:
    """A bundle's trained network, ready to predict subjects. `load_bundle` makes one.

    Args:
        network: Trained network; an `IntervalNetwork` to predict with intervals.
        sidecar: Sidecar of the weights.
        protocol: Channels that each subject must have.
        made_by: Result of `fingerprint`, for the records of predictions.
        options: How to predict.
        name: Name of the bundle.
        files: Files of the bundle, which no prediction replaces.

    Attributes:
        name: Name of the bundle.
        network: The network, on the device that computes.
        trained: The network with its scaling, the shape of its patches and, if it has one, its interval head.
        sidecar: Sidecar of the weights.
        protocol: Channels that each subject must have.
        stain: Short name of the stain.
        units: Units of the stain's intensities.
    """

    def __init__(
        self,
        network: MRHNet | IntervalNetwork,
        sidecar: Sidecar,
        protocol: MRProtocol,
        made_by: dict[str, Any],
        options: PredictionOptions = PredictionOptions(),
        name: str = "",
        files: Sequence[Path] = (),
    ):
        self.name, self.files = name, files
        self.device = choose_device(options.device)
        check_precision(self.device, options.precision)
        self.computing = Computing(self.device, options.precision, options.batch_size)
        whole = network.to(self.device).eval()
        self.network = whole.network if isinstance(whole, IntervalNetwork) else whole
        self.sidecar, self.protocol, self.options = sidecar, protocol, options
        self.trained = TrainedNetwork(whole, sidecar.scaling, sidecar.patch, sidecar.intervals)
        self.stain, self.units = sidecar.stain, sidecar.units
        self.made_by = made_by
        # Unknown values of options are refused before the first subject.
        self.reading()

    def reading(self, need_target: bool = False) -> ReadingOptions:
        """Return how subjects are read."""
        nan = self.sidecar.scaling.chosen_nan_rule(self.options.nan)
        return ReadingOptions(need_target=need_target, nan=nan, support=self.options.support, patch=self.sidecar.patch)

    def predict(
        self,
        subject: SubjectLike,
        *,
        mask: np.ndarray | None = None,
        affine: np.ndarray | None = None,
        layout: Layout = MRH_NET_LAYOUT,
        slices: Sequence[tuple[int, int]] | None = None,
        progress: bool = False,
    ) -> Prediction:
        """Predict the stain of one subject.

        Args:
            subject: What `find_input` takes (a subject's folder, a 4D image with its mask beside it, a manifest, a patch file), or a
                `Subject`, `SubjectArrays`, or an image array (X, Y, Z, C) of raw intensities.
            mask: (X, Y, Z) of 0 and 1, the brain; only with an image array, which needs it.
            affine: (4, 4) from voxel index to RAS+ mm; only with an image array, which needs it.
            layout: File patterns inside a subject's folder.
            slices: Coronal ranges (start, stop) to predict, counted from 0, the stop excluded; None for all slices.
            progress: Whether to show a progress bar on a terminal.

        Raises:
            SubjectError: The subject cannot be read, or does not fit the bundle.
        """
        (files,) = with_default_axis([as_subject(subject, mask, affine, layout).within(slices)], self.options.coronal_axis)
        opened = open_for_prediction(files, self.protocol, self.sidecar.scaling, self.reading())
        computing = replace(self.computing, progress=files.name if progress else None)
        try:
            stain, bounds = self.trained.predict_with_bounds(opened.slabs, opened.support, opened.coefficients, computing)
        finally:
            opened.slabs.close()
        record = opened.record(self.made_by, about_network(self.sidecar, self.protocol))
        return opened.prediction(stain, record, self.files, bounds)


def load_bundle(bundle: Path | str, options: PredictionOptions = PredictionOptions()) -> Predictor:
    """Load the trained network of a bundle, to predict many subjects.

    Args:
        bundle: Bundle folder with trained weights in ``models/``.
        options: How to predict.

    Raises:
        OptionError: The folder is not a bundle, or an option has an impossible value.
        CheckpointError: The bundle has no trained weights, or weights that do not fit its protocol.
    """
    protocol = MRProtocol.from_bundle(bundle)
    weights = Path(bundle) / WEIGHTS
    network, sidecar = load_network(weights, protocol.names)
    whole = with_intervals(network, weights, sidecar, options.intervals)
    if options.coronal_axis is None:
        options = replace(options, coronal_axis=bundle_coronal_axis(Path(bundle)))
    intervals = options.intervals and sidecar.gives_intervals
    made_by = fingerprint(weights, precision=options.precision, nan=options.nan, support=options.support, intervals=intervals)
    return Predictor(whole, sidecar, protocol, made_by, options, Path(bundle).resolve().name, bundle_files(bundle))


def predict(
    bundle: Path | str,
    subject: SubjectLike,
    *,
    mask: np.ndarray | None = None,
    affine: np.ndarray | None = None,
    layout: Layout = MRH_NET_LAYOUT,
    slices: Sequence[tuple[int, int]] | None = None,
    options: PredictionOptions = PredictionOptions(),
) -> Prediction:
    """Predict the stain of one subject with a bundle.

    Args:
        bundle: Bundle folder with trained weights in ``models/``.
        subject: What `Predictor.predict` takes: a path that stands for a subject, a `Subject`, or an image array (X, Y, Z, C).
        mask: (X, Y, Z) of 0 and 1, the brain; only with an image array.
        affine: (4, 4) from voxel index to RAS+ mm; only with an image array.
        layout: File patterns inside a subject's folder.
        slices: Coronal ranges (start, stop) to predict, counted from 0, the stop excluded; None for all slices.
        options: How to predict.

    Returns:
        The stain with its affine, mask and record; ``.save(path)`` writes it.

    Raises:
        MRHError: The bundle or the subject cannot be used; the sentence says why and what to do.
    """
    return load_bundle(bundle, options).predict(subject, mask=mask, affine=affine, layout=layout, slices=slices)
