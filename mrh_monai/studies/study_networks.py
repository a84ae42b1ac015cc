"""Small networks that studies train one after another on subjects in memory; a study may need dozens of them.

To train a network that you want to keep, use a bundle, which records its run and can resume it. The networks of a study are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mrh_monai.bundle import shipped_settings
from mrh_monai.data import ReadingOptions, SubjectInMemory, load_subjects, need_grid
from mrh_monai.devices import training_threads
from mrh_monai.errors import OptionError
from mrh_monai.evaluation import HEADLINE_SCORES, StainPair, auc, structures
from mrh_monai.inference import Computing, TrainedNetwork
from mrh_monai.network import MRHNet, fold
from mrh_monai.patch_geometry import CORONAL_PATCH, PatchGeometry
from mrh_monai.patches import PatchBatches, PatchDataset, sample_centres
from mrh_monai.protocol import MRProtocol
from mrh_monai.scaling import RobustScaling
from mrh_monai.subjects import Datalist
from mrh_monai.training import KnownLabels, make_optimizer, make_schedule

SCORED_VOXELS = 20_000


@dataclass(frozen=True)
class StudyData:
    """Subjects in memory to train and to test on, all with targets.

    Attributes:
        protocol: Channels of the subjects.
        training: Subjects to train on.
        test: Other subjects, to test on.
    """

    protocol: MRProtocol
    training: tuple[SubjectInMemory, ...]
    test: tuple[SubjectInMemory, ...]

    @property
    def tested_on(self) -> str:
        """The test subjects, in words."""
        return ", ".join(subject.name for subject in self.test) if len(self.test) < 4 else f"{len(self.test)} subjects"

    def with_channels(self, chosen: Sequence[int]) -> StudyData:
        """Return the same subjects with some of their images only.

        Args:
            chosen: Indices of the channels.
        """

        def cut(subject: SubjectInMemory) -> SubjectInMemory:
            return replace(subject, padded=np.ascontiguousarray(subject.padded[..., list(chosen)]))

        protocol = MRProtocol(tuple(self.protocol.channels[index] for index in chosen))
        return StudyData(protocol, tuple(map(cut, self.training)), tuple(map(cut, self.test)))


def load_study_data(
    datalist: Path | str, protocol: MRProtocol, section: str = "test", margin: int = 1, coronal_axis: int | None = None
) -> StudyData:
    """Load the training subjects of a datalist, and the subjects to test on.

    Args:
        datalist: JSON file, see `mrh_monai.subjects.Datalist.read`.
        protocol: Channels of the subjects.
        section: Section of the subjects to test on.
        margin: Number of zero voxels added on every side; at least the radius of the patches to come.
        coronal_axis: Array axis of the coronal slices of subjects that do not state it; None for the axis that their affine names.

    Raises:
        DatalistError: A section is empty.
        SubjectError: A subject cannot be read, or is a patch file.
    """
    lists = Datalist.read(datalist).with_default_axis(coronal_axis)
    training, test = lists.section("training", datalist), lists.section(section, datalist)
    need_grid([*training, *test], "to study")
    options = ReadingOptions(need_target=True, margin=margin)
    return StudyData(protocol, *(tuple(load_subjects(part, protocol, options)) for part in (training, test)))


@dataclass(frozen=True)
class TrainingEffort:
    """How one network of a study is trained.

    Attributes:
        patches: Number of patches, drawn once; None for a patch around every voxel.
        steps: Number of optimiser steps.
        residual_blocks: Number of residual blocks.
        seed: Random seed of the patches, of their order and of the initial weights.
        batch_size: Number of patches in a step; None for that of the ``fast`` recipe for many patches.
        device: Device that computes.

    Raises:
        OptionError: There are no steps.
    """

    patches: int | None
    steps: int
    residual_blocks: int
    seed: int = 0
    batch_size: int | None = None
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise OptionError("steps", "at least 1", f"{self.steps}", "give more steps")


@dataclass(frozen=True)
class StudyNetwork:
    """A small trained network and its scaling.

    Attributes:
        network: The network, on the device on which it was trained.
        scaling: Scaling of its training subjects.
        patch: Shape of its patches.
        patches: Number of patches on which it was trained.
        device: Device that computes.
    """

    network: nn.Module
    scaling: RobustScaling
    patch: PatchGeometry
    patches: int
    device: torch.device | str = "cpu"

    def predict(self, subject: SubjectInMemory, mask: np.ndarray) -> np.ndarray:
        """Predict the stain of some voxels of a subject.

        Args:
            subject: Subject in memory.
            mask: (X, Y, Z) bool, the voxels to predict.

        Returns:
            (X, Y, Z) float32 in the stain's units, 0 outside the mask.
        """
        coefficients = self.scaling.coefficients(subject, subject.mask)
        trained = TrainedNetwork(self.network, self.scaling, self.patch)
        return trained.predict(subject.slabs, mask, coefficients, Computing(self.device))


def train_study_network(
    training: Sequence[SubjectInMemory],
    protocol: MRProtocol,
    effort: TrainingEffort,
    patch: PatchGeometry = CORONAL_PATCH,
    wrap: Callable[[nn.Module], nn.Module] | None = None,
) -> StudyNetwork:
    """Train one network with the optimizer, schedule and loss of the ``fast`` recipe, for a number of steps.

    Args:
        training: Subjects with targets.
        protocol: Channels of the subjects.
        effort: How the network is trained.
        patch: Shape of the patches.
        wrap: Function that puts a module around the network, through which it is trained; None to train it directly.
    """
    settings = shipped_settings("fast")
    scaling = RobustScaling.fit(training, protocol.weights)
    centres = sample_centres(training, effort.patches, effort.seed, patch=patch)
    coefficients = scaling.training_coefficients(training)
    dataset = PatchDataset(training, centres, coefficients, scaling.target_max, patch, scaling.target_min).to(effort.device)
    torch.manual_seed(effort.seed)
    plain = MRHNet(len(protocol), residual_blocks=effort.residual_blocks, initialisation=settings.initialisation).to(effort.device)
    network: nn.Module = fold(plain, patch.width) if wrap is None else wrap(plain)
    optimizer = make_optimizer(network, settings.optimizer_options)
    schedule = make_schedule(optimizer, settings.schedule, 1, effort.steps)
    batches = PatchBatches(dataset, effort.batch_size or settings.batch_size, shuffle=True, seed=effort.seed, least=effort.steps)
    network.train()
    l1 = KnownLabels(nn.L1Loss())
    with training_threads(batches.process_batch_size):
        for _, batch in zip(range(effort.steps), batches, strict=False):
            optimizer.zero_grad(set_to_none=True)
            loss = l1(network(batch["image"]), batch["label"])
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return StudyNetwork(network, scaling, patch, len(dataset), effort.device)


def score_study_network(trained: StudyNetwork, test: Sequence[SubjectInMemory], voxels: int = SCORED_VOXELS) -> dict[str, float]:
    """Return the headline scores on voxels drawn from each test subject, averaged over the subjects.

    Args:
        trained: Trained network.
        test: Subjects with targets.
        voxels: Number of voxels of each subject.

    Returns:
        ``r2``, ``rmse`` (in the stain's units) and ``auc`` (structures above Otsu's threshold of the subject's target).
    """
    each: list[dict[str, float]] = []
    for subject in test:
        inside = np.flatnonzero(subject.scored)
        mask = np.zeros(subject.mask.shape, bool)
        mask.flat[np.random.default_rng(0).permutation(inside)[:voxels]] = True
        assert subject.target is not None
        pair = StainPair(trained.predict(subject, mask), subject.target.astype(np.float64), mask)
        found, _ = structures(pair.t, where=f"target of {subject.name}")
        each.append({score.key: auc(pair.p, found) if score.from_voxels is None else score.from_voxels(pair) for score in HEADLINE_SCORES})
    return {key: float(np.mean([scores[key] for scores in each])) for key in each[0]}
