import numpy as np
import pytest
from skimage.metrics import mean_squared_error, normalized_root_mse, peak_signal_noise_ratio
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, r2_score

from mrh_monai.errors import SubjectError
from mrh_monai.evaluation.scores import COMPARED_SCORES, HEADLINE_SCORES, SCORES, determination, mae, psnr, r2, rmse, score, stain_range


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
    ordered = sorted(t[mask].tolist())
    last = len(ordered) - 1
    assert span == ordered[int(0.999 * last)] - ordered[last - int(0.999 * last)]
    assert psnr(rmse(p[mask], t[mask]), span) == pytest.approx(peak_signal_noise_ratio(t[mask], p[mask], data_range=span))
    whole = t[mask].max() - t[mask].min()
    assert score(p, t, mask)["nrmse"] * span / whole == pytest.approx(normalized_root_mse(t[mask], p[mask], normalization="min-max"))
    assert psnr(0.0, 255) == np.inf


def test_score_is_inside_the_mask_alone(pair):
    p, t, mask = pair
    scores = score(np.where(mask, p, np.nan), np.where(mask, t, np.nan), mask)
    assert list(scores) == ["rmse", "nrmse", "mae", "r2", "determination", "ssim", "psnr", "voxels"]
    assert scores["rmse"] == pytest.approx(rmse(p[mask], t[mask]))
    assert scores["nrmse"] == pytest.approx(scores["rmse"] / stain_range(t[mask]))
    assert (scores["r2"], scores["determination"]) == (r2(p[mask], t[mask]), determination(p[mask], t[mask]))
    assert scores["mae"] == pytest.approx(mae(p[mask], t[mask]))
    assert scores["psnr"] == pytest.approx(-20 * np.log10(scores["nrmse"]))
    assert scores["voxels"] == mask.sum()
    with pytest.raises(SubjectError, match="of one shape .*, found prediction"):
        score(p[:3], t, mask)
    with pytest.raises(SubjectError, match="voxels inside the mask, found an empty mask"):
        score(p, t, mask & False)


def test_a_constant_target_has_no_r2_and_a_range_of_one(pair):
    p, t, mask = pair
    scores = score(p, np.full_like(t, 7), mask)
    assert np.isnan([scores["r2"], scores["determination"]]).all()
    assert scores["nrmse"] == scores["rmse"] > 0


def test_every_score_has_a_title_of_its_own_and_is_named_once():
    assert len({each.key for each in SCORES}) == len({each.title for each in SCORES}) == len(SCORES)
    assert [each.key for each in SCORES if each.lower_is_better] == ["rmse", "nrmse", "mae"]
    assert [each.title for each in HEADLINE_SCORES] == ["R2", "RMSE", "AUC"]
    assert [each.key for each in COMPARED_SCORES] == ["r2", "determination", "rmse", "nrmse", "mae", "ssim", "psnr", "auc"]


def test_a_value_is_written_with_the_digits_of_its_unit():
    by_key = {each.key: each for each in SCORES}
    assert (by_key["rmse"].text(27.947), by_key["r2"].text(0.7719), by_key["psnr"].text(18.0002)) == ("27.95", "0.772", "18.000")


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, float])
def test_a_mask_of_0_and_1_is_the_same_as_one_of_bool(pair, kind):
    p, t, mask = pair
    assert score(p, t, mask.astype(kind)) == score(p, t, mask)
    assert score(p.tolist(), t.tolist(), mask.tolist())["rmse"] == pytest.approx(score(p, t, mask)["rmse"])
    with pytest.raises(SubjectError, match="mask: expected a mask of 0 and 1, found the values"):
        score(p, t, mask.astype(kind) + 3)


def test_nan_is_no_perfect_prediction(pair):
    p, t, mask = pair
    scores = score(np.full_like(p, np.nan), t, mask)
    assert np.isnan([scores["psnr"], scores["rmse"], scores["mae"]]).all()
    assert score(t, t, mask)["psnr"] == np.inf


@pytest.mark.parametrize("wrong", [np.ones(3), "text", None, np.ones((2, 2, 2), complex)])
def test_what_is_no_volume_is_refused(pair, wrong):
    with pytest.raises(SubjectError):
        score(wrong, *pair[1:])
