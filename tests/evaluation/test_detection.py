import numpy as np
import pytest
from skimage.filters import threshold_otsu
from sklearn.metrics import roc_auc_score, roc_curve

from mrh_monai.errors import OptionError
from mrh_monai.evaluation.detection import auc, roc, structures


@pytest.fixture
def pair(rng):
    target = rng.uniform(0, 255, (24, 3, 20))
    return target + rng.normal(0, 30, target.shape), target, rng.random(target.shape) > 0.3


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


@pytest.mark.parametrize("value", [20_000, -20_000])
def test_one_hot_or_cold_voxel_hardly_moves_otsus_threshold(rng, value):
    target = rng.uniform(0, 255, 2000)
    spoiled = np.append(target, value)
    assert abs(structures(spoiled)[1] - structures(target)[1]) < 3
    assert abs(threshold_otsu(spoiled) - structures(target)[1]) > 20


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
