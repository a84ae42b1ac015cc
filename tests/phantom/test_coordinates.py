import math

import numpy as np

from mrh_monai.phantom.coordinates import smooth_field


def test_waves_are_the_sum_that_they_stand_for():
    shape = (5, 3, 4)
    fast = smooth_field(np.random.default_rng(1), shape, 2.0, 6)
    rng = np.random.default_rng(1)
    frequency, phase = rng.uniform(-2, 2, (3, 6)), rng.uniform(0, 2 * np.pi, 6)
    slow = np.zeros(shape)
    for index in np.ndindex(shape):
        place = [(i + 0.5) / n for i, n in zip(index, shape, strict=True)]
        slow[index] = math.sqrt(2 / 6) * sum(math.cos(2 * math.pi * np.dot(place, frequency[:, k]) + phase[k]) for k in range(6))
    np.testing.assert_allclose(fast, slow.ravel(order="F"), atol=1e-5)
