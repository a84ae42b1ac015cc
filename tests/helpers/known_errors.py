"""Subjects of a small network whose errors are known."""

from dataclasses import replace

import numpy as np

from mrh_monai.data import SubjectInMemory
from mrh_monai.intervals.head_fitting import features_and_errors
from mrh_monai.patches import PatchDataset, sample_centres
from mrh_monai.scaling import Coefficients

SHAPE, CHANNELS = (40, 4, 40), 5


def subject_with_errors(network, name, seed, noise):
    """A subject whose stain is what the network predicts, with errors that are ten times larger where the first image is bright."""
    rng = np.random.default_rng(seed)
    image = rng.uniform(0, 1, (*SHAPE, CHANNELS)).astype(np.float32)
    bright = rng.random(SHAPE) < 0.3
    image[..., 0] = bright
    padded = np.pad(image, [(1, 1)] * 3 + [(0, 0)])
    made = SubjectInMemory(name, padded, 1, np.ones(SHAPE, bool), np.zeros(SHAPE, np.float32), None, np.diag([0.1, 0.1, 0.1, 1]))
    everywhere = sample_centres([made], None, 0)
    _, errors = features_and_errors(network, patches_of([made], everywhere))
    stain = np.zeros(SHAPE, np.float32)
    stain[tuple(everywhere[:, 1:].T)] = errors.numpy()
    size = noise * np.where(bright, 1.0, 0.1)
    target = (stain + rng.laplace(size=SHAPE) * size).astype(np.float32)
    return replace(made, target=target), size


def patches_of(subjects, centres):
    one = Coefficients(np.ones(CHANNELS, np.float32), np.zeros(CHANNELS, np.float32))
    return PatchDataset(subjects, centres, [one] * len(subjects))
