"""Alignment of the stains of a training set: a pointwise predictor and one smooth displacement for each subject, in turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, map_coordinates

from mrh_monai.alignment.displacement import displaced, sampled
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
MUCH_BETTER = 0.75  # unexplained variance after large displacements, relative to that after small ones, below which the large ones count
INTACT = 0.999  # share of a displaced voxel that must be intact


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
        SubjectError: A subject has no target, or is a patch file, whose patches cannot be moved.
    """
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
    displacements = tuple(registration.found.numpy() for registration in turns.registrations)
    moved = tuple(moved_stain(subject, each) for subject, each in zip(subjects, displacements, strict=True))
    return Alignment(moved, displacements, tuple(before), tuple(agreed_large if is_large else agreed_small), bool(is_large))


class _Turns:
    """The predictor and the registrations, and the stains as they are moved so far."""

    def __init__(self, subjects: Sequence[SubjectInMemory], scaling: Scaling, seed: int):
        self.subjects = subjects
        self.low, self.range = scaling.target_min, scaling.target_max - scaling.target_min
        self.predictor = PointwisePredictor(subjects, scaling.training_coefficients(subjects), seed)
        self.registrations = [Registration(subject, LITTLE_MM) for subject in subjects]
        self.masks = [torch.from_numpy(subject.mask) for subject in subjects]
        self.stains = [whole_stain(subject) for subject in subjects]

    def train(self, steps: int) -> None:
        """Train the predictor on the stains as they are moved now."""
        stains, known = zip(*(self._moved(index) for index in range(len(self.subjects))), strict=True)
        self.predictor.train([(stain - self.low) / self.range for stain in stains], known, steps)

    def take(self, smoothing: float) -> None:
        """Take one turn: move each stain onto its prediction, and let the predictor learn from the moved stains."""
        for index, registration in enumerate(self.registrations):
            registration.refine(self._predicted(index), smoothing)
            if smoothing <= ADAPTING:
                expected = max(registration.size_mm, registration.expected_mm / 2)
                registration.expected_mm = min(max(expected, LEAST_MM), MOST_MM)
        self.train(STEPS)

    def agreements(self) -> list[float]:
        """Return the squared correlation of each moved stain with its prediction."""
        found = []
        for index, (subject, mask) in enumerate(zip(self.subjects, self.masks, strict=True)):
            stain, known = (values.numpy() for values in self._moved(index))
            whole, where = np.zeros(subject.mask.shape, np.float32), np.zeros(subject.mask.shape, bool)
            whole[mask.numpy()], where[mask.numpy()] = stain, known
            found.append(agreement(self._predicted(index), whole, where, subject))
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
        registration, subject, mask = self.registrations[index], self.subjects[index], self.masks[index]
        places = displaced(torch.nonzero(mask).T.float(), registration.found[:, mask], subject.spacing)
        intact = torch.ones(len(places[0])) if subject.target_mask is None else sampled(_volume(subject.target_mask), places)[0]
        return sampled(_volume(self.stains[index]), places)[0], intact > INTACT


def moved_stain(subject: SubjectInMemory, displacement: np.ndarray) -> SubjectInMemory:
    """Return a subject whose stain and ``target_mask`` are moved, by cubic and by linear interpolation.

    Args:
        subject: Subject with a target.
        displacement: (2, X, Y, Z) along x and z in mm: how far from each voxel its stain lies.

    Returns:
        The subject with a target (X, Y, Z) float32, without values beyond those of the original's slices in use. Where the displacement
        is 0 everywhere, the subject is returned unchanged.
    """
    assert subject.target is not None
    if not displacement.any():
        return subject
    shape = subject.mask.shape
    voxels = torch.from_numpy(np.indices(shape, dtype=np.float32)).flatten(1)
    places = displaced(voxels, torch.from_numpy(displacement).flatten(1), subject.spacing)
    original = whole_stain(subject)
    target = map_coordinates(original, places.numpy(), order=3, mode="nearest").reshape(shape)
    intact = subject.target_mask
    if intact is not None:
        intact = (sampled(_volume(intact), places)[0] > INTACT).view(shape).numpy()
    used = original if subject.left_out is None else original[:, ~subject.left_out]
    return replace(subject, target=np.clip(target, used.min(), used.max()), target_mask=intact)


def whole_stain(subject: SubjectInMemory) -> np.ndarray:
    """Return the stain (X, Y, Z) float32 of a subject; where it is torn or not finite, the nearest value, so that splines do not ring."""
    assert subject.target is not None
    stain = subject.target.astype(np.float32)
    known = np.isfinite(stain) if subject.target_mask is None else np.isfinite(stain) & subject.target_mask
    if known.all():
        return stain
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(stain[tuple(nearest)])


def _volume(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))[None]
