"""A datalist turned into the patches that train and the patches that validate."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mrh_monai.data import CORONAL_PLANE, LoadedSubject, Slices, load_subjects, read_datalist, restrict, section
from mrh_monai.patches import PatchDataset, hold_out, sample_centres
from mrh_monai.protocol import MRProtocol
from mrh_monai.scaling import Scaling, fit_scaling, largest_target, nan_rule, training_coefficients


class TrainingData:
    """The patches of a training run, drawn once.

    Where the datalist has subjects to validate on, their patches do; otherwise some of the training patches are held out, as published.

    Args:
        datalist: JSON file with ``training`` and perhaps ``validation``; or a file of patches.
        protocol: The channels of every subject.
        patches: How many patches to draw for training; None for every voxel that fits.
        validation_patches: How many to validate on.
        sampling: ``random`` or ``published``; validation patches are drawn likewise.
        scaling: ``robust`` or ``published``.
        inherited: Scaling of the network that training starts from, whose constants are kept; None to fit all on the training subjects.
        slices: Coronal ranges to confine all subjects to; None for all.
        nan: ``refuse``, ``zero``, or None: as the scaling goes.
        seed: Of all draws.
        axes: Array axes that a patch spans.
        radius: Half the patch's edge, rounded down.

    Attributes:
        scaling: The constants, fitted on the training subjects.
        train: Patches (C, 3, 3) and labels (1, 3, 3) to train on.
        validation: Likewise, to validate on.
        subjects: Names of the training subjects.
        patches_per_subject: How many patches each of them gives.
        validation_subjects: Names of the subjects validated on; empty where training patches are held out instead.
        digest: SHA-256 of a part of the patches, by which a resumed run knows its data.
    """

    def __init__(
        self,
        datalist: Path | str,
        protocol: MRProtocol,
        patches: int | None = 40_000,
        validation_patches: int = 1000,
        sampling: str = "random",
        scaling: str = "robust",
        inherited: Scaling | None = None,
        slices: Slices | None = None,
        nan: str | None = None,
        seed: int = 0,
        axes: Sequence[int] = CORONAL_PLANE,
        radius: int = 1,
    ):
        lists = read_datalist(datalist)
        chosen = [restrict(s, slices) for s in section(lists, "training", datalist)]
        others = [restrict(s, slices) for s in lists["validation"]]
        options: dict[str, Any] = {
            "need_target": True,
            "need_fa": sampling == "published",
            "nan": nan_rule(inherited.mode if inherited is not None else scaling, nan),
            "margin": radius,
            "axes": axes,
        }
        training = load_subjects(chosen, protocol, **options)
        if inherited is not None:
            self.scaling = replace(inherited, target_max=largest_target(training, inherited.mode))
        else:
            self.scaling = fit_scaling(training, scaling, protocol.weights)

        def dataset(
            subjects: Sequence[LoadedSubject], centres: np.ndarray, factors: Sequence[tuple[np.ndarray, np.ndarray]]
        ) -> PatchDataset:
            return PatchDataset(subjects, centres, factors, self.scaling.target_max, axes, radius)

        factors = training_coefficients(self.scaling, training)
        if others:
            centres = sample_centres(training, patches, seed, sampling, axes, radius)
            validating = load_subjects(others, protocol, **options)
            held_out = sample_centres(validating, validation_patches, seed + 1, sampling, axes, radius)
            own = [self.scaling.coefficients(s, s.mask) for s in validating]
            self.validation = dataset(validating, held_out, own)
        else:
            wanted = None if patches is None else patches + validation_patches
            centres, held_out = hold_out(sample_centres(training, wanted, seed, sampling, axes, radius), validation_patches, seed)
            self.validation = dataset(training, held_out, factors)
        self.train = dataset(training, centres, factors)
        self.subjects = [s.name for s in chosen]
        self.validation_subjects = [s.name for s in others]
        self.patches_per_subject = np.bincount(centres[:, 0], minlength=len(chosen)).tolist()
        self.digest = _digest(self.train, self.validation)


def _digest(*datasets: PatchDataset) -> str:
    """SHA-256 of what a thousand patches of each dataset hold: two runs on different files differ in it."""
    digest = hashlib.sha256()
    for dataset in datasets:
        batch = dataset.batch(torch.arange(min(len(dataset), 1000)))
        for values in batch.values():
            digest.update(values.contiguous().numpy().tobytes())
    return digest.hexdigest()
