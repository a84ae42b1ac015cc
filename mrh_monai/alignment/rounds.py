"""The rounds of an alignment: a predictor of single voxels and the registration of each stain learn from each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mrh_monai.alignment.brain_edge import at_edge, edge_distance_mm, with_surroundings
from mrh_monai.alignment.moved_stain import moved_voxels
from mrh_monai.alignment.pointwise_predictor import PointwisePredictor
from mrh_monai.alignment.registration import Registration
from mrh_monai.data import SubjectInMemory
from mrh_monai.devices import limited_threads, map_on_threads
from mrh_monai.errors import SubjectError
from mrh_monai.scaling import Scaling

STEPS, FIRST_STEPS = 100, 400  # of the predictor in each round, and before the first one
EXPECTED_MM, LEAST_MM, MOST_MM = 0.2, 0.015, 0.25  # displacement that is expected at first, and the limits of what is expected later
ADAPTING = 1.5  # smoothing from which on a round expects what the one before found
FINE = 1.0  # smoothing from which on the predictor learns from the edge of the brain too


class Rounds:
    """A predictor, the registration of each stain, and the stains as they are moved so far.

    Args:
        subjects: Subjects in memory, with targets.
        scaling: Scaling of the network that will be trained on them.
        seed: Random seed of the predictor.
        hidden: (X, Y, Z) bool for each subject: voxels whose stain neither the predictor nor the registration may see; None to see all.

    Attributes:
        registrations: The registration of each stain.
        inner: (X, Y, Z) bool for each subject, the voxels of its mask that do not lie at the outline of the brain.

    Raises:
        SubjectError: All voxels of a mask lie at its outline.
    """

    def __init__(
        self, subjects: Sequence[SubjectInMemory], scaling: Scaling, seed: int, hidden: Sequence[np.ndarray] | None = None
    ) -> None:
        distances = [edge_distance_mm(subject) for subject in subjects]
        edges = [at_edge(subject, distance) for subject, distance in zip(subjects, distances, strict=True)]
        self.inner = [subject.mask & ~edge for subject, edge in zip(subjects, edges, strict=True)]
        for subject, inner in zip(subjects, self.inner, strict=True):
            if not (inner & subject.scored).any():
                expected = "a mask with voxels away from its outline, from which the alignment can learn"
                raise SubjectError(subject.name, expected, "only voxels at the outline", "give a larger mask, or --align off")
        hidden = hidden or [np.zeros(subject.mask.shape, bool) for subject in subjects]
        whole = [with_surroundings(subject, distance) for subject, distance in zip(subjects, distances, strict=True)]
        self.subjects = [_without(subject, places) for subject, places in zip(whole, hidden, strict=True)]
        self.low, self.range = scaling.target_min, scaling.target_max - scaling.target_min
        self.predictor = PointwisePredictor(self.subjects, scaling.training_coefficients(subjects), seed)
        self.registrations = [Registration(subject, EXPECTED_MM) for subject in self.subjects]
        self._masks = [torch.from_numpy(subject.mask) for subject in self.subjects]
        self._stains = [torch.from_numpy(each.stain) for each in self.registrations]
        self._seen = [torch.from_numpy(~places[each.mask]) for each, places in zip(self.subjects, hidden, strict=True)]
        self._beside_edge = [torch.from_numpy(~edge[each.mask]) for each, edge in zip(self.subjects, edges, strict=True)]

    @property
    def expected_mm(self) -> list[float]:
        """The displacement that is expected of each stain, in mm."""
        return [each.expected_mm for each in self.registrations]

    def train(self, steps: int, smoothing: float | None = None) -> None:
        """Train the predictor on the stains as they are moved now.

        While a stain is far from its place, its edge is blurred. A predictor that learned this blur would recognise voxels at the edge by
        their signals, and hold every stain where it is.

        Args:
            steps: Number of steps.
            smoothing: Smoothing of the round, on which depends whether the edge of the brain is learned; None before the first round.
        """

        def moved(index: int) -> tuple[torch.Tensor, torch.Tensor]:
            return moved_voxels(self.subjects[index], self._stains[index], self.registrations[index].found, self._masks[index])

        found = map_on_threads(moved, range(len(self.subjects)))
        stains = [(stain - self.low) / self.range for stain, _ in found]
        known = [intact & seen for (_, intact), seen in zip(found, self._seen, strict=True)]
        if smoothing is None or smoothing > FINE:
            known = [where & beside for where, beside in zip(known, self._beside_edge, strict=True)]
        with limited_threads(1):
            self.predictor.train(stains, known, steps)

    def register(self, predictions: Sequence[np.ndarray | None], smoothing: float, expected_mm: Sequence[float] | None = None) -> None:
        """Register each prediction onto the stain of its subject, starting from what was found before.

        Args:
            predictions: (X, Y, Z) for each subject; None leaves its stain where it is.
            smoothing: See `Registration.refine`.
            expected_mm: Displacement that is expected of each stain; None to expect, at fine smoothing, what the round before found.
        """

        def register(index: int) -> None:
            prediction, registration = predictions[index], self.registrations[index]
            if prediction is None:
                return
            if expected_mm is not None:
                registration.expected_mm = expected_mm[index]
            registration.refine(prediction, smoothing)
            if expected_mm is None and smoothing <= ADAPTING:
                expected = max(registration.size_mm, registration.expected_mm / 2)
                registration.expected_mm = min(max(expected, LEAST_MM), MOST_MM)

        map_on_threads(register, range(len(self.registrations)))

    def make_round(self, smoothing: float) -> None:
        """Make one round: move each stain onto its prediction, and let the predictor learn from the moved stains.

        Args:
            smoothing: Smoothing of prediction and stain in voxels of the coronal plane, see `Registration.refine`.
        """
        self.register(self.predictions(), smoothing)
        self.train(STEPS, smoothing)

    def predictions(self) -> list[np.ndarray]:
        """Return the predicted stain (X, Y, Z) float32 of each subject, 0 outside the mask and its surroundings."""

        def predicted(index: int) -> np.ndarray:
            volume = torch.zeros(self._masks[index].shape)
            volume[self._masks[index]] = self.predictor.predict(index) * self.range + self.low
            return np.asarray(volume)

        return map_on_threads(predicted, range(len(self._masks)))

    def state(self) -> dict[str, Any]:
        """Return a copy of all that changes from round to round."""
        return {
            "weights": self.predictor.state(),
            "fields": [(each.control, each.found, each.expected_mm) for each in self.registrations],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a copy that `state` made, also one of other rounds on the same subjects."""
        self.predictor.restore(state["weights"])
        for each, (control, found, expected_mm) in zip(self.registrations, state["fields"], strict=True):
            each.control, each.found, each.expected_mm = control, found, expected_mm


def _without(subject: SubjectInMemory, hidden: np.ndarray) -> SubjectInMemory:
    """Return a subject whose stain counts as torn at some voxels."""
    if not hidden.any():
        return subject
    return replace(subject, target_mask=~hidden if subject.target_mask is None else subject.target_mask & ~hidden)
