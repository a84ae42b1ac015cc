"""New intervals for a trained bundle, from subjects with histology that took no part in its training."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from mrh_monai.data import NanRule, ReadingOptions, SubjectInMemory, load_subjects, need_grid
from mrh_monai.devices import choose_device
from mrh_monai.errors import DatalistError, SubjectError
from mrh_monai.intervals.head_fitting import fit_interval_head
from mrh_monai.intervals.held_subjects import measure_held_subject
from mrh_monai.intervals.interval_data import FITTED_VOXELS, HELD_VOXELS, LEAST_VOXELS, drawn_centres
from mrh_monai.io import writable_folder
from mrh_monai.network import Calibration, HeldSubject, IntervalHead, MRHNet, Sidecar, load_interval_head, load_network, save_intervals
from mrh_monai.patches import PatchDataset
from mrh_monai.protocol import MRProtocol
from mrh_monai.scaling import Coefficients
from mrh_monai.subjects import AnySubject, Datalist, bundle_coronal_axis, checked_coronal_axis

logger = logging.getLogger(__name__)

MOST_TIMES = 3.0  # by which the largest stain of a subject may differ from that of the network


def recalibrate(
    bundle: Path | str,
    datalist: Datalist | Path | str,
    section: str = "test",
    device: str = "auto",
    nan: NanRule | None = None,
    coronal_axis: int | None = None,
) -> Calibration:
    """Measure how large the errors of a bundle are on subjects with histology, and store it in the bundle in place of what was there.

    The interval head of the bundle stays as it is. A bundle without one, such as an imported network, gets one: for each subject it is
    fitted to the other subjects and measured on this one; the head that is stored is fitted to all of them.

    Args:
        bundle: Bundle folder with trained weights. Its ``models/model.json`` and ``models/model_intervals.pt`` are written.
        datalist: Subjects with targets.
        section: Section of the datalist: ``training``, ``validation`` or ``test``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        nan: ``refuse``, ``zero``, or None for the rule of the scaling.
        coronal_axis: Array axis of the coronal slices of subjects that do not state it; None for that of the bundle.

    Returns:
        What was measured.

    Raises:
        DatalistError: A subject has the name of one that trained the network; or there is one subject only, and no head yet.
        SubjectError: A subject cannot be read, has no target or too few voxels, or does not fit the bundle, or its stain has other units.
        OutputError: The bundle cannot be written.
        CheckpointError: The bundle has no trained weights, or they do not fit its protocol.
    """
    protocol = MRProtocol.from_bundle(bundle)
    weights = Path(bundle) / "models" / "model.pt"
    network, sidecar = load_network(weights, protocol.names)
    network.to(choose_device(device))
    writable_folder(weights.parent)
    listed = datalist if isinstance(datalist, Datalist) else Datalist.read(datalist)
    where = "datalist" if isinstance(datalist, Datalist) else datalist
    axis = bundle_coronal_axis(Path(bundle)) if coronal_axis is None else checked_coronal_axis(coronal_axis)
    entries = listed.with_default_axis(axis).section(section, where)
    _check_names(entries, sidecar, where)
    need_grid(entries, "to calibrate")
    options = ReadingOptions(need_target=True, nan=sidecar.scaling.chosen_nan_rule(nan), patch=sidecar.patch)
    subjects = load_subjects(entries, protocol, options)
    _check_units(subjects, sidecar)
    coefficients = [sidecar.scaling.coefficients(subject, subject.mask) for subject in subjects]
    head = None if sidecar.intervals is None else load_interval_head(weights, sidecar)
    if head is None and len(subjects) < 2:
        expected = "at least two subjects: one to fit an interval head to, and one to measure it on"
        raise DatalistError(where, expected, f"{len(subjects)}", "add subjects with histology")
    held = [_measured(index, network, head, subjects, coefficients, sidecar) for index in range(len(subjects))]
    head = head or _fitted(network, subjects, coefficients, sidecar)
    calibration = Calibration(tuple(held))
    logger.info("intervals: %s", calibration.held)
    return save_intervals(weights, sidecar, calibration, head)


def _check_names(entries: tuple[AnySubject, ...], sidecar: Sidecar, where: object) -> None:
    trained = set(sidecar.source.get("subjects") or ())
    both = [subject.name for subject in entries if subject.name in trained]
    if both:
        expected = "subjects that took no part in the training, because a network errs less on those that it knows"
        remedy = "leave them out; if they are other animals, give them other names in the datalist"
        raise DatalistError(where, expected, f"the names of training subjects: {', '.join(both)}", remedy)


def _check_units(subjects: list[SubjectInMemory], sidecar: Sidecar) -> None:
    """Refuse stains on another scale than that of the network, such as 0 to 255 where it predicts 0 to 1: errors would mean nothing."""
    for subject in subjects:
        assert subject.target is not None
        largest = float(np.percentile(subject.target[subject.scored], 99.9)) - sidecar.scaling.target_min
        if not 1 / MOST_TIMES < largest / sidecar.scaling.target_range < MOST_TIMES:
            expected = f"a stain on the scale of the network ({sidecar.units}, up to about {sidecar.scaling.target_max:.4g})"
            remedy = "scale the stain; an imported network has the scale of its stain from `mrh import-matlab --target-max`"
            raise SubjectError(subject.name, expected, f"up to about {largest + sidecar.scaling.target_min:.4g}", remedy)


def _measured(
    index: int,
    network: MRHNet,
    head: IntervalHead | None,
    subjects: list[SubjectInMemory],
    coefficients: list[Coefficients],
    sidecar: Sidecar,
) -> HeldSubject:
    if head is None:
        others = [each for each in range(len(subjects)) if each != index]
        head = _fitted(network, [subjects[each] for each in others], [coefficients[each] for each in others], sidecar)
    patches = _patches(subjects[index : index + 1], coefficients[index : index + 1], HELD_VOXELS, sidecar)
    return measure_held_subject(subjects[index].name, network, head, patches)


def _fitted(network: MRHNet, subjects: list[SubjectInMemory], coefficients: list[Coefficients], sidecar: Sidecar) -> IntervalHead:
    patches = _patches(subjects, coefficients, FITTED_VOXELS, sidecar)
    if len(patches) < LEAST_VOXELS:
        names = ", ".join(subject.name for subject in subjects)
        raise SubjectError(names, f"at least {LEAST_VOXELS} voxels with a stain", f"{len(patches)}", "give a larger mask")
    return fit_interval_head(network, patches)


def _patches(subjects: list[SubjectInMemory], coefficients: list[Coefficients], count: int, sidecar: Sidecar) -> PatchDataset:
    centres = drawn_centres(subjects, count, 0, sidecar.patch)
    scaling = sidecar.scaling
    return PatchDataset(subjects, centres, coefficients, scaling.target_max, sidecar.patch, scaling.target_min)
