"""Training data: the patches of a datalist that train a network, and those that validate it."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mrh_monai.alignment import Alignment, align_stains, inputs_digest, read_alignment, write_alignment
from mrh_monai.data import ReadingOptions, SubjectInMemory, load_subjects
from mrh_monai.distributed import decide_on_first_process, is_first_process
from mrh_monai.errors import MRHWarning, SubjectError
from mrh_monai.intervals import draw_interval_data
from mrh_monai.patch_geometry import CORONAL_PATCH, PatchGeometry
from mrh_monai.patches import PatchDataset, hold_out, sample_centres
from mrh_monai.protocol import MRProtocol
from mrh_monai.scaling import Coefficients, Scaling, scaling_mode
from mrh_monai.subjects import Datalist, Slices

logger = logging.getLogger(__name__)

ALIGNMENT_MODES = ("off", "auto", "on")
ALIGNMENT = "alignment"  # folder in the output folder


@dataclass(frozen=True)
class AlignmentOptions:
    """Whether the stains of the training subjects are moved onto their MR images first, see `mrh_monai.alignment.align_stains`.

    Attributes:
        mode: ``off`` (never), ``auto`` (where voxels that were held out show that it helps) or ``on`` (always).
        seed: Random seed of the alignment.
        resume_from: Folder in which an earlier run has written its alignment, which is then taken from there; None to align anew.
    """

    mode: str = "off"
    seed: int = 0
    resume_from: Path | None = None


@dataclass(frozen=True)
class SamplingOptions:
    """How many patches are drawn, and where.

    Attributes:
        patches: Number of patches that train, from all training subjects together; None for every voxel that fits.
        validation_patches: Number of patches that validate.
        method: ``random`` (any voxel of the masks) or ``published`` (the rules of the released code), see `sample_centres`.
        seed: Random seed of the draws.
        alignment: Whether the stains of the training subjects are moved onto their MR images before patches are drawn from them. Those of
            validation subjects stay where they are.
    """

    patches: int | None = 40_000
    validation_patches: int = 1000
    method: str = "random"
    seed: int = 0
    alignment: AlignmentOptions = AlignmentOptions()


class TrainingData:
    """The patches of a training run, drawn once.

    If the datalist has validation subjects, patches are drawn from them. Otherwise some of the training patches are held out, as published.

    Args:
        datalist: `Datalist`, or JSON file with ``training`` and, if there are any, ``validation`` subjects; or a patch file.
        protocol: Channels of every subject.
        sampling: Number and places of the patches.
        scaling: Name of a scaling mode, which is fitted to the training subjects; or the scaling of the network from which training
            starts, whose constants are kept.
        slices: Coronal ranges (start, stop) to which all subjects are restricted, counted from 0, the stop excluded; None for all slices.
        nan: ``refuse``, ``zero``, or None for the rule of the scaling mode.
        patch: Shape of the patches.

    Attributes:
        alignment: What the alignment found; None without one.
        scaling: The scaling of the network that will be trained.
        train: Patches (C, 3, 3) and labels (1, 3, 3) that train.
        validation: Patches and labels that validate.
        subjects: Names of the training subjects.
        patches_per_subject: Number of training patches from each of them.
        validation_subjects: Names of the validation subjects; empty where training patches are held out.
        interval_data: Voxels to which the interval head is fitted, and those of each validation subject on which it is measured.
        digest: SHA-256 of a part of the patches, by which a resumed run recognises its data.

    Raises:
        DatalistError: The datalist cannot be read, or has no training subjects.
        SubjectError: A subject cannot be read, or has no target or no voxels from which to draw.
        OptionError: The scaling mode, the sampling method or the rule for NaN is unknown.
    """

    def __init__(
        self,
        datalist: Datalist | Path | str | None,
        protocol: MRProtocol,
        sampling: SamplingOptions = SamplingOptions(),
        scaling: Scaling | str = "robust",
        slices: Slices | None = None,
        nan: str | None = None,
        patch: PatchGeometry = CORONAL_PATCH,
    ):
        listed, where = (datalist, "datalist") if isinstance(datalist, Datalist) else (Datalist.read(datalist), datalist)
        training_subjects = [subject.within(slices) for subject in listed.section("training", where)]
        validation_subjects = [subject.within(slices) for subject in listed.validation]
        mode = scaling_mode(scaling) if isinstance(scaling, str) else type(scaling)
        need_fa = sampling.method == "published"
        reading = ReadingOptions(need_target=True, need_fa=need_fa, nan=mode.chosen_nan_rule(nan), patch=patch)
        training = load_subjects(training_subjects, protocol, reading)
        self.scaling = mode.fit(training, protocol.weights) if isinstance(scaling, str) else scaling.with_targets_of(training)
        options = sampling.alignment
        inputs = None if options.mode == "off" else inputs_digest(training, self.scaling)
        self._alignment_settings = {"align": options.mode, "seed": options.seed, "inputs": inputs}
        self.alignment, self._not_aligned = _align(training, self.scaling, options, self._alignment_settings)
        if self.alignment is not None:
            training = list(self.alignment.subjects)

        def dataset(subjects: Sequence[SubjectInMemory], centres: np.ndarray, coefficients: Sequence[Coefficients]) -> PatchDataset:
            return PatchDataset(subjects, centres, coefficients, self.scaling.target_max, patch, self.scaling.target_min)

        coefficients = self.scaling.training_coefficients(training)
        count, held_out_count, seed = sampling.patches, sampling.validation_patches, sampling.seed
        if validation_subjects:
            centres = sample_centres(training, count, seed, sampling.method, patch)
            validating = load_subjects(validation_subjects, protocol, reading)
            held_out = sample_centres(validating, held_out_count, seed + 1, sampling.method, patch)
            own = [self.scaling.coefficients(subject, subject.mask) for subject in validating]
            self.validation = dataset(validating, held_out, own)
        else:
            wanted = None if count is None else count + held_out_count
            centres, held_out = hold_out(sample_centres(training, wanted, seed, sampling.method, patch), held_out_count, seed)
            self.validation = dataset(training, held_out, coefficients)
        self.train = dataset(training, centres, coefficients)
        held = validating if validation_subjects else []
        self.interval_data = draw_interval_data(self.train, training, centres, self.validation, held, seed, patch)
        self.subjects = [subject.name for subject in training_subjects]
        self.validation_subjects = [subject.name for subject in validation_subjects]
        self.patches_per_subject = np.bincount(centres[:, 0], minlength=len(training_subjects)).tolist()
        self.digest = _digest(self.train, self.validation)

    @property
    def recorded(self) -> dict[str, Any]:
        """What the sidecar of the weights records of the data, as plain values."""
        return {
            "patches": len(self.train),
            "subjects": self.subjects,
            "patches_per_subject": self.patches_per_subject,
            "validation_patches": len(self.validation),
            "validation_subjects": self.validation_subjects,
            "alignment": self._not_aligned if self.alignment is None else self.alignment.summary,
            "data": self.digest,
        }

    def write_alignment(self, output_dir: Path | str) -> None:
        """Write what the alignment found into ``OUTPUT_DIR/alignment``, in place of that of an earlier run, see `write_alignment`.

        Args:
            output_dir: Folder of the results.

        Raises:
            OutputError: A file cannot be written.
        """
        if is_first_process():
            write_alignment(self.alignment, Path(output_dir) / ALIGNMENT, self._alignment_settings)


def _align(
    subjects: Sequence[SubjectInMemory], scaling: Scaling, options: AlignmentOptions, settings: dict[str, Any]
) -> tuple[Alignment | None, str | None]:
    """Return the aligned subjects, with the same displacements in every process, or None and why there is nothing to align."""
    if options.mode == "off":
        return None, None
    alignment, reason = None, None
    if is_first_process():
        if options.resume_from is not None:
            alignment = read_alignment(options.resume_from, subjects, settings)
        try:
            alignment = alignment or align_stains(subjects, scaling, options.seed, always=options.mode == "on", progress=True)
        except SubjectError as error:
            if options.mode == "on":
                raise
            reason = f"the training stains stay where they are: {error}"
            logger.info("%s", reason)
    if alignment is not None:
        logger.info("%s", alignment.summary)
        for doubt in alignment.doubts:
            warnings.warn(f"the alignment of the training stains may be wrong: {doubt}", MRHWarning, stacklevel=3)
    found = decide_on_first_process(lambda: None if alignment is None else (alignment.control, alignment.trial, alignment.is_moved))
    if alignment is None and found is not None:
        alignment = Alignment.from_control(subjects, *found)
    return alignment, reason


def _digest(*datasets: PatchDataset) -> str:
    """Return the SHA-256 of the values of up to 1,000 patches of each dataset: it differs between two runs on different files."""
    digest = hashlib.sha256()
    for dataset in datasets:
        batch = dataset.batch(torch.arange(min(len(dataset), 1000)))
        for values in batch.values():
            digest.update(values.contiguous().numpy().tobytes())
    return digest.hexdigest()
