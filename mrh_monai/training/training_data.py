"""Training data: the patches of a datalist that train a network, and those that validate it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mrh_monai.data import ReadingOptions, SubjectInMemory, load_subjects
from mrh_monai.patch_geometry import CORONAL_PATCH, PatchGeometry
from mrh_monai.patches import PatchDataset, hold_out, sample_centres
from mrh_monai.protocol import MRProtocol
from mrh_monai.scaling import Coefficients, Scaling, scaling_mode
from mrh_monai.subjects import Datalist, Slices


@dataclass(frozen=True)
class SamplingOptions:
    """How many patches are drawn, and where.

    Attributes:
        patches: Number of patches that train, from all training subjects together; None for every voxel that fits.
        validation_patches: Number of patches that validate.
        method: ``random`` (any voxel of the masks) or ``published`` (the rules of the released code), see `sample_centres`.
        seed: Random seed of the draws.
    """

    patches: int | None = 40_000
    validation_patches: int = 1000
    method: str = "random"
    seed: int = 0


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
        scaling: The scaling of the network that will be trained.
        train: Patches (C, 3, 3) and labels (1, 3, 3) that train.
        validation: Patches and labels that validate.
        subjects: Names of the training subjects.
        patches_per_subject: Number of training patches from each of them.
        validation_subjects: Names of the validation subjects; empty where training patches are held out.
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
            "data": self.digest,
        }


def _digest(*datasets: PatchDataset) -> str:
    """Return the SHA-256 of the values of up to 1,000 patches of each dataset: it differs between two runs on different files."""
    digest = hashlib.sha256()
    for dataset in datasets:
        batch = dataset.batch(torch.arange(min(len(dataset), 1000)))
        for values in batch.values():
            digest.update(values.contiguous().numpy().tobytes())
    return digest.hexdigest()
