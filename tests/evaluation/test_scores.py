import json

import numpy as np
import pytest
from skimage.filters import threshold_otsu
from skimage.metrics import mean_squared_error, normalized_root_mse, peak_signal_noise_ratio, structural_similarity
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, r2_score, roc_auc_score, roc_curve

from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.evaluation.scores import (
    as_json,
    auc,
    determination,
    mae,
    psnr,
    r2,
    rmse,
    roc,
    score,
    ssim,
    ssim_map,
    stain_range,
    structures,
)


@pytest.fixture
def pair(rng):
    target = rng.uniform(0, 255, (24, 3, 20))
    return target + rng.normal(0, 30, target.shape), target, rng.random(target.shape) > 0.3


def test_rmse_and_mae_are_scikits(pair):
    p, t, mask = pair
    assert rmse(p[mask], t[mask]) == pytest.approx(mean_squared_error(t[mask], p[mask]) ** 0.5)
    assert mae(p[mask], t[mask]) == pytest.approx(mean_absolute_error(t[mask], p[mask]))


def test_errors_of_stored_bytes_do_not_wrap():
    p, t = np.array([0, 10], np.uint8), np.array([255, 0], np.uint8)
    assert (mae(p, t), rmse(p, t)) == (132.5, pytest.approx(((255**2 + 10**2) / 2) ** 0.5))
    assert determination(p, t) == pytest.approx(r2_score(t.astype(float), p.astype(float)))
    assert (stain_range(t), r2(p, t)) == (255, pytest.approx(1))


def test_r2_is_the_determination_of_the_best_line(pair):
    p, t, mask = pair
    line = LinearRegression().fit(p[mask][:, None], t[mask]).predict(p[mask][:, None])
    assert r2(p[mask], t[mask]) == pytest.approx(r2_score(t[mask], line))
    assert r2(3 * p[mask] + 7, t[mask]) == pytest.approx(r2(p[mask], t[mask]))


@pytest.mark.parametrize("constant", [1.0, 0.1, 123.456])
def test_r2_of_what_is_the_same_everywhere_is_not_a_number(constant, rng):
    values = rng.uniform(0, 255, 1000)
    assert np.isnan(r2(np.full(1000, constant), values))
    assert np.isnan(r2(values, np.full(1000, constant)))
    assert np.isnan(r2(np.full(1000, constant, np.float32), values))


def test_determination_is_scikit_learns_and_sees_a_wrong_gain(pair):
    p, t, mask = pair
    assert determination(p[mask], t[mask]) == pytest.approx(r2_score(t[mask], p[mask]))
    assert determination(p[mask], t[mask]) < r2(p[mask], t[mask])
    assert determination(2 * p[mask], t[mask]) < 0 < r2(2 * p[mask], t[mask])
    assert np.isnan(determination(p[mask], np.ones(mask.sum())))


def test_psnr_and_nrmse_are_scikit_images(pair):
    p, t, mask = pair
    span = stain_range(t[mask])
    assert span == t[mask].max() - t[mask].min()
    assert psnr(rmse(p[mask], t[mask]), span) == pytest.approx(peak_signal_noise_ratio(t[mask], p[mask], data_range=span))
    assert score(p, t, mask)["nrmse"] == pytest.approx(normalized_root_mse(t[mask], p[mask], normalization="min-max"))
    assert psnr(0.0, 255) == np.inf


def test_ssim_is_scikit_images_where_the_mask_is_full(pair):
    p, t, _ = pair
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True, "data_range": 255}
    full = np.ones(p.shape, bool)
    expected = np.stack([structural_similarity(p[:, y], t[:, y], **options)[1] for y in range(3)], 1)
    assert ssim(p, t, full, 255) == pytest.approx(expected.mean())
    np.testing.assert_allclose(ssim_map(p, t, full, 255), expected[full], atol=1e-6)


def test_ssim_does_not_count_the_background(pair):
    p, t, _ = pair
    mask = np.zeros(p.shape, bool)
    mask[8:16, :, 6:14] = True
    inside = ssim(p, t, mask, 255)
    assert inside < 0.97
    garbage = np.where(mask, p, 1e4)
    assert ssim(garbage, t, mask, 255) == pytest.approx(inside)
    assert ssim(t, t, mask, 255) == pytest.approx(1)
    assert np.isnan(ssim(p[8:16], t[8:16], mask[8:16], 255))


def test_ssim_of_each_voxel_is_in_the_masks_order(pair):
    p, t, mask = pair
    mask[:, 1] = False
    found = ssim_map(p, t, mask, 255)
    assert found.shape == (mask.sum(),)
    assert found.mean() == pytest.approx(ssim(p, t, mask, 255))
    p[3, 2, 4] = t[3, 2, 4] + 200
    mask[3, 2, 4] = True
    in_place = np.zeros(mask.shape)
    in_place[mask] = ssim_map(p, t, mask, 255) - ssim_map(np.where(p == p[3, 2, 4], t, p), t, mask, 255)
    assert not in_place[:, 0].any()
    assert in_place[3, 2, 4] < -0.1


def test_score_is_inside_the_mask_alone(pair):
    p, t, mask = pair
    scores = score(np.where(mask, p, np.nan), np.where(mask, t, np.nan), mask)
    assert list(scores) == ["rmse", "nrmse", "mae", "r2", "determination", "ssim", "psnr", "voxels"]
    assert scores["rmse"] == pytest.approx(rmse(p[mask], t[mask]))
    assert scores["nrmse"] == pytest.approx(scores["rmse"] / (t[mask].max() - t[mask].min()))
    assert (scores["r2"], scores["determination"]) == (r2(p[mask], t[mask]), determination(p[mask], t[mask]))
    assert scores["mae"] == pytest.approx(mae(p[mask], t[mask]))
    assert scores["psnr"] == pytest.approx(-20 * np.log10(scores["nrmse"]))
    assert scores["voxels"] == mask.sum()
    with pytest.raises(SubjectError, match="expected one shape, found prediction"):
        score(p[:3], t, mask)
    with pytest.raises(SubjectError, match="voxels inside the mask, found none"):
        score(p, t, mask & False)


def test_a_constant_target_has_no_r2_and_a_range_of_one(pair):
    p, t, mask = pair
    scores = score(p, np.full_like(t, 7), mask)
    assert np.isnan([scores["r2"], scores["determination"]]).all()
    assert scores["nrmse"] == scores["rmse"] > 0


def test_structures_are_parted_by_otsus_threshold(rng):
    target = np.concatenate([rng.normal(50, 10, 700), rng.normal(150, 10, 300)])
    found, threshold = structures(target)
    assert threshold == threshold_otsu(target)
    assert 80 < threshold < 120
    np.testing.assert_array_equal(found, target > threshold)
    below, same = structures(target, "below")
    assert same == threshold
    np.testing.assert_array_equal(below, target < threshold)
    assert structures(target, threshold=160)[1] == 160
    np.testing.assert_array_equal(structures(target, threshold=160)[0], target > 160)


@pytest.mark.parametrize(
    ("side", "threshold", "message"),
    [
        ("above", 10, "--threshold: expected a threshold within the target's 1 to 10, with voxels on both sides, found 10; give another"),
        ("above", 0.5, "within the target's 1 to 10, .* found 0.5"),
        ("below", 1, "within the target's 1 to 10, .* found 1;"),
        ("below", 11, "within the target's 1 to 10, .* found 11"),
        ("beside", None, "structures: expected above or below, found 'beside'; choose one of the two"),
    ],
)
def test_one_class_is_refused(side, threshold, message):
    with pytest.raises(OptionError, match=message):
        structures(np.arange(1.0, 11), side, threshold, "--threshold")


def test_a_constant_target_has_no_structures():
    for side in ("above", "below"):
        with pytest.raises(OptionError, match="within the target's 3 to 3"):
            structures(np.full(50, 3.0), side)


@pytest.mark.parametrize("side", ["above", "below"])
def test_roc_and_auc_are_scikit_learns(pair, side):
    p, t = (values.ravel() for values in pair[:2])
    p = np.round(p / 20)  # with ties
    found, _ = structures(t, side)
    sign = 1 if side == "above" else -1
    assert auc(p, found, side) == pytest.approx(roc_auc_score(found, sign * p))
    assert 0.9 < auc(p, found, side) < 1
    # The same pairs of voxels, seen from the other side.
    assert auc(p, ~found, "below" if side == "above" else "above") == pytest.approx(auc(p, found, side))
    rates, hits = roc(p, found, side, points=1001)
    false_positive, true_positive, _ = roc_curve(found, sign * p)
    np.testing.assert_allclose(hits, np.interp(np.linspace(0, 1, 1001), false_positive, true_positive))
    assert (rates[0], rates[-1], hits[-1]) == (0, 1, 1)
    assert np.trapezoid(hits, rates) == pytest.approx(auc(p, found, side), abs=2e-3)


def test_json_has_null_for_what_could_not_be_computed():
    assert json.loads(as_json({"s": {"ssim": float("nan"), "r2": 0.5}})) == {"s": {"ssim": None, "r2": 0.5}}
    nested = {"psnr": float("inf"), "intervals": [(0.5, float("nan"))], "voxels": 3, "name": "s"}
    assert json.loads(as_json(nested)) == {"psnr": None, "intervals": [[0.5, None]], "voxels": 3, "name": "s"}
