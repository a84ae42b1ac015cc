"""Alignment of the stains of a training set to its MR images, and whether it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from mrh_monai.alignment.displacement import PLANE
from mrh_monai.alignment.moved_stain import move_stain
from mrh_monai.alignment.registration import stain_displacement
from mrh_monai.alignment.rounds import MOST_MM, Rounds
from mrh_monai.alignment.trial import LEAST_GAIN, SMOOTHINGS, Trial, try_alignment
from mrh_monai.data import SubjectInMemory
from mrh_monai.devices import map_on_threads
from mrh_monai.errors import SubjectError
from mrh_monai.progress import progress_bar
from mrh_monai.scaling import Scaling

LAST_SMOOTHINGS = (2.0, 1.5, 1.0, 0.7)  # smoothing of the rounds that see all voxels, after the trial
ONE_WAY = 0.9  # length of the mean displacement, relative to the root mean square, above which a stain counts as shifted as a whole


@dataclass(frozen=True)
class Alignment:
    """Stains that were moved onto the MR images, or left where they are.

    Attributes:
        originals: The subjects with their stains where they were.
        subjects: The subjects, with the moved targets and target masks if ``is_moved``.
        displacements: (2, X, Y, Z) for each subject, float32: how far from each voxel its stain lies, along x and z in mm; 0 if not
            ``is_moved``.
        control: (2, I, J, K) for each subject, float32, control points from which the displacement follows.
        trial: How well the stains agree with their predictions on voxels that were held out.
        is_moved: Whether the stains were moved.
    """

    originals: tuple[SubjectInMemory, ...]
    subjects: tuple[SubjectInMemory, ...]
    displacements: tuple[np.ndarray, ...]
    control: tuple[np.ndarray, ...]
    trial: Trial
    is_moved: bool

    @classmethod
    def from_control(cls, subjects: Sequence[SubjectInMemory], control: Sequence[np.ndarray], trial: Trial, is_moved: bool) -> Alignment:
        """Return the alignment of subjects whose control points are known.

        Args:
            subjects: The subjects with their original stains.
            control: (2, I, J, K) for each subject, see `Alignment`.
            trial: How well the stains agree with their predictions.
            is_moved: Whether the stains are moved.
        """
        if not is_moved:
            unmoved = tuple(np.zeros((2, *subject.mask.shape), np.float32) for subject in subjects)
            return cls(tuple(subjects), tuple(subjects), unmoved, tuple(control), trial, False)

        def moved(index: int) -> tuple[SubjectInMemory, np.ndarray]:
            displacement = stain_displacement(torch.from_numpy(control[index]), subjects[index])
            return move_stain(subjects[index], displacement), displacement.numpy()

        stains, displacements = zip(*map_on_threads(moved, range(len(subjects))), strict=True)
        return cls(tuple(subjects), stains, displacements, tuple(control), trial, True)

    @property
    def sizes_mm(self) -> tuple[float, ...]:
        """Root mean square of each subject's displacement inside its mask, in mm."""
        pairs = zip(self.displacements, self.subjects, strict=True)
        return tuple(_size_mm(moved, subject) for moved, subject in pairs)

    @property
    def median_mm(self) -> float:
        """Median of the length of the displacement over the voxels of all masks, in mm."""
        pairs = zip(self.displacements, self.subjects, strict=True)
        return float(np.median(np.concatenate([np.linalg.norm(moved[:, each.mask], axis=0) for moved, each in pairs])))

    @property
    def summary(self) -> str:
        """What was done, in one sentence."""
        if self.is_moved:
            before, after = (1 - float(np.mean(shares)) for shares in (self.trial.original, self.trial.aligned))
            found = f"on voxels that were held out, the agreement of fine structure went from {before:.2f} to {after:.2f}"
            return f"training stains were moved by {self.median_mm:.2f} mm (median); {found}"
        effect = "does not lower"
        if self.trial.gain > 0:
            effect = f"lowers by only {self.trial.gain:.0%} (a prediction upside down: {max(self.trial.decoy_gain, 0):.0%})"
        left = "training stains were left where they are: on voxels that were held out, moving them"
        return f"{left} {effect} what the images leave unexplained"

    @property
    def doubts(self) -> list[str]:
        """Reasons not to trust the moved stains, each in one sentence; empty if nothing speaks against them, or if no stain was moved."""
        if not self.is_moved:
            return []
        found = []
        if not self.trial.passed:
            gain, decoy = self.trial.gain, self.trial.decoy_gain
            found.append(
                f"on voxels that were held out, the alignment lowers the unexplained variance by {gain:.0%}, and that of a prediction "
                f"upside down by {decoy:.0%}; it has to be more than {LEAST_GAIN:.0%}, and more than that"
            )
        worse = [
            subject.name
            for subject, before, after in zip(self.subjects, self.trial.original, self.trial.aligned, strict=True)
            if after >= before
        ]
        if worse and self.trial.passed:
            found.append(f"on voxels that were held out, agreement does not rise in {', '.join(worse)}")
        for text, test in (
            ("the displacement folds the stain, so that places change their order, in", _folds),
            (f"the displacement is larger than the alignment expects ({MOST_MM} mm) in", _is_at_limit),
            ("the whole stain is shifted one way, as if stain and images were not registered, in", _points_one_way),
        ):
            pairs = zip(self.displacements, self.subjects, strict=True)
            concerned = [subject.name for moved, subject in pairs if test(moved, subject)]
            if concerned:
                found.append(f"{text} {', '.join(concerned)}")
        return found


def align_stains(
    subjects: Sequence[SubjectInMemory], scaling: Scaling, seed: int = 0, *, always: bool = False, progress: bool = False
) -> Alignment:
    """Move the stains of training subjects onto their MR images, within the coronal plane, if that can be trusted.

    A predictor that sees single voxels learns the stain. Each stain is registered with its prediction, smoothly over 0.5 mm, and the
    predictor learns again from the moved stains; this is repeated from coarse to fine. At first a quarter of each brain is held out. The
    stains are moved only if they then agree with their predictions better in this quarter too, and if a prediction that is upside down
    gains less.

    Args:
        subjects: Training subjects in memory, with targets.
        scaling: Scaling of the network that will be trained on them.
        seed: Random seed of the predictor.
        always: Whether to move the stains in any case.
        progress: Whether to show a progress bar on a terminal.

    Returns:
        The stains, each interpolated at most once, by cubic splines from the original, and the displacements.

    Raises:
        SubjectError: There is no subject; or one has no target, is a patch file, whose patches cannot be moved, or is too small.

    Example:
        >>> from mrh_monai.scaling import RobustScaling
        >>> x, _, z = np.indices((24, 3, 24)) / 4
        >>> image, affine = np.stack([2 + np.sin(x), 2 + np.cos(z)], axis=-1), np.diag([0.0625, 0.0625, 0.0625, 1])
        >>> subject = SubjectInMemory("m1", image, 0, np.ones(x.shape, bool), image.prod(-1), None, affine)
        >>> align_stains([subject], RobustScaling.fit([subject])).is_moved  # this stain already fits
        False
    """
    if not subjects:
        raise SubjectError("align_stains", "at least one subject", "no subject", "give the training subjects")
    for subject in subjects:
        if subject.target is None or subject.is_patches:
            found = "a patch file" if subject.is_patches else "no target"
            raise SubjectError(subject.name, "a volume with a target, to align", found, "leave it out, or give --align off")
    count = 2 * len(SMOOTHINGS) + len(LAST_SMOOTHINGS)
    steps = iter(progress_bar(range(count), "round", progress, "alignment of stains"))
    trial = try_alignment(subjects, scaling, seed, lambda: next(steps))
    is_moved, state = always or trial.passed, trial.state
    if is_moved:
        rounds = Rounds(subjects, scaling, seed)
        rounds.restore(state)
        for smoothing in LAST_SMOOTHINGS:
            rounds.make_round(smoothing)
            next(steps)
        state = rounds.state()
    return Alignment.from_control(subjects, [control.numpy() for control, _, _ in state["fields"]], replace(trial, state={}), is_moved)


def _folds(displacement: np.ndarray, subject: SubjectInMemory) -> bool:
    """Return whether the displacement turns a piece of the mask inside out: the determinant of its derivative is not positive."""
    slopes = [
        [np.gradient(along, subject.spacing[axis], axis=axis) if along.shape[axis] > 1 else np.zeros_like(along) for axis in PLANE]
        for along in displacement
    ]
    determinant = (1 + slopes[0][0]) * (1 + slopes[1][1]) - slopes[0][1] * slopes[1][0]
    return bool((determinant[subject.mask] <= 0).any())


def _is_at_limit(displacement: np.ndarray, subject: SubjectInMemory) -> bool:
    return _size_mm(displacement, subject) >= MOST_MM


def _points_one_way(displacement: np.ndarray, subject: SubjectInMemory) -> bool:
    size, mean = _size_mm(displacement, subject), displacement[:, subject.mask].mean(1)
    return size >= min(subject.spacing[axis] for axis in PLANE) / 2 and float(np.linalg.norm(mean)) > ONE_WAY * size


def _size_mm(displacement: np.ndarray, subject: SubjectInMemory) -> float:
    """Return the root mean square of a displacement inside the mask, in mm."""
    return float(np.sqrt((displacement**2).sum(0)[subject.mask].mean()))
