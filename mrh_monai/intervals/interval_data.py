"""The voxels from which intervals come, and the last step of a training, which makes them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mrh_monai.data import SubjectInMemory
from mrh_monai.errors import SubjectError
from mrh_monai.intervals.head_fitting import fit_interval_head
from mrh_monai.intervals.held_subjects import measure_held_subject
from mrh_monai.network import Calibration, IntervalHead, MRHNet
from mrh_monai.patch_geometry import PatchGeometry
from mrh_monai.patches import PatchDataset, sample_centres

logger = logging.getLogger(__name__)

FITTED_VOXELS, HELD_VOXELS = 36_000, 20_000  # of all training subjects together, and of each held-out subject
LEAST_VOXELS = 200  # from which a head can be fitted
IntervalFitter = Callable[[torch.nn.Module], tuple[IntervalHead, Calibration] | None]


@dataclass(frozen=True)
class IntervalData:
    """The voxels from which intervals come.

    Attributes:
        fitting: Patches of training subjects, as far as possible other ones than those that train the network.
        held: Patches of each subject that takes no part in the training, by its name.
        seed: Random seed of the head.
    """

    fitting: PatchDataset
    held: Mapping[str, PatchDataset]
    seed: int = 0

    def fit(self, network: torch.nn.Module) -> tuple[IntervalHead, Calibration] | None:
        """Fit an interval head to a trained network, and measure it on the subjects that were held out.

        Args:
            network: Trained network, in evaluation mode afterwards.

        Returns:
            The head and what was measured; None for a network that is not an `MRHNet`, or with too few voxels.
        """
        if not isinstance(network, MRHNet) or len(self.fitting) < LEAST_VOXELS:
            logger.info("there are no intervals: %d voxels, or another network than MRH-Net", len(self.fitting))
            return None
        head = fit_interval_head(network, self.fitting, self.seed)
        calibration = Calibration(tuple(measure_held_subject(name, network, head, patches) for name, patches in self.held.items()))
        logger.info("intervals: %s", calibration.held)
        return head, calibration


def draw_interval_data(
    patches: PatchDataset,
    subjects: Sequence[SubjectInMemory],
    used: np.ndarray,
    held: PatchDataset,
    held_subjects: Sequence[SubjectInMemory],
    seed: int,
    patch: PatchGeometry,
) -> IntervalData:
    """Draw the voxels from which intervals come.

    Args:
        patches: Any patches of the training subjects.
        subjects: The training subjects.
        used: (N, 4) int64, centres of the patches that train the network.
        held: Any patches of the subjects that take no part in the training; not used if there is no such subject.
        held_subjects: These subjects.
        seed: Random seed.
        patch: Shape of the patches.
    """
    of_each = {}
    for index, subject in enumerate(held_subjects):
        with contextlib.suppress(SubjectError):  # all of its tissue is torn
            centres = drawn_centres([subject], HELD_VOXELS, seed + 3, patch)
            centres[:, 0] = index
            of_each[subject.name] = held.around(centres)
    return IntervalData(patches.around(drawn_centres(subjects, FITTED_VOXELS, seed + 2, patch, used)), of_each, seed)


def drawn_centres(
    subjects: Sequence[SubjectInMemory], count: int, seed: int, patch: PatchGeometry, used: np.ndarray | None = None
) -> np.ndarray:
    """Draw voxels of subjects, fewer where there are fewer.

    Args:
        subjects: Subjects with targets.
        count: Number of voxels of all of them together.
        seed: Random seed.
        patch: Shape of the patches.
        used: (M, 4) int64, voxels that are drawn only where there are not enough others.

    Returns:
        (N, 4) int64: index of the subject, x, y, z.
    """
    candidates = sample_centres(subjects, None, seed, patch=patch)
    order = np.random.default_rng(seed).permutation(len(candidates))
    if used is not None:
        order = order[np.argsort(np.isin(_keys(candidates), _keys(used))[order], kind="stable")]
    return np.asarray(candidates[order[:count]])


def _keys(centres: np.ndarray) -> np.ndarray:
    """Return one number (N,) for each centre (N, 4)."""
    return np.asarray(centres @ (np.int64(1) << np.array([48, 32, 16, 0])))
