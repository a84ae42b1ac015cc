"""What was fitted to subjects whose errors are known."""

import copy

import pytest
import torch

from helpers.known_errors import CHANNELS, patches_of, subject_with_errors
from helpers.random_weights import random_network
from mrh_monai.intervals.interval_data import draw_interval_data
from mrh_monai.patch_geometry import CORONAL_PATCH
from mrh_monai.patches import sample_centres


@pytest.fixture(scope="module")
def fitted():
    """A network, two training subjects and a held-out one whose errors are twice as large, and what was fitted to them."""
    network = random_network(CHANNELS, 8, 1)
    made = [subject_with_errors(network, name, seed, noise) for name, seed, noise in (("m1", 1, 0.05), ("m2", 2, 0.05), ("m3", 3, 0.1))]
    subjects = [each for each, _ in made]
    train, held = (patches_of(part, sample_centres(part, 100, 0)) for part in (subjects[:2], subjects[2:]))
    used = sample_centres(subjects[:2], 6000, 0)
    data = draw_interval_data(train, subjects[:2], used, held, subjects[2:], 0, CORONAL_PATCH)
    before = copy.deepcopy(network.state_dict())
    head, calibration = data.fit(network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    return network, subjects, [size for _, size in made], data, head, calibration
