"""The paper's experiments on training: number of subjects and patches, depth, size of the patches, misregistration, uniform patches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mrh_monai.data import SubjectInMemory
from mrh_monai.errors import SubjectError
from mrh_monai.evaluation import ssim, stain_range
from mrh_monai.figures import bars, curves
from mrh_monai.patch_geometry import CORONAL_PATCH, PatchGeometry
from mrh_monai.progress import progress_bar
from mrh_monai.studies.random_displacement import misregistered
from mrh_monai.studies.study_networks import StudyData, StudyNetwork, TrainingEffort, score_study_network, train_study_network


@dataclass(frozen=True)
class StudyEffort:
    """How thoroughly an experiment is done.

    Attributes:
        seeds: Number of repetitions, each with other patches and other initial weights.
        steps: Number of optimiser steps of each network.
        residual_blocks: Number of residual blocks, where the experiment does not vary it.
        patches: Numbers of patches; the last one is used where the experiment does not vary them.
        depths: Numbers of residual blocks, where the experiment varies them.
        widths: Edges of the patches in voxels, where the experiment varies them.
        displacements: Root mean square misregistration in voxels, where the experiment varies it.
        device: Device that computes.
    """

    seeds: int
    steps: int
    residual_blocks: int
    patches: tuple[int, ...]
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    displacements: tuple[float, ...]
    device: torch.device | str = "cpu"

    def of_one_network(self, seed: int) -> TrainingEffort:
        """Return how one network is trained if the experiment does not vary its training.

        Args:
            seed: Random seed of the network's training.
        """
        return TrainingEffort(self.patches[-1], self.steps, self.residual_blocks, seed, device=self.device)


@dataclass(frozen=True)
class Finding:
    """Result of an experiment.

    Attributes:
        rows: Rows of its CSV file.
        paragraph: Result in words, for the data of this experiment.
        draw: Function that draws its picture into a PNG file.
    """

    rows: Sequence[Mapping[str, Any]]
    paragraph: str
    draw: Callable[[Path], None]


def training_size_experiment(data: StudyData, effort: StudyEffort, seed: int, progress: bool = False) -> Finding:
    """Measure R2, RMSE and AUC against the number of training subjects and of patches, at equal steps.

    Args:
        data: Subjects to train and to test on.
        effort: How thoroughly the experiment is done.
        seed: Random seed of the first repetition.
        progress: Whether to show a progress bar on a terminal.

    Raises:
        SubjectError: There are fewer than two subjects to train on.
    """
    most = len(data.training)
    if most < 2:
        raise SubjectError(
            "study training-size", "at least two subjects to train on", f"{most}", "add subjects to `training` in the datalist"
        )
    numbers = sorted({1, 2, most})
    # Numbers of subjects are compared on numbers of patches that every single subject can give.
    least = min(int(subject.scored.sum()) for subject in data.training)
    amounts = sorted({min(patches, least) for patches in effort.patches})
    settings = [(n, patches, s) for n in numbers for patches in amounts for s in range(effort.seeds)]
    rows = []
    for subjects, patches, repetition in progress_bar(settings, "network", progress):
        # Each repetition begins with another subject.
        chosen = [data.training[(repetition + index) % most] for index in range(subjects)]
        trained = train_study_network(chosen, data.protocol, replace(effort.of_one_network(seed + repetition), patches=patches))
        scores = score_study_network(trained, data.test)
        rows.append({"subjects": subjects, "patches": patches, "repetition": repetition, **scores})
    lines = {f"{n} subject{'s' * (n > 1)}": _points(rows, "patches", "r2", subjects=n) for n in numbers}
    few, many = amounts[0], amounts[-1]
    first, last = _mean(rows, "r2", subjects=1, patches=few), _mean(rows, "r2", subjects=most, patches=many)
    by_patches = _mean(rows, "r2", subjects=most, patches=many) - _mean(rows, "r2", subjects=most, patches=few)
    by_subjects = last - _mean(rows, "r2", subjects=1, patches=many)
    paragraph = (
        f"R2 on {data.tested_on} went from {first:.3f} with {few} patches of one subject to {last:.3f} with {many} of {most}. With {most} "
        f"subjects, {many / few:.0f} times the patches changed it by {by_patches:+.3f}; with {many} patches, {most} subjects instead of "
        f"one by {by_subjects:+.3f}. "
        f"All networks had {effort.residual_blocks} residual blocks and {effort.steps} steps."
    )
    return Finding(rows, paragraph, lambda path: curves(lines, path, "patches", "R2 on unseen subjects", "Training size", log=True))


def depth_experiment(data: StudyData, effort: StudyEffort, seed: int, progress: bool = False) -> Finding:
    """Measure RMSE, R2, AUC and SSIM against the number of residual blocks; the arguments are those of `training_size_experiment`."""
    rows = []
    for blocks, repetition in progress_bar([(b, s) for b in effort.depths for s in range(effort.seeds)], "network", progress):
        one = replace(effort.of_one_network(seed + repetition), residual_blocks=blocks)
        trained = train_study_network(data.training, data.protocol, one)
        similar = float(np.mean([_ssim(trained, subject) for subject in data.test]))
        scores = score_study_network(trained, data.test)
        rows.append({"residual_blocks": blocks, "repetition": repetition, **scores, "ssim": similar})
    best = min(effort.depths, key=lambda blocks: _mean(rows, "rmse", residual_blocks=blocks))
    words = [
        f"{blocks} (RMSE {_mean(rows, 'rmse', residual_blocks=blocks):.3g}, SSIM {_mean(rows, 'ssim', residual_blocks=blocks):.3f})"
        for blocks in effort.depths
    ]
    paragraph = (
        f"Residual blocks on {data.tested_on}: {', '.join(words)}. Of these, {best} gave the lowest RMSE after {effort.steps} steps on "
        f"{trained.patches} patches; deeper networks may need more steps and patches to reach their best."
    )
    lines = {"RMSE": _points(rows, "residual_blocks", "rmse")}
    return Finding(rows, paragraph, lambda path: curves(lines, path, "residual blocks", "RMSE on unseen subjects", "Depth"))


def patch_size_experiment(data: StudyData, effort: StudyEffort, seed: int, progress: bool = False) -> Finding:
    """Measure R2 against the width of the patches, for training stains that are misregistered more and more.

    Each step sees the same number of voxels, so that a step has fewer patches where they are wider. The arguments are those of
    `training_size_experiment`.
    """
    spacing = max(data.training[0].spacing[axis] for axis in CORONAL_PATCH.axes)
    settings = [(w, d, s) for w in effort.widths for d in effort.displacements for s in range(effort.seeds)]
    rows = []
    for width, voxels, repetition in progress_bar(settings, "network", progress):
        moved = [misregistered(s, voxels * spacing, seed + 1000 * repetition + index) for index, s in enumerate(data.training)]
        one = replace(effort.of_one_network(seed + repetition), batch_size=max(round(256 * 9 / width**2), 8))
        trained = train_study_network(moved, data.protocol, one, PatchGeometry(radius=width // 2))
        scores = score_study_network(trained, data.test)
        rows.append({"width": width, "displacement_mm": voxels * spacing, "repetition": repetition, **scores})
    lines = {f"{w} x {w}": _points(rows, "displacement_mm", "r2", width=w) for w in effort.widths}
    worst = effort.displacements[-1] * spacing
    words = [
        f"from {_mean(rows, 'r2', width=w, displacement_mm=0.0):.3f} to {_mean(rows, 'r2', width=w, displacement_mm=worst):.3f} "
        f"with patches of {w} x {w} voxels"
        for w in effort.widths
    ]
    best = max(effort.widths, key=lambda w: _mean(rows, "r2", width=w, displacement_mm=worst))
    paragraph = (
        f"With training stains misregistered by {1000 * worst:.0f} um (root mean square, smooth over 1 mm) instead of 0, R2 on "
        f"{data.tested_on} went {', '.join(words)}. At that misregistration patches of {best} x {best} did best."
    )
    title = "Patch size and misregistration"
    return Finding(rows, paragraph, lambda path: curves(lines, path, "misregistration, RMS (mm)", "R2 on unseen subjects", title))


class UniformPatches(nn.Module):
    """A network that is given patches in which every voxel is replaced by the centre voxel.

    Args:
        network: The network that gets these patches.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn scaled patches (B, C, 3, 3) into predicted patches (B, 1, 3, 3)."""
        middle = x[..., x.shape[-2] // 2, x.shape[-1] // 2, None, None]
        predicted: torch.Tensor = self.network(middle.expand_as(x).contiguous(memory_format=torch.channels_last))
        return predicted


def uniform_patch_experiment(data: StudyData, effort: StudyEffort, seed: int, progress: bool = False) -> Finding:
    """Measure what the eight neighbours of a voxel add: compare whole patches with patches whose nine voxels are all the centre.

    The arguments are those of `training_size_experiment`.
    """
    rows: list[dict[str, Any]] = []
    for repetition in progress_bar(range(effort.seeds), "network", progress):
        one = effort.of_one_network(seed + repetition)
        whole = train_study_network(data.training, data.protocol, one)
        uniform = train_study_network(data.training, data.protocol, one, wrap=UniformPatches)
        for name, trained in (
            ("trained and tested on whole patches", whole),
            ("trained on whole, tested on uniform", replace(whole, network=UniformPatches(whole.network))),
            ("trained and tested on uniform", uniform),
        ):
            rows.append({"patches": name, "repetition": repetition, **score_study_network(trained, data.test)})
    names = list(dict.fromkeys(row["patches"] for row in rows))
    means = {name: _mean(rows, "r2", patches=name) for name in names}
    heights = [(name, means[name], *_ends(rows, "r2", patches=name)) for name in names]
    paragraph = (
        f"R2 on {data.tested_on} was {means[names[0]]:.3f} with whole patches, {means[names[1]]:.3f} where that network was shown the "
        f"centre instead of all nine voxels, and {means[names[2]]:.3f} for a network trained on such patches. So "
        f"{means[names[0]] - means[names[2]]:+.3f} of R2 comes from the neighbourhood; the rest is in the voxel's own signals."
    )
    return Finding(rows, paragraph, lambda path: bars(heights, path, "R2 on unseen subjects", "Uniform patches"))


def _ssim(trained: StudyNetwork, subject: SubjectInMemory) -> float:
    assert subject.target is not None
    predicted = trained.predict(subject, subject.scored)
    return ssim(predicted, subject.target, subject.scored, stain_range(subject.target[subject.scored]))


def _select(rows: Sequence[dict[str, Any]], key: str, **fixed: float | str) -> list[float]:
    return [row[key] for row in rows if all(row[name] == value for name, value in fixed.items())]


def _mean(rows: Sequence[dict[str, Any]], key: str, **fixed: float | str) -> float:
    return float(np.mean(_select(rows, key, **fixed)))


def _ends(rows: Sequence[dict[str, Any]], key: str, **fixed: float | str) -> tuple[float, float]:
    values = _select(rows, key, **fixed)
    return (min(values), max(values)) if len(values) > 1 else (float("nan"), float("nan"))


def _points(rows: Sequence[dict[str, Any]], x: str, y: str, **fixed: float | str) -> list[tuple[float, float, float]]:
    places = sorted({row[x] for row in rows if all(row[name] == value for name, value in fixed.items())})
    return [(place, _mean(rows, y, **{x: place}, **fixed), float(np.std(_select(rows, y, **{x: place}, **fixed)))) for place in places]
