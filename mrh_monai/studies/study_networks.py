"""Small networks trained one after another on subjects in memory, for experiments that need dozens of them.

What is trained for use goes through a bundle, which writes its run down and resumes it; here nothing outlives the experiment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mrh_monai.data import CORONAL_PLANE, Datalist, LoadedSubject, Subject, is_patch_file, load_subjects, read_datalist, section
from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.evaluation import auc, r2, rmse, structures
from mrh_monai.inference import predict_volume
from mrh_monai.network import MRHNet, fold
from mrh_monai.patches import PatchBatches, PatchDataset, sample_centres
from mrh_monai.protocol import MRProtocol
from mrh_monai.scaling import Scaling, fit_scaling, training_coefficients
from mrh_monai.training import make_optimizer, make_schedule, shipped_recipe

SCORED_VOXELS = 20_000


@dataclass(frozen=True)
class StudyData:
    """Subjects in memory to train and to test on, all with targets.

    Attributes:
        protocol: Their channels.
        training: Subjects.
        test: Other subjects.
    """

    protocol: MRProtocol
    training: tuple[LoadedSubject, ...]
    test: tuple[LoadedSubject, ...]

    @property
    def tested_on(self) -> str:
        """The test subjects, in words."""
        return ", ".join(subject.name for subject in self.test) if len(self.test) < 4 else f"{len(self.test)} subjects"

    def with_channels(self, chosen: Sequence[int]) -> StudyData:
        """The same subjects with some of their images only.

        Args:
            chosen: Indices of channels.
        """

        def cut(subject: LoadedSubject) -> LoadedSubject:
            return replace(subject, padded=np.ascontiguousarray(subject.padded[..., list(chosen)]))

        protocol = MRProtocol(tuple(self.protocol.channels[index] for index in chosen))
        return StudyData(protocol, tuple(map(cut, self.training)), tuple(map(cut, self.test)))


@dataclass(frozen=True)
class Trained:
    """A small network and its scaling.

    Attributes:
        network: On the CPU or where it was trained.
        scaling: Of its training subjects.
        radius: Half the patch's edge, rounded down.
        patches: How many it was trained on.
    """

    network: nn.Module
    scaling: Scaling
    radius: int
    patches: int


def load_study(datalist: Path | str, protocol: MRProtocol, key: str = "test", margin: int = 1) -> StudyData:
    """Load the training subjects of a datalist and those to test on.

    Raises:
        DatalistError: There are none to train, or none to test on.
        SubjectError: One cannot be read, or is a file of patches.
    """
    lists: Datalist = read_datalist(datalist)
    training, test = section(lists, "training", datalist), section(lists, key, datalist)
    patches: Subject | None = next((s for s in (*training, *test) if is_patch_file(s)), None)
    if patches is not None:
        raise SubjectError(patches.image[0], "volumes", "a file of patches", "list the volumes that they were cut from")
    loaded = [tuple(load_subjects(part, protocol, need_target=True, margin=margin)) for part in (training, test)]
    return StudyData(protocol, *loaded)


def train_small(
    training: Sequence[LoadedSubject],
    protocol: MRProtocol,
    *,
    patches: int | None,
    steps: int,
    residual_blocks: int,
    seed: int = 0,
    radius: int = 1,
    batch_size: int | None = None,
    wrap: type[nn.Module] | None = None,
    device: torch.device | str = "cpu",
) -> Trained:
    """Train one network with the ``fast`` recipe's optimizer, schedule and loss, for a number of steps.

    Args:
        training: Subjects with targets.
        protocol: Their channels.
        patches: How many are drawn, once; None for every voxel.
        steps: Optimiser steps.
        residual_blocks: B.
        seed: Of patches, their order and the first weights.
        radius: Half the patch's edge, rounded down.
        batch_size: Patches a step; None for the recipe's.
        wrap: Module around the network through which it is trained; None for none.
        device: Where to compute.

    Raises:
        OptionError: There are no steps.
    """
    if steps < 1:
        raise OptionError("steps", "at least 1", f"{steps}", "give more")
    recipe = shipped_recipe("fast")
    scaling = fit_scaling(training, "robust", protocol.weights)
    centres = sample_centres(training, patches, seed, radius=radius)
    dataset = PatchDataset(training, centres, training_coefficients(scaling, training), scaling.target_max, radius=radius).to(device)
    torch.manual_seed(seed)
    plain = MRHNet(len(protocol), residual_blocks=residual_blocks, initialisation=recipe["initialisation"]).to(device)
    network: nn.Module = fold(plain, 2 * radius + 1) if wrap is None else wrap(plain)
    optimizer = make_optimizer(network, recipe["optimizer"], recipe["learning_rate"], recipe["weight_decay"])
    schedule = make_schedule(optimizer, recipe["schedule"], 1, steps)
    batches = PatchBatches(dataset, batch_size or recipe["batch_size"], shuffle=True, seed=seed, least=steps)
    network.train()
    for _, batch in zip(range(steps), batches, strict=False):
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.l1_loss(network(batch["image"]), batch["label"])
        loss.backward()
        optimizer.step()
        schedule.step()
    return Trained(network, scaling, radius, len(dataset))


def predict_small(trained: Trained, subject: LoadedSubject, mask: np.ndarray, device: torch.device | str = "cpu") -> np.ndarray:
    """(X, Y, Z) float32 in the stain's units, 0 outside the mask."""
    coefficients = trained.scaling.coefficients(subject, subject.mask)
    options: dict[str, Any] = {"axes": CORONAL_PLANE, "radius": trained.radius, "device": device}
    return predict_volume(trained.network, subject.slabs, mask, *coefficients, **options).numpy() * trained.scaling.target_max


def score_small(
    trained: Trained, test: Sequence[LoadedSubject], voxels: int = SCORED_VOXELS, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """R2, RMSE and AUC on voxels drawn from each test subject, averaged over these.

    Args:
        trained: By `train_small`.
        test: Subjects with targets.
        voxels: How many a subject.
        device: Where to compute.

    Returns:
        ``r2``, ``rmse`` (stain's units) and ``auc`` (structures above Otsu's threshold of the subject's target).
    """
    each = []
    for subject in test:
        inside = np.flatnonzero(subject.scored)
        mask = np.zeros(subject.mask.shape, bool)
        mask.flat[np.random.default_rng(0).permutation(inside)[:voxels]] = True
        assert subject.target is not None
        target, prediction = subject.target[mask].astype(np.float64), predict_small(trained, subject, mask, device)[mask]
        found, _ = structures(target, where=f"target of {subject.name}")
        each.append({"r2": r2(prediction, target), "rmse": rmse(prediction, target), "auc": auc(prediction, found)})
    return {name: float(np.mean([scores[name] for scores in each])) for name in each[0]}
