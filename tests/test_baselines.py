import numpy as np
import pytest

from mrh_monai.baselines import best_single_image, linear_regression
from mrh_monai.loaded import LoadedSubject
from mrh_monai.metrics import r2
from mrh_monai.scaling import fit_scaling


def make(seed):
    rng = np.random.default_rng(seed)
    image = rng.uniform(1, 2, (12, 6, 10, 3))
    target = 100 * image[..., 0] - 40 * image[..., 1] + rng.normal(0, 1, image.shape[:3])
    return LoadedSubject("s", image, 0, rng.random(target.shape) > 0.3, target, None, np.eye(4))


def test_best_single_image_is_the_one_with_the_highest_r2(few):
    s = make(0)
    name, found = best_single_image(s, few)
    scores = [r2(s.image[..., c][s.mask], s.target[s.mask]) for c in range(3)]
    assert (name, found) == ("qa", pytest.approx(max(scores)))


def test_linear_regression_finds_a_linear_stain():
    training, test = [make(1), make(2)], make(3)
    scores = linear_regression(training, test, fit_scaling(training))
    assert scores["r2"] > 0.97
    assert scores["rmse"] < 8
