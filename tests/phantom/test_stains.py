from __future__ import annotations

import numpy as np
from sklearn.linear_model import LinearRegression

from mrh_monai.protocol.mrh_net import MRH_NET


def squared_correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1] ** 2)


def test_af_is_not_given_away_by_one_image_nor_by_a_weighted_sum(cohort):
    inputs, targets = [], []
    for subject in cohort:
        inside = np.flatnonzero(subject.mask.ravel())[::11]
        voxels = subject.image.reshape(-1, len(MRH_NET))[inside].astype(np.float64)
        inputs.append(voxels / np.percentile(voxels, 99))
        targets.append(subject.stains["af"].ravel()[inside].astype(np.float64))
    single = max(squared_correlation(channel, targets[-1]) for channel in inputs[-1].T)
    model = LinearRegression().fit(np.concatenate(inputs[:-1]), np.concatenate(targets[:-1]))
    linear = squared_correlation(model.predict(inputs[-1]), targets[-1])
    assert single <= 0.65
    assert linear <= 0.85
    assert single < linear  # and yet the images do tell something of it
