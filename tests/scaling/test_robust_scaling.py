from dataclasses import replace

import numpy as np
import pytest

from helpers.scaled_subjects import subject_of
from mrh_monai.data import robust_limits
from mrh_monai.patch_geometry import PatchGeometry
from mrh_monai.scaling.robust_scaling import RobustScaling, robust_level


def level_by_loops(subject):
    """The largest of the channels' 99th percentiles, from sorted lists."""
    levels = []
    for channel in range(subject.image.shape[3]):
        values = sorted(float(subject.image[(*voxel, channel)]) for voxel in np.argwhere(subject.brain))
        place = 0.99 * (len(values) - 1)
        below, share = int(place), place - int(place)
        above = values[min(below + 1, len(values) - 1)]
        levels.append(values[below] + share * (above - values[below]))
    return max(levels)


def test_constants_and_coefficients_equal_the_loops(different):
    """Level, mean, deviation, largest target and coefficients, a voxel at a time."""
    weights = [1.0, 0.5, 0.25]
    scaling = RobustScaling.fit(different, weights)
    mean, std = [], []
    for channel in range(3):
        values = [s.image[(*voxel, channel)] / level_by_loops(s) for s in different for voxel in np.argwhere(s.mask)]
        mean.append(sum(values) / len(values))
        std.append((sum((value - mean[-1]) ** 2 for value in values) / len(values)) ** 0.5)
    np.testing.assert_allclose(scaling.channel_mean, mean, rtol=1e-9)
    np.testing.assert_allclose(scaling.channel_std, std, rtol=1e-9)
    sound = [s.target[tuple(v)] for s in different for v in np.argwhere(s.mask) if s.target_mask is None or s.target_mask[tuple(v)]]
    assert (scaling.target_min, scaling.target_max) == (0.0, sorted(sound)[int(0.999 * (len(sound) - 1))])
    assert (scaling.channel_weight, scaling.level_percentile) == (tuple(weights), 99.0)
    for subject, found in zip(different, scaling.training_coefficients(different), strict=True):
        assert (found.gain.dtype, found.offset.dtype) == (np.float32, np.float32)
        raw = subject.image[tuple(np.argwhere(subject.mask)[0])]
        expected = [(raw[c] / level_by_loops(subject) - mean[c]) / std[c] * weights[c] for c in range(3)]
        np.testing.assert_allclose(raw * found.gain + found.offset, expected, atol=1e-5)


@pytest.mark.parametrize("value", [2e6, -2e6])
def test_one_hot_or_cold_voxel_of_an_image_hardly_changes_the_constants(rng, value):
    image = rng.normal(1000, 100, (20, 20, 20, 3)).astype(np.float32)
    before = RobustScaling.fit([subject_of(image, np.ones(image.shape[:3], bool))])
    image[4, 5, 6, 1] = value
    after = RobustScaling.fit([subject_of(image, np.ones(image.shape[:3], bool))])
    np.testing.assert_allclose(after.channel_std, before.channel_std, rtol=0.05)
    np.testing.assert_allclose(after.channel_mean, before.channel_mean, rtol=0.005)


def test_the_level_is_taken_over_the_whole_brain_whatever_slices_are_in_use(different):
    scaling, subject = RobustScaling.fit(different), different[0]
    part = subject.mask.copy()
    part[:, 1:] = False
    some_slices = replace(subject, mask=part, whole_mask=subject.mask)
    for found, expected in zip(scaling.coefficients(some_slices, part), scaling.coefficients(subject, subject.mask), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_robust_scaling_standardises_each_channel_over_the_training_set(two):
    scaling = RobustScaling.fit(two)
    scaled = []
    for s, (gain, offset) in zip(two, scaling.training_coefficients(two), strict=True):
        scaled.append(s.image[s.mask] * gain + offset)
    together = np.concatenate(scaled)
    np.testing.assert_allclose(together.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(together.std(0), 1, atol=1e-5)
    assert scaling.target_max == 600


def test_robust_scaling_removes_a_subjects_gain_and_keeps_its_contrast(two):
    scaling = RobustScaling.fit(two)
    a, b = (s.image * gain + offset for s, (gain, offset) in zip(two, scaling.training_coefficients(two), strict=True))
    np.testing.assert_allclose(a, b, atol=1e-4)
    ill = two[0].image.copy()
    ill[..., 3] *= 0.5
    gain, offset = scaling.coefficients(subject_of(ill, two[0].mask), two[0].mask)
    assert (ill * gain + offset)[two[0].mask][:, 3].mean() < a[two[0].mask][:, 3].mean() - 0.5


def test_level_is_the_brightest_channels_percentile(two):
    s = two[0]
    channels = [[v for v, inside in zip(s.image[..., c].ravel(), s.mask.ravel(), strict=True) if inside] for c in range(4)]
    for percentile in (50, 99):
        assert robust_level(s.level_values, percentile) == pytest.approx(max(np.percentile(values, percentile) for values in channels))
    assert RobustScaling.fit(two).level_percentile == 99


def test_a_loss_of_signal_in_most_images_does_not_pass_for_a_gain(two):
    """What a level taken from all channels would hide: three of four channels fall by a third, the brightest stays."""
    scaling, s = RobustScaling.fit(two), two[0]
    ill = s.image * [0.67, 0.67, 1, 0.67]
    gains = [scaling.coefficients(subject_of(image, s.mask), s.mask)[0] for image in (s.image, ill)]
    np.testing.assert_array_equal(*gains)


def test_weights_are_the_deviations_of_the_scaled_channels(two):
    weights = [1.0, 0.5, 0.25, 2.0]
    plain, weighted = RobustScaling.fit(two), RobustScaling.fit(two, weights=weights)
    assert weighted.channel_weight == tuple(weights)
    for a, b in zip(*(scaling.coefficients(two[0], two[0].mask) for scaling in (plain, weighted)), strict=True):
        np.testing.assert_allclose(a * weights, b, rtol=1e-6)


def test_constant_channels_do_not_divide_by_zero():
    image = np.ones((3, 3, 3, 2))
    gain, offset = RobustScaling.fit([subject_of(image)]).coefficients(subject_of(image), np.ones((3, 3, 3), bool))
    assert np.isfinite([gain, offset]).all()


def test_every_voxel_of_the_mask_is_predicted():
    mask = np.ones((5, 4, 6), bool)
    assert RobustScaling(1.0, (), (), ()).support(mask, PatchGeometry((0, 2), 1)) is mask


def test_training_levels_are_the_constants(different):
    scaling = RobustScaling.fit(different)
    levels = scaling.training_levels
    np.testing.assert_array_equal(levels.mean, scaling.channel_mean)
    np.testing.assert_array_equal(levels.std, scaling.channel_std)


def test_other_targets_change_the_largest_target_alone(different):
    scaling = RobustScaling.fit(different[1:])
    other = scaling.with_targets_of(different[:1])
    assert other.target_max == robust_limits(different[0].target[different[0].mask])[1] != scaling.target_max
    assert replace(other, target_max=scaling.target_max) == scaling


@pytest.mark.parametrize(
    ("stain", "limits"),
    [
        (lambda t: t, (0, 1)),
        (lambda t: -t, (-1, 0)),  # negative throughout
        (lambda t: t - 0.5, (-0.5, 0.5)),
        (lambda t: 1000 + t, (1000, 1001)),
        (lambda t: np.where(t > t.min(), t, 20_000), (0, 1)),  # one hot voxel
        (lambda t: np.where(t > t.min(), 0, 0.5), (0, 0.5)),  # a stain of one voxel
    ],
)
def test_stains_of_any_sign_and_offset_are_scaled_to_0_and_1(rng, stain, limits):
    target = stain(rng.uniform(0, 1, (20, 15, 10)))
    scaling = RobustScaling.fit([subject_of(rng.uniform(1, 9, (*target.shape, 2)), np.ones(target.shape, bool), target)])
    np.testing.assert_allclose((scaling.target_min, scaling.target_max), limits, atol=0.02)
    assert RobustScaling.from_constants(scaling.to_dict()) == scaling
    scaled = (target - scaling.target_min) / (scaling.target_max - scaling.target_min)
    np.testing.assert_allclose(scaling.unscaled(scaled), target, rtol=1e-6, atol=1e-6)


def test_the_comment_for_matlab_names_the_constants():
    comment = RobustScaling(1.0, (0.0,), (1.0,), (1.0,)).matlab_comment()
    assert all(line.startswith("%") for line in comment.splitlines())
    for name in ("level_percentile", "channel_mean", "channel_std", "channel_weight", "target_max"):
        assert f"scaling.{name}" in comment


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_another_number_of_channels_is_refused(channels):
    scaling = RobustScaling(1.0, (0.0,) * 3, (1.0,) * 3, (1.0,) * 3)
    scaling.check_channels(3)
    with pytest.raises(ValueError, match=f"3 scaling constants for {channels} channels"):
        scaling.check_channels(channels)
