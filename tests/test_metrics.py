import json

import numpy as np
import pytest
from skimage.metrics import mean_squared_error, structural_similarity
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from mrh_monai.errors import SubjectError
from mrh_monai.metrics import as_json, r2, rmse, score, ssim


@pytest.fixture
def pair(rng):
    target = rng.uniform(0, 255, (24, 3, 20))
    return target + rng.normal(0, 30, target.shape), target, rng.random(target.shape) > 0.3


def test_rmse_is_scikit_images(pair):
    p, t, mask = pair
    assert rmse(p[mask], t[mask]) == pytest.approx(mean_squared_error(t[mask], p[mask]) ** 0.5)


def test_r2_is_the_determination_of_the_best_line(pair):
    p, t, mask = pair
    line = LinearRegression().fit(p[mask][:, None], t[mask]).predict(p[mask][:, None])
    assert r2(p[mask], t[mask]) == pytest.approx(r2_score(t[mask], line))
    assert r2(3 * p[mask] + 7, t[mask]) == pytest.approx(r2(p[mask], t[mask]))
    assert np.isnan(r2(np.ones(5), np.arange(5.0)))


def test_ssim_is_scikit_images_where_the_mask_is_full(pair):
    p, t, _ = pair
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True, "data_range": 255}
    expected = np.mean([structural_similarity(p[:, y], t[:, y], **options)[1] for y in range(3)])
    assert ssim(p, t, np.ones(p.shape, bool), 255) == pytest.approx(expected)


def test_ssim_does_not_count_the_background(pair):
    p, t, _ = pair
    mask = np.zeros(p.shape, bool)
    mask[8:16, :, 6:14] = True
    inside = ssim(p, t, mask, 255)
    assert inside < 0.97
    garbage = np.where(mask, p, 1e4)
    assert ssim(garbage, t, mask, 255) == pytest.approx(inside)
    assert ssim(t, t, mask, 255) == pytest.approx(1)
    assert np.isnan(ssim(p[:8], t[:8], mask[:8], 255))


def test_score_is_inside_the_mask_alone(pair):
    p, t, mask = pair
    scores = score(np.where(mask, p, np.nan), np.where(mask, t, np.nan), mask)
    assert scores["rmse"] == pytest.approx(rmse(p[mask], t[mask]))
    assert scores["nrmse"] == pytest.approx(scores["rmse"] / t[mask].max())
    assert scores["voxels"] == mask.sum()
    with pytest.raises(SubjectError, match="expected one shape, found prediction"):
        score(p[:3], t, mask)
    with pytest.raises(SubjectError, match="voxels inside the mask, found none"):
        score(p, t, mask & False)


def test_json_has_null_for_what_could_not_be_computed():
    assert json.loads(as_json({"s": {"ssim": float("nan"), "r2": 0.5}})) == {"s": {"ssim": None, "r2": 0.5}}
