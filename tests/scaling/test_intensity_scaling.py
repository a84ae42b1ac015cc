import numpy as np
import pytest

from helpers.scaled_subjects import subject_of
from mrh_monai.errors import OptionError
from mrh_monai.scaling import PublishedScaling, RobustScaling, scaling_mode


def test_one_spike_moves_the_published_scaling_and_not_the_robust_one(two):
    spiked = two[0].image.copy()
    spiked[tuple(np.argwhere(two[0].mask)[0])] = 1e6
    for mode, moved in (("robust", False), ("published", True)):
        scaling = scaling_mode(mode).fit(two)
        before, after = (scaling.coefficients(subject_of(image, two[0].mask), two[0].mask)[0] for image in (two[0].image, spiked))
        assert (not np.allclose(before, after, rtol=5e-2)) is moved


def test_nan_follow_the_scaling_unless_asked_otherwise():
    found = [scaling_mode(mode).chosen_nan_rule(asked) for mode in ("robust", "published") for asked in (None, "refuse", "zero")]
    assert found == ["refuse", "refuse", "zero", "zero", "refuse", "zero"]


@pytest.mark.parametrize("mode", ["robust", "published"])
def test_targets_without_signal_or_none_at_all_are_divided_by_one(mode, two):
    dark = subject_of(two[0].image, two[0].mask, np.zeros(two[0].mask.shape))
    without = subject_of(two[0].image, two[0].mask)
    assert scaling_mode(mode).fit([dark]).target_max == scaling_mode(mode).fit([without]).target_max == 1.0


def test_published_scaling_refuses_a_stain_that_it_cannot_divide(two):
    negative = subject_of(two[0].image, two[0].mask, -1 - two[0].target)
    with pytest.raises(OptionError, match="scaling: expected a stain with values above 0, .* found at most -.*"):
        scaling_mode("published").fit([negative])


def test_modes_compare_by_their_constants():
    robust = RobustScaling(255.0, (0.0,), (1.0,), (1.0,))
    assert robust == RobustScaling(255.0, (0.0,), (1.0,), (1.0,), 99.0) != RobustScaling(254.0, (0.0,), (1.0,), (1.0,))
    assert PublishedScaling(255.0) == PublishedScaling(255.0) != robust
