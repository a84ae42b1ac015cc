import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score

from mrh_monai.errors import SubjectError
from mrh_monai.evaluation import scores as metrics
from mrh_monai.evaluation.bootstrap import blocks_of, interval, intervals, resample, sum_blocks
from mrh_monai.evaluation.scores import COMPARED_SCORES

SCORES = tuple(score.key for score in COMPARED_SCORES)


@pytest.fixture
def voxels(rng):
    """Prediction, target, similarity and block of some voxels."""
    target = rng.normal(100, 30, 4000).clip(0, 255)
    return (target + rng.normal(5, 20, 4000)).astype(np.float32), target, rng.uniform(0, 1, 4000), rng.permutation(4000) % 40


def make(voxels, threshold=110.0, data_range=200.0):
    p, t, similarity, block = voxels
    return sum_blocks(p, t, similarity, t > threshold, block, data_range)


def test_scores_are_those_of_voxels_repeated_block_by_block(voxels, rng):
    p, t, similarity, block = voxels
    times = np.stack([np.ones(40, int), rng.multinomial(40, np.full(40, 1 / 40)), np.eye(40, dtype=int)[3], np.arange(40) % 3])
    found = make(voxels).scores(times)
    assert tuple(found) == SCORES
    for draw, each in enumerate(times):
        chosen = np.concatenate([np.flatnonzero(block == k) for k in range(40) for _ in range(each[k])])
        pp, tt = p[chosen], t[chosen]
        error = metrics.rmse(pp, tt)
        expected = {
            "r2": metrics.r2(pp, tt),
            "determination": metrics.determination(pp, tt),
            "rmse": error,
            "nrmse": error / 200,
            "mae": metrics.mae(pp, tt),
            "ssim": similarity[chosen].mean(),
            "psnr": metrics.psnr(error, 200),
        }
        for name, value in expected.items():
            assert found[name][draw] == pytest.approx(value, rel=1e-6), name
        assert found["auc"][draw] == pytest.approx(roc_auc_score(tt > 110, pp), abs=1e-3)


@pytest.mark.parametrize("levels", [2, 7, 5000])
def test_auc_of_predictions_with_ties(rng, levels):
    target = rng.normal(0, 1, 3000)
    prediction = np.round(levels * (target + rng.normal(0, 1, 3000)) / 8)
    counted = sum_blocks(prediction, target, target, target > 1, np.arange(3000) % 30, 1.0)
    assert counted.scores(np.ones((1, 30)))["auc"][0] == pytest.approx(roc_auc_score(target > 1, prediction), abs=1e-3)


@pytest.mark.parametrize("constant", [0.1, 7.7, 55.5, 123.456, 1234.5])
def test_r2_of_a_prediction_that_is_the_same_everywhere_is_not_a_number(voxels, constant):
    p, t, similarity, block = voxels
    scores = make((np.full_like(p, constant), t, similarity, block)).scores(np.ones((1, 40)))
    assert np.isnan(metrics.r2(np.full_like(p, constant), t))
    assert np.isnan(scores["r2"][0])
    assert scores["auc"][0] == pytest.approx(0.5)


def test_a_perfect_prediction(voxels):
    _, t, similarity, block = voxels
    scores = make((t, t, similarity, block)).scores(np.ones((1, 40)))
    assert (scores["r2"][0], scores["determination"][0], scores["auc"][0]) == (
        pytest.approx(1),
        pytest.approx(1),
        pytest.approx(1, abs=1e-3),
    )
    assert scores["mae"][0] == 0


def test_blocks_are_cubes_of_tissue(rng):
    mask = rng.random((40, 20, 50)) > 0.2
    block, edge = blocks_of(mask, (0.1, 0.2, 0.1))
    assert (edge, block.shape) == (1.0, (mask.sum(),))
    places = [(x // 10, y // 5, z // 10) for x, y, z in np.argwhere(mask)]
    numbers = {place: n for n, place in enumerate(sorted(set(places)))}
    np.testing.assert_array_equal(block, [numbers[place] for place in places])
    assert len(numbers) == 4 * 4 * 5


def test_blocks_are_halved_until_there_are_thirty():
    block, edge = blocks_of(np.ones((20, 10, 20), bool), (0.1, 0.1, 0.1))
    assert (edge, block.max() + 1) == (0.5, 4 * 2 * 4)
    few = np.zeros((9, 9, 9), bool)
    few[2, 2, 2:7] = True
    np.testing.assert_array_equal(blocks_of(few, (0.1, 0.1, 0.1))[0], np.arange(5))


def test_blocks_are_counted_without_gaps():
    mask = np.zeros((100, 4, 100), bool)
    mask[::20, :, ::10] = True
    block, _ = blocks_of(mask, (0.1, 0.1, 0.1))
    np.testing.assert_array_equal(np.unique(block), np.arange(block.max() + 1))


def test_intervals_over_blocks_are_wider_than_over_voxels_of_correlated_noise(rng):
    shape = (20, 10, 20)
    target, noise = (gaussian_filter(rng.normal(size=shape), 2.5) for _ in range(2))
    target, noise = (100 + 30 * values / values.std() for values in (target, noise))
    prediction = (target + noise - 100).ravel()
    mask = np.ones(shape, bool)

    def widths(block):
        counted = sum_blocks(prediction, target.ravel(), np.ones(4000), target.ravel() > 110, block, 255.0)
        found = intervals(resample([block.max() + 1], "blocks", 150).draws([counted]))
        exact = counted.scores(np.ones((1, block.max() + 1)))
        assert all(found[name][0] < exact[name][0] < found[name][1] for name in ("r2", "rmse", "auc", "mae"))
        return {name: high - low for name, (low, high) in found.items()}

    over_blocks, over_voxels = widths(blocks_of(mask, (0.1, 0.1, 0.1))[0]), widths(np.arange(4000))
    for name in ("r2", "rmse", "mae", "auc"):
        assert over_blocks[name] > 1.5 * over_voxels[name], name


def test_blocks_are_drawn_within_each_animal(voxels, rng):
    tallies = [make(voxels), make((voxels[0] + 20, *voxels[1:3], voxels[3] // 2))]
    resampling = resample([40, 20], "blocks", 30, seed=4)
    assert [times.shape for times in resampling.times] == [(30, 40), (30, 20)]
    assert all((times.sum(1) == times.shape[1]).all() for times in resampling.times)
    draws = resampling.draws(tallies)
    for name in SCORES:
        expected = [
            np.mean([one.scores(times[d][None])[name][0] for one, times in zip(tallies, resampling.times, strict=True)]) for d in range(30)
        ]
        np.testing.assert_allclose(draws[name], expected)
    again, other = resample([40, 20], "blocks", 30, seed=4), resample([40, 20], "blocks", 30, seed=5)
    np.testing.assert_array_equal(again.times[0], resampling.times[0])
    assert not np.array_equal(other.times[0], resampling.times[0])


def test_animals_are_drawn_whole(voxels):
    tallies = [make((voxels[0] + shift, *voxels[1:])) for shift in (0, 10, 40)]
    resampling = resample([40] * 3, "animals", 200)
    (times,) = resampling.times
    assert (times.shape, set(times.sum(1))) == ((200, 3), {3})
    each = [metrics.rmse(voxels[0] + np.float32(shift), voxels[1]) for shift in (0, 10, 40)]
    draws = resampling.draws(tallies)
    np.testing.assert_allclose(draws["rmse"], [np.repeat(each, row.astype(int)).mean() for row in times], rtol=1e-5)
    low, high = intervals(draws)["rmse"]
    assert each[0] * (1 - 1e-6) <= low < np.mean(each) < high <= each[2] * (1 + 1e-6)


def test_too_few_to_draw_from_are_refused():
    with pytest.raises(
        SubjectError, match=r"bootstrap: expected at least two animals, found 1; give more subjects, or use --bootstrap blocks"
    ):
        resample([40], "animals")
    with pytest.raises(SubjectError, match="expected at least two blocks of tissue, found 1"):
        resample([40, 1], "blocks")


def test_percentile_intervals():
    values = np.arange(1001.0)
    assert interval(values) == pytest.approx((25, 975))
    assert interval(values, 0.5) == pytest.approx((250, 750))
    assert interval(np.where(values > 400, values, np.nan))[1] == pytest.approx(np.quantile(np.arange(401.0, 1001), 0.975))
    assert np.isnan(interval(np.where(values > 600, values, np.nan))).all()
    assert intervals({"r2": values})["r2"] == pytest.approx((25, 975))
