"""A predictor of the stain from the signals of a single voxel, which cannot learn how far a stain is displaced."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from mrh_monai.data import SubjectInMemory
from mrh_monai.scaling import Coefficients

HIDDEN = 64
BATCH, LEARNING_RATE, WEIGHT_DECAY = 1024, 0.003, 0.01
BLOCK = 65_536  # voxels that are predicted at once


class PointwisePredictor:
    """A small network from the scaled signals of a voxel to the stain of that voxel.

    It sees no neighbours. So it cannot learn that the stain of a voxel lies beside it, as a network of patches does.

    Args:
        subjects: Subjects in memory.
        coefficients: Gain and offset of each of them.
        seed: Random seed of the weights and of the voxels of each step.
    """

    def __init__(self, subjects: Sequence[SubjectInMemory], coefficients: Sequence[Coefficients], seed: int):
        self.subjects, self.coefficients = subjects, coefficients
        self.voxels = [np.nonzero(subject.mask) for subject in subjects]
        self._generator = torch.Generator().manual_seed(seed)
        channels = subjects[0].image.shape[3]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = nn.Sequential(nn.Linear(channels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))

    def train(self, stains: Sequence[torch.Tensor], known: Sequence[torch.Tensor], steps: int) -> None:
        """Go on with the training, by the squared error, on the stains where they are known.

        The squared error makes the prediction a mean. The error that is left is then independent of the signals, and does not pull the
        displacements into a direction, as the error of a median would.

        Args:
            stains: (V,) scaled stain of each subject's V voxels.
            known: (V,) bool, where it may be used.
            steps: Number of steps.
        """
        picked = [torch.nonzero(each)[:, 0] for each in known]
        ends = np.cumsum([len(each) for each in picked])
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps + 1, pct_start=0.2)
        for _ in range(steps):
            drawn = torch.randint(int(ends[-1]), (BATCH,), generator=self._generator).sort().values.numpy()
            owner = np.searchsorted(ends, drawn, side="right")
            signals, labels = [], []
            for index in np.unique(owner):
                chosen = picked[index][drawn[owner == index] - (ends[index - 1] if index else 0)]
                signals.append(self._signals(index, chosen.numpy()))
                labels.append(stains[index][chosen])
            error = self.network(torch.cat(signals))[:, 0] - torch.cat(labels)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(error.square().mean())
            optimizer.step()
            schedule.step()

    @torch.no_grad()
    def predict(self, index: int) -> torch.Tensor:
        """Return the scaled stain (V,) of all V voxels of a subject's mask."""
        count = len(self.voxels[index][0])
        blocks = [np.arange(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
        return torch.cat([self.network(self._signals(index, block))[:, 0] for block in blocks])

    def state(self) -> dict[str, Any]:
        """Return a copy of the weights."""
        return copy.deepcopy(self.network.state_dict())

    def restore(self, state: dict[str, Any]) -> None:
        """Take the weights of a copy that `state` made."""
        self.network.load_state_dict(state)

    def _signals(self, index: int, chosen: np.ndarray) -> torch.Tensor:
        x, y, z = (axis[chosen] for axis in self.voxels[index])
        gain, offset = self.coefficients[index]
        return torch.from_numpy(self.subjects[index].image[x, y, z].astype(np.float32) * gain + offset)
