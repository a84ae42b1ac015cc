"""The paper's experiments that train networks: how many subjects and patches, how many blocks, which patches, how well registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mrh_monai.data import CORONAL_PLANE, LoadedSubject
from mrh_monai.errors import SubjectError
from mrh_monai.evaluation import ssim, stain_range
from mrh_monai.figures import bars, curves
from mrh_monai.studies.random_displacement import misregistered
from mrh_monai.studies.study_networks import StudyData, Trained, predict_small, score_small, train_small


@dataclass(frozen=True)
class Effort:
    """How thoroughly an experiment is done.

    Attributes:
        seeds: Repetitions, with other patches and first weights.
        steps: Optimiser steps of each network.
        residual_blocks: B, where it is not what is varied.
        patches: Numbers of patches; the last one is used where that is not what is varied.
        depths: Numbers of residual blocks.
        widths: Edges of patches in voxels.
        displacements: Root mean square misregistration in voxels.
        device: Where to compute.
    """

    seeds: int
    steps: int
    residual_blocks: int
    patches: tuple[int, ...]
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    displacements: tuple[float, ...]
    device: torch.device | str = "cpu"


@dataclass(frozen=True)
class Finding:
    """What an experiment found.

    Attributes:
        rows: Of its CSV.
        paragraph: In words, of this very data.
        draw: Draws its picture into a PNG.
    """

    rows: list[dict[str, Any]]
    paragraph: str
    draw: Callable[[Path], None]


Progress = Callable[[Iterable[Any]], Iterable[Any]]


def training_size(data: StudyData, effort: Effort, seed: int, progress: Progress) -> Finding:
    """R2, RMSE and AUC against the number of training subjects and of patches, at equal steps.

    Raises:
        SubjectError: There are fewer than two subjects to train on.
    """
    most = len(data.training)
    if most < 2:
        raise SubjectError(
            "study training-size", "at least two subjects to train on", f"{most}", "add subjects to `training` in the datalist"
        )
    numbers = sorted({1, 2, most})
    # All numbers of subjects are compared on numbers of patches that one of them alone can give.
    least = min(int(subject.scored.sum()) for subject in data.training)
    amounts = sorted({min(patches, least) for patches in effort.patches})
    settings = [(n, patches, s) for n in numbers for patches in amounts for s in range(effort.seeds)]
    rows = []
    for subjects, patches, repetition in progress(settings):
        # Another repetition begins with another subject.
        chosen = [data.training[(repetition + index) % most] for index in range(subjects)]
        trained = train_once(chosen, data, effort, patches=patches, seed=seed + repetition)
        rows.append(
            {"subjects": subjects, "patches": patches, "repetition": repetition, **score_small(trained, data.test, device=effort.device)}
        )
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


def depth(data: StudyData, effort: Effort, seed: int, progress: Progress) -> Finding:
    """RMSE, R2, AUC and SSIM against the number of residual blocks."""
    rows = []
    for blocks, repetition in progress([(b, s) for b in effort.depths for s in range(effort.seeds)]):
        trained = train_once(data.training, data, effort, residual_blocks=blocks, seed=seed + repetition)
        similar = float(np.mean([_ssim(trained, subject, effort.device) for subject in data.test]))
        rows.append(
            {"residual_blocks": blocks, "repetition": repetition, **score_small(trained, data.test, device=effort.device), "ssim": similar}
        )
    best = min(effort.depths, key=lambda blocks: _mean(rows, "rmse", residual_blocks=blocks))
    words = [
        f"{blocks} (RMSE {_mean(rows, 'rmse', residual_blocks=blocks):.3g}, SSIM {_mean(rows, 'ssim', residual_blocks=blocks):.3f})"
        for blocks in effort.depths
    ]
    paragraph = (
        f"Residual blocks on {data.tested_on}: {', '.join(words)}. Of these, {best} gave the lowest RMSE after {effort.steps} steps on "
        f"{trained.patches} patches; deeper networks may need more of both to show what they can."
    )
    lines = {"RMSE": _points(rows, "residual_blocks", "rmse")}
    return Finding(rows, paragraph, lambda path: curves(lines, path, "residual blocks", "RMSE on unseen subjects", "Depth"))


def patch_size(data: StudyData, effort: Effort, seed: int, progress: Progress) -> Finding:
    """R2 against the patches' width, for stains of the training subjects that are misregistered more and more.

    Each step sees the same number of voxels, so that wide patches are fewer.
    """
    spacing = max(data.training[0].spacing[axis] for axis in CORONAL_PLANE)
    settings = [(w, d, s) for w in effort.widths for d in effort.displacements for s in range(effort.seeds)]
    rows = []
    for width, voxels, repetition in progress(settings):
        moved = [misregistered(s, voxels * spacing, seed + 1000 * repetition + index) for index, s in enumerate(data.training)]
        batch = max(round(256 * 9 / width**2), 8)
        trained = train_once(moved, data, effort, seed=seed + repetition, radius=width // 2, batch_size=batch)
        rows.append(
            {
                "width": width,
                "displacement_mm": voxels * spacing,
                "repetition": repetition,
                **score_small(trained, data.test, device=effort.device),
            }
        )
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
    """A network that sees the centre of each patch in the place of all its voxels.

    Args:
        network: The network to show them to.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, 3, 3) to (B, 1, 3, 3)."""
        middle = x[..., x.shape[-2] // 2, x.shape[-1] // 2, None, None]
        return self.network(middle.expand_as(x).contiguous(memory_format=torch.channels_last))


def uniform_patch(data: StudyData, effort: Effort, seed: int, progress: Progress) -> Finding:
    """What the eight neighbours of a voxel bring: whole patches against patches whose nine voxels are all the centre."""
    rows = []
    for repetition in progress(range(effort.seeds)):
        whole = train_once(data.training, data, effort, seed=seed + repetition)
        uniform = train_once(data.training, data, effort, seed=seed + repetition, wrap=UniformPatches)
        for name, trained in (
            ("trained and tested on whole patches", whole),
            ("trained on whole, tested on uniform", replace(whole, network=UniformPatches(whole.network))),
            ("trained and tested on uniform", uniform),
        ):
            rows.append({"patches": name, "repetition": repetition, **score_small(trained, data.test, device=effort.device)})
    names = list(dict.fromkeys(row["patches"] for row in rows))
    means = {name: _mean(rows, "r2", patches=name) for name in names}
    heights = [(name, means[name], *_ends(rows, "r2", patches=name)) for name in names]
    paragraph = (
        f"R2 on {data.tested_on} was {means[names[0]]:.3f} with whole patches, {means[names[1]]:.3f} where that network was shown the "
        f"centre in the place of all nine voxels, and {means[names[2]]:.3f} for a network trained on such patches. So "
        f"{means[names[0]] - means[names[2]]:+.3f} of R2 comes from the neighbourhood; the rest is in the voxel's own signals."
    )
    return Finding(rows, paragraph, lambda path: bars(heights, path, "R2 on unseen subjects", "Uniform patches"))


def train_once(training: Sequence[LoadedSubject], data: StudyData, effort: Effort, **options: Any) -> Trained:
    """One network of an experiment.

    Args:
        training: Subjects.
        data: Whose protocol they have.
        effort: Steps, and patches and residual blocks unless ``options`` say otherwise.
        options: Of `mrh_monai.studies.study_networks.train_small`.
    """
    chosen = {"patches": effort.patches[-1], "residual_blocks": effort.residual_blocks, **options}
    return train_small(training, data.protocol, steps=effort.steps, device=effort.device, **chosen)


def _ssim(trained: Trained, subject: LoadedSubject, device: torch.device | str) -> float:
    assert subject.target is not None
    predicted = predict_small(trained, subject, subject.scored, device)
    return ssim(predicted, subject.target, subject.scored, stain_range(subject.target[subject.scored]))


def _select(rows: Sequence[dict[str, Any]], key: str, **fixed: Any) -> list[float]:
    return [row[key] for row in rows if all(row[name] == value for name, value in fixed.items())]


def _mean(rows: Sequence[dict[str, Any]], key: str, **fixed: Any) -> float:
    return float(np.mean(_select(rows, key, **fixed)))


def _ends(rows: Sequence[dict[str, Any]], key: str, **fixed: Any) -> tuple[float, float]:
    values = _select(rows, key, **fixed)
    return (min(values), max(values)) if len(values) > 1 else (float("nan"), float("nan"))


def _points(rows: Sequence[dict[str, Any]], x: str, y: str, **fixed: Any) -> list[tuple[float, float, float]]:
    places = sorted({row[x] for row in rows if all(row[name] == value for name, value in fixed.items())})
    return [(place, _mean(rows, y, **{x: place}, **fixed), float(np.std(_select(rows, y, **{x: place}, **fixed)))) for place in places]
