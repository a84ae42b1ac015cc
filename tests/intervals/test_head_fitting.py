import numpy as np
import pytest
import torch

from helpers.known_errors import patches_of
from mrh_monai.intervals.head_fitting import features_and_errors, fit_interval_head
from mrh_monai.patches import sample_centres


def test_expected_errors_follow_the_true_ones(fitted):
    network, subjects, sizes, _, head, _ = fitted
    centres = sample_centres(subjects[2:], 2000, 7)
    features, _ = features_and_errors(network, patches_of(subjects[2:], centres))
    with torch.no_grad():
        expected = head(features.flatten(1)).numpy()
    size = sizes[2][tuple(centres[:, 1:].T)]
    large, small = expected[size > 0.05], expected[size < 0.05]
    # Where the image is bright, errors are ten times larger. The head was fitted to subjects whose errors are half as large.
    assert np.median(large) == pytest.approx(0.05, rel=0.25)
    assert np.median(small) == pytest.approx(0.005, rel=0.5)


def test_the_same_seed_gives_the_same_bits(fitted):
    network, _, _, data, head, _ = fitted
    one, other = (fit_interval_head(network, data.fitting, seed).state_dict() for seed in (0, 1))
    assert all(torch.equal(value, one[key]) for key, value in head.state_dict().items())
    assert not torch.equal(one["first.weight"], other["first.weight"])


def test_features_and_errors_are_those_of_each_patch(fitted):
    network, subjects, _, _, _, _ = fitted
    patches = patches_of(subjects[:1], sample_centres(subjects[:1], 5, 3))
    features, errors = features_and_errors(network, patches)
    assert features.shape == (5, 9, 8)
    for index in range(5):
        patch = patches[index]
        with torch.no_grad():
            hidden = network.last_features(network.conv1(patch["image"][None]))[0]
            error = network(patch["image"][None])[0, 0, 1, 1] - patch["label"][0, 1, 1]
        torch.testing.assert_close(features[index], hidden.flatten(1).T)
        torch.testing.assert_close(errors[index], error)
