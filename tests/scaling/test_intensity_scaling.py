from dataclasses import replace

import numpy as np
import pytest

from mrh_monai.data.subject_in_memory import LoadedSubject
from mrh_monai.errors import CheckpointError, OptionError
from mrh_monai.scaling.intensity_scaling import Scaling, fit_scaling, nan_rule, robust_level, training_coefficients


def subject(image, mask=None, target=None):
    mask = np.ones(image.shape[:3], bool) if mask is None else mask
    return LoadedSubject("s", image, 0, mask, target, None, np.eye(4))


@pytest.fixture
def two(rng):
    base = rng.gamma(2, 1, (16, 14, 12, 4)) * [1, 10, 100, 5]
    mask = rng.random((16, 14, 12)) > 0.4
    return [subject(base * gain, mask, mask * 200 * gain) for gain in (1.0, 3.0)]


def test_robust_scaling_standardises_each_channel_over_the_training_set(two):
    scaling = fit_scaling(two)
    scaled = []
    for s, (gain, offset) in zip(two, training_coefficients(scaling, two), strict=True):
        scaled.append(s.image[s.mask] * gain + offset)
    together = np.concatenate(scaled)
    np.testing.assert_allclose(together.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(together.std(0), 1, atol=1e-5)
    assert scaling.target_max == 600


def test_robust_scaling_removes_a_subjects_gain_and_keeps_its_contrast(two):
    scaling = fit_scaling(two)
    a, b = (s.image * gain + offset for s, (gain, offset) in zip(two, training_coefficients(scaling, two), strict=True))
    np.testing.assert_allclose(a, b, atol=1e-4)
    ill = two[0].image.copy()
    ill[..., 3] *= 0.5
    gain, offset = scaling.coefficients(subject(ill, two[0].mask), two[0].mask)
    assert (ill * gain + offset)[two[0].mask][:, 3].mean() < a[two[0].mask][:, 3].mean() - 0.5


def test_one_spike_moves_the_published_scaling_and_not_the_robust_one(two):
    spiked = two[0].image.copy()
    spiked[tuple(np.argwhere(two[0].mask)[0])] = 1e6
    for mode, moved in (("robust", False), ("published", True)):
        scaling = fit_scaling(two, mode)
        before, after = (scaling.coefficients(subject(image, two[0].mask), two[0].mask)[0] for image in (two[0].image, spiked))
        assert (not np.allclose(before, after, rtol=5e-2)) is moved


def test_level_is_the_brightest_channels_percentile(two):
    s = two[0]
    channels = [[v for v, inside in zip(s.image[..., c].ravel(), s.mask.ravel(), strict=True) if inside] for c in range(4)]
    for percentile in (50, 99):
        assert robust_level(s.level_values, percentile) == pytest.approx(max(np.percentile(values, percentile) for values in channels))
    assert fit_scaling(two).level_percentile == 99


def test_a_loss_of_signal_in_most_images_does_not_pass_for_a_gain(two):
    """What a level taken from all channels would hide: three of four channels fall by a third, the brightest stays."""
    scaling, s = fit_scaling(two), two[0]
    ill = s.image * [0.67, 0.67, 1, 0.67]
    gains = [scaling.coefficients(subject(image, s.mask), s.mask)[0] for image in (s.image, ill)]
    np.testing.assert_array_equal(*gains)


def test_weights_are_the_deviations_of_the_scaled_channels(two):
    weights = [1.0, 0.5, 0.25, 2.0]
    plain, weighted = fit_scaling(two), fit_scaling(two, weights=weights)
    assert weighted.channel_weight == tuple(weights)
    for a, b in zip(*(scaling.coefficients(two[0], two[0].mask) for scaling in (plain, weighted)), strict=True):
        np.testing.assert_allclose(a * weights, b, rtol=1e-6)


def test_published_scaling_divides_by_the_maximum_of_all_subjects_in_training(two):
    scaling = fit_scaling(two, "published")
    gains = [gain for gain, _ in training_coefficients(scaling, two)]
    np.testing.assert_allclose(gains, 1 / two[1].image[two[1].mask].max(), rtol=1e-6)
    np.testing.assert_allclose(scaling.coefficients(two[0], two[0].mask)[0], 1 / two[0].image[two[0].mask].max(), rtol=1e-6)


def test_constants_travel_as_plain_values(two):
    scaling = fit_scaling(two)
    assert Scaling.from_dict(scaling.to_dict()) == scaling
    with pytest.raises(CheckpointError, match="constants of a trained network"):
        Scaling.from_dict({"mode": "robust"})
    with pytest.raises(CheckpointError, match="level_percentile.*; train or import the network again"):
        Scaling.from_dict({key: value for key, value in scaling.to_dict().items() if key != "level_percentile"})
    with pytest.raises(OptionError, match="scaling: expected robust or published, found 'zscore'"):
        fit_scaling(two, "zscore")


def test_constant_channels_do_not_divide_by_zero():
    image = np.ones((3, 3, 3, 2))
    gain, offset = fit_scaling([subject(image)]).coefficients(subject(image), np.ones((3, 3, 3), bool))
    assert np.isfinite([gain, offset]).all()


def test_published_support_leaves_out_the_rim_of_the_patch_plane():
    mask = np.ones((5, 4, 6), bool)
    published, robust = (Scaling(mode, (), (), 1.0) for mode in ("published", "robust"))
    expected = np.zeros_like(mask)
    expected[1:-1, :, 1:-1] = True
    np.testing.assert_array_equal(published.support(mask, (0, 2), 1), expected)
    expected[:, [0, -1]] = False
    np.testing.assert_array_equal(published.support(mask, (0, 1, 2), 1), expected)
    assert published.support(mask, (0, 2), 2).sum() == 1 * 4 * 2
    assert robust.support(mask, (0, 2), 1) is mask
    assert not published.support(~mask, (0, 2), 1).any()


def test_nan_follow_the_scaling_unless_asked_otherwise():
    found = [nan_rule(mode, asked) for mode in ("robust", "published") for asked in (None, "refuse", "zero")]
    assert found == ["refuse", "refuse", "zero", "zero", "refuse", "zero"]


def test_a_patch_files_maximum_is_the_whole_files(two):
    scaling = Scaling("published", (), (), 1.0)
    gain, offset = scaling.coefficients(replace(two[0], largest=4000.0), two[0].mask)
    np.testing.assert_array_equal(gain, np.full(4, 1 / 4000, np.float32))
    assert not offset.any()


def test_the_largest_is_found_slab_by_slab(two, monkeypatch):
    monkeypatch.setattr("mrh_monai.data.slabs.SLAB_BYTES", 1)  # one slice at a time
    support = two[0].mask.copy()
    support[:, 5:8] = False
    gain, _ = Scaling("published", (), (), 1.0).coefficients(two[0], support)
    np.testing.assert_allclose(gain, 1 / two[0].image[support].max(), rtol=1e-6)


def test_a_support_without_voxels_is_refused(two):
    with pytest.raises(OptionError, match="mask: expected voxels whose patch lies within the volume, found none"):
        Scaling("published", (), (), 1.0).coefficients(two[0], np.zeros_like(two[0].mask))
