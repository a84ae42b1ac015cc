"""Subjects whose stain is a function of their signals, voxel by voxel."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from helpers.scaled_subjects import subject_of
from mrh_monai.scaling import RobustScaling


def make_brain(seed, shape=(44, 5, 36), edge=0.0625):
    """A round brain of three smooth tissue maps, five images with noise, and a stain that no single image determines."""
    rng = np.random.default_rng(seed)
    maps = np.stack([gaussian_filter(rng.normal(size=shape), 1.6) for _ in range(3)])
    maps = 0.5 + 0.25 * maps / maps.std(axis=(1, 2, 3), keepdims=True)
    mixes = np.array([[1, 0.3, 0], [0.2, 1, 0.4], [0, 0.3, 1], [1, 1, 0], [0.5, 0, 1]])
    image = 1000 + 600 * np.einsum("cm,mxyz->xyzc", mixes, maps) + rng.normal(0, 15, (*shape, 5))
    stain = 100 + 60 * np.tanh(2 * (maps[0] - maps[1])) + 40 * (maps[2] - 0.5)
    x, _, z = np.indices(shape)
    mask = ((x - shape[0] / 2 + 0.5) / (shape[0] / 2 - 3)) ** 2 + ((z - shape[2] / 2 + 0.5) / (shape[2] / 2 - 3)) ** 2 < 1
    subject = subject_of((image * mask[..., None]).astype(np.float32), mask, (stain * mask).astype(np.float32), f"brain{seed}")
    subject.affine[:3, :3] *= edge
    return subject


@pytest.fixture
def brains():
    return [make_brain(seed) for seed in range(3)]


@pytest.fixture
def scaling(brains):
    return RobustScaling.fit(brains)
