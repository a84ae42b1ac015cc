"""Alignment of the stains of a training set: a pointwise predictor and one smooth displacement for each subject, in turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mrh_monai.alignment.brain_edge import at_edge, edge_distance_mm, with_surroundings
from mrh_monai.alignment.moved_stain import move_stain, moved_voxels
from mrh_monai.alignment.pointwise_predictor import PointwisePredictor
from mrh_monai.alignment.registration import Registration, agreement
from mrh_monai.data import SubjectInMemory
from mrh_monai.errors import SubjectError
from mrh_monai.progress import progress_bar
from mrh_monai.scaling import Scaling

STEPS, FIRST_STEPS = 100, 400  # of the predictor in each round, and before the first one
NEAR, FAR = (2.0, 1.5, 1.0, 0.7), (5.0, 4.0, 3.0, 2.5)  # smoothing of each round, in voxels of the coronal plane
LITTLE_MM, MUCH_MM = 0.06, 0.2  # displacement that is expected at first
LEAST_MM, MOST_MM = 0.015, 0.25  # limits of the displacement that is expected later
ADAPTING = 1.5  # smoothing from which on a round expects what the one before found
FINE = 1.0  # smoothing from which on the predictor learns from the edge of the brain too
MUCH_BETTER = 0.75  # unexplained variance after large displacements, relative to that after small ones, below which the large ones count


@dataclass(frozen=True)
class Alignment:
    """Stains that were moved onto the MR images.

    Attributes:
        subjects: The subjects with the moved targets and target masks.
        displacements: (2, X, Y, Z) for each subject, float32: how far from each voxel its stain lay, along x and z in mm.
        before: Squared correlation of each subject's stain with what its signals predict, both smoothed by a voxel, before the alignment.
        after: The same after it. It overstates the gain, because the displacements were found with the same voxels.
        is_large: Whether large displacements explain the stains much better than small ones.
    """

    subjects: tuple[SubjectInMemory, ...]
    displacements: tuple[np.ndarray, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    is_large: bool

    @property
    def sizes_mm(self) -> tuple[float, ...]:
        """Root mean square of each subject's displacement inside its mask, in mm."""
        pairs = zip(self.displacements, self.subjects, strict=True)
        return tuple(float(np.sqrt((moved**2).sum(0)[subject.mask].mean())) for moved, subject in pairs)


def align_stains(subjects: Sequence[SubjectInMemory], scaling: Scaling, seed: int = 0, progress: bool = False) -> Alignment:
    """Move the stains of training subjects onto their MR images, within the coronal plane.

    A predictor that sees single voxels learns the stain. Each stain is registered onto its prediction, smoothly over 0.5 mm, and the
    predictor learns again from the moved stains; this is repeated from coarse to fine. Small displacements are tried first. Large ones,
    which need a coarser start and bring more freedom, count only if they explain the stains much better.

    Args:
        subjects: Training subjects in memory, with targets.
        scaling: Scaling of the network that will be trained on them.
        seed: Random seed of the predictor.
        progress: Whether to show a progress bar on a terminal.

    Returns:
        The moved stains, each interpolated once by cubic splines from the original, and the displacements.

    Raises:
        SubjectError: There is no subject; or one has no target, or is a patch file, whose patches cannot be moved.

    Example:
        >>> from mrh_monai.scaling import RobustScaling
        >>> x, _, z = np.indices((24, 3, 24)) / 4
        >>> image, affine = np.stack([2 + np.sin(x), 2 + np.cos(z)], axis=-1), np.diag([0.0625, 0.0625, 0.0625, 1])
        >>> subject = SubjectInMemory("m1", image, 0, np.ones(x.shape, bool), image.prod(-1), None, affine)
        >>> alignment = align_stains([subject], RobustScaling.fit([subject]))
        >>> max(alignment.sizes_mm) < 0.005  # this stain already fits, to less than a tenth of a voxel
        True
    """
    if not subjects:
        raise SubjectError("align_stains", "at least one subject", "no subject", "give the training subjects")
    for subject in subjects:
        if subject.target is None or subject.is_patches:
            found = "a patch file" if subject.is_patches else "no target"
            raise SubjectError(subject.name, "a volume with a target, to align", found, "leave it out")
    turns = _Turns(subjects, scaling, seed)
    turns.train(FIRST_STEPS)
    start, before = turns.state(), turns.agreements()
    rounds = {"small displacements": NEAR, "large displacements": FAR + NEAR}
    results = []
    for (text, smoothings), expected_mm in zip(rounds.items(), (LITTLE_MM, MUCH_MM), strict=True):
        turns.restore({**start, "expected": [expected_mm] * len(subjects)})
        for smoothing in progress_bar(smoothings, "round", progress, text):
            turns.take(smoothing)
        results.append((turns.state(), turns.agreements()))
    (small, agreed_small), (large, agreed_large) = results
    is_large = 1 - np.mean(agreed_large) < MUCH_BETTER * (1 - np.mean(agreed_small))
    turns.restore(large if is_large else small)
    moved = tuple(move_stain(subject, each.found) for subject, each in zip(subjects, turns.registrations, strict=True))
    displacements = tuple(each.found.numpy() for each in turns.registrations)
    return Alignment(moved, displacements, tuple(before), tuple(agreed_large if is_large else agreed_small), bool(is_large))


class _Turns:
    """The predictor and the registrations, and the stains as they are moved so far."""

    def __init__(self, subjects: Sequence[SubjectInMemory], scaling: Scaling, seed: int):
        distances = [edge_distance_mm(subject) for subject in subjects]
        edges = [at_edge(subject, distance) for subject, distance in zip(subjects, distances, strict=True)]
        self.subjects = [with_surroundings(subject, distance) for subject, distance in zip(subjects, distances, strict=True)]
        self.low, self.range = scaling.target_min, scaling.target_max - scaling.target_min
        self.predictor = PointwisePredictor(self.subjects, scaling.training_coefficients(subjects), seed)
        self.registrations = [Registration(subject, LITTLE_MM) for subject in self.subjects]
        self.masks = [torch.from_numpy(subject.mask) for subject in self.subjects]
        self.stains = [torch.from_numpy(each.stain) for each in self.registrations]
        self.inner = [subject.mask & ~edge for subject, edge in zip(subjects, edges, strict=True)]
        self.beside_edge = [torch.from_numpy(~edge[each.mask]) for each, edge in zip(self.subjects, edges, strict=True)]

    def train(self, steps: int, with_edge: bool = False) -> None:
        """Train the predictor on the stains as they are moved now.

        While a stain is far from its place, its edge is blurred. A predictor that learned this blur would recognise voxels at the edge by
        their signals, and hold every stain where it is.
        """
        stains, known = zip(*(self._moved(index) for index in range(len(self.subjects))), strict=True)
        if not with_edge:
            known = tuple(where & beside for where, beside in zip(known, self.beside_edge, strict=True))
        self.predictor.train([(stain - self.low) / self.range for stain in stains], known, steps)

    def take(self, smoothing: float) -> None:
        """Take one turn: move each stain onto its prediction, and let the predictor learn from the moved stains."""
        for index, registration in enumerate(self.registrations):
            registration.refine(self._predicted(index), smoothing)
            if smoothing <= ADAPTING:
                expected = max(registration.size_mm, registration.expected_mm / 2)
                registration.expected_mm = min(max(expected, LEAST_MM), MOST_MM)
        self.train(STEPS, with_edge=smoothing <= FINE)

    def agreements(self) -> list[float]:
        """Return the squared correlation of each moved stain with its prediction, inside the brain."""
        found = []
        for index, (subject, mask) in enumerate(zip(self.subjects, self.masks, strict=True)):
            stain, known = (values.numpy() for values in self._moved(index))
            whole, where = np.zeros(subject.mask.shape, np.float32), np.zeros(subject.mask.shape, bool)
            whole[mask.numpy()], where[mask.numpy()] = stain, known
            found.append(agreement(self._predicted(index), whole, where & self.inner[index], subject))
        return found

    def state(self) -> dict[str, Any]:
        """Return a copy of all that changes from turn to turn."""
        return {
            "weights": self.predictor.state(),
            "fields": [(each.control, each.found) for each in self.registrations],
            "expected": [each.expected_mm for each in self.registrations],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy that `state` made."""
        self.predictor.restore(state["weights"])
        for each, (control, found), expected in zip(self.registrations, state["fields"], state["expected"], strict=True):
            each.control, each.found, each.expected_mm = control, found, expected

    def _predicted(self, index: int) -> np.ndarray:
        volume = torch.zeros(self.subjects[index].mask.shape)
        volume[self.masks[index]] = self.predictor.predict(index) * self.range + self.low
        return volume.numpy()

    def _moved(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the moved stain (V,) of the voxels of the mask by linear interpolation, and where it is known (V,)."""
        return moved_voxels(self.subjects[index], self.stains[index], self.registrations[index].found, self.masks[index])
