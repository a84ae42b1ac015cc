"""The trial of an alignment: do voxels of which it has seen nothing agree better after it?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from mrh_monai.alignment.displacement import PLANE
from mrh_monai.alignment.moved_stain import moved_voxels, whole_stain
from mrh_monai.alignment.registration import agreement
from mrh_monai.alignment.rounds import FIRST_STEPS, STEPS, Rounds
from mrh_monai.data import SubjectInMemory
from mrh_monai.devices import map_on_threads
from mrh_monai.errors import SubjectError
from mrh_monai.scaling import Scaling

SMOOTHINGS = (5.0, 4.0, 3.0, 2.5, 2.0, 1.5, 1.0, 0.7)  # smoothing of each round, in voxels of the coronal plane
BLOCK_MM, BLOCK_VOXELS = 0.5, 4  # edge of a held-out block, and the least number of voxels along it in the coronal plane
LEAST_VOXELS = 50  # on which a subject is judged
LEAST_GAIN = 0.1
DECOYS = 3  # subjects on which the decoy is tried
DORSAL = PLANE[1]  # the axis along which the decoy is turned round


@dataclass(frozen=True)
class Trial:
    """How well stains agree with what their signals predict, on voxels that were held out, with and without an alignment.

    A value is the share of the variance of the fine structure of a stain that its prediction leaves unexplained, 0 to 1. There is one value
    for each subject, and for the decoy one for each of the first three subjects.

    Attributes:
        original: With the stains where they are, and a predictor that learned from these.
        aligned: With the stains moved, and a predictor that learned from the moved ones.
        decoy_original: With the stains where they are, and a prediction that is upside down.
        decoy_aligned: With the stains moved onto that, as freely as before.
        state: The state of the rounds after the alignment, from which they can go on.
    """

    original: tuple[float, ...]
    aligned: tuple[float, ...]
    decoy_original: tuple[float, ...]
    decoy_aligned: tuple[float, ...]
    state: dict[str, Any] = field(repr=False, default_factory=dict)

    @property
    def gain(self) -> float:
        """Share by which the alignment lowers the unexplained variance, as a mean over the subjects; negative if it rises."""
        return _gain(self.original, self.aligned)

    @property
    def decoy_gain(self) -> float:
        """The same for the prediction that is upside down: what any freedom to move would bring."""
        return _gain(self.decoy_original, self.decoy_aligned)

    @property
    def passed(self) -> bool:
        """Whether the alignment is to be trusted: it gains more than a tenth, and more than the decoy.

        Example:
            >>> Trial((0.4,), (0.1,), (0.99,), (0.95,)).passed
            True
            >>> Trial((0.4,), (0.37,), (0.99,), (0.95,)).passed
            False
        """
        return self.gain > max(LEAST_GAIN, self.decoy_gain)


def try_alignment(subjects: Sequence[SubjectInMemory], scaling: Scaling, seed: int, after_round: Callable[[], object] = int) -> Trial:
    """Align the stains of subjects by three quarters of each brain, and judge the alignment by the rest.

    Args:
        subjects: Subjects in memory, with targets.
        scaling: Scaling of the network that will be trained on them.
        seed: Random seed of the predictor.
        after_round: Called after each of the ``2 * len(SMOOTHINGS)`` rounds.

    Raises:
        SubjectError: The brain of a subject is too small for blocks that are held out.
    """
    hidden = [held_out_blocks(subject) for subject in subjects]
    rounds = Rounds(subjects, scaling, seed, hidden)
    masks = [subject.mask for subject in rounds.subjects]
    stains = [torch.from_numpy(whole_stain(subject)) for subject in subjects]
    judged = []
    for subject, blocks, inner in zip(subjects, hidden, rounds.inner, strict=True):
        judged.append(blocks & inner & _inside_blocks(subject) & subject.scored)
        count = min(judged[-1].sum(), (inner & subject.scored & ~blocks).sum())
        if count < LEAST_VOXELS:
            expected = (
                f"at least {LEAST_VOXELS} voxels inside blocks of {BLOCK_MM} mm that the alignment can hold out, and as many elsewhere"
            )
            raise SubjectError(subject.name, expected, f"{count}", "give a larger mask, or --align off")

    def unexplained(predictions: Sequence[np.ndarray | None]) -> tuple[float, ...]:
        def of(pair: tuple[int, np.ndarray]) -> float:
            index, prediction = pair
            return 1 - _agreement(subjects[index], stains[index], prediction, rounds.registrations[index].found, judged[index])

        return tuple(map_on_threads(of, [(index, found) for index, found in enumerate(predictions) if found is not None]))

    rounds.train(FIRST_STEPS)
    start = rounds.state()
    for smoothing in SMOOTHINGS:
        rounds.train(STEPS, smoothing)
    predictions = rounds.predictions()
    decoys = [upside_down(*each) if index < DECOYS else None for index, each in enumerate(zip(predictions, masks, strict=True))]
    original, decoy_original = unexplained(predictions), unexplained(decoys)
    rounds.restore(start)
    expected_mm = []
    for smoothing in SMOOTHINGS:
        expected_mm.append(rounds.expected_mm)
        rounds.make_round(smoothing)
        after_round()
    aligned, end = unexplained(rounds.predictions()), rounds.state()
    # The decoy is as free to move as the prediction was.
    rounds.restore(start)
    for smoothing, freedom in zip(SMOOTHINGS, expected_mm, strict=True):
        rounds.register(decoys, smoothing, freedom)
        after_round()
    return Trial(original, aligned, decoy_original, unexplained(decoys), end)


def held_out_blocks(subject: SubjectInMemory) -> np.ndarray:
    """Return (X, Y, Z) bool: blocks of 0.5 mm in three dimensions, of which no two touch face to face, a quarter of all.

    Example:
        >>> affine = np.diag([0.125, 0.5, 0.125, 1])
        >>> subject = SubjectInMemory("m1", np.zeros((8, 2, 8, 1)), 0, np.ones((8, 2, 8), bool), None, None, affine)
        >>> held_out_blocks(subject)[:, :, ::4].astype(int).sum(axis=0).tolist()
        [[4, 0], [0, 4]]
    """
    x, y, z = np.ogrid[tuple(slice(count) for count in subject.mask.shape)]
    along_x, along_y, along_z = (places // edge for places, edge in zip((x, y, z), _block_edges(subject), strict=True))
    return np.asarray(((along_x + along_y) % 2 == 0) & ((along_z + along_y) % 2 == 0))


def upside_down(prediction: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a prediction (X, Y, Z) turned round from dorsal to ventral, in the mask; where that has no value, its nearest one."""
    used = np.nonzero(mask.any(axis=tuple(axis for axis in range(3) if axis != DORSAL)))[0]
    places = np.clip(used[0] + used[-1] - np.arange(mask.shape[DORSAL]), 0, mask.shape[DORSAL] - 1)
    turned, known = (np.take(volume, places, axis=DORSAL) for volume in (prediction, mask))
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(turned[tuple(nearest)] * mask)


def _block_edges(subject: SubjectInMemory) -> list[int]:
    least = [BLOCK_VOXELS if axis in PLANE else 1 for axis in range(3)]
    return [max(count, round(BLOCK_MM / edge)) for count, edge in zip(least, subject.spacing, strict=True)]


def _inside_blocks(subject: SubjectInMemory) -> np.ndarray:
    """Return (X, Y, Z) bool: the voxels that have no neighbour of another block in their coronal slice."""
    inside = np.ones(subject.mask.shape, bool)
    for axis in PLANE:
        edge = _block_edges(subject)[axis]
        place = np.arange(subject.mask.shape[axis]) % edge
        inside &= np.expand_dims((place > 0) & (place < edge - 1), [other for other in range(3) if other != axis])
    return inside


def _agreement(
    subject: SubjectInMemory, stain: torch.Tensor, prediction: np.ndarray, displacement: torch.Tensor, judged: np.ndarray
) -> float:
    moved, where = np.zeros(judged.shape, np.float32), np.zeros(judged.shape, bool)
    moved[judged], where[judged] = moved_voxels(subject, stain, displacement, torch.from_numpy(judged))
    return agreement(prediction, moved, where, subject)


def _gain(before: Sequence[float], after: Sequence[float]) -> float:
    return 1 - float(np.mean(after)) / max(float(np.mean(before)), 1e-9)
