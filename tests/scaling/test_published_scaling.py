from dataclasses import replace

import numpy as np
import pytest

from helpers.scaled_subjects import subject_of
from mrh_monai.errors import OptionError
from mrh_monai.patch_geometry import PatchGeometry
from mrh_monai.scaling.published_scaling import PublishedScaling


def test_constants_and_coefficients_equal_the_loops(different):
    """One maximum over all training subjects, one over the support of a test subject, a voxel at a time."""
    scaling = PublishedScaling.fit(different)
    sound = [s.target[tuple(v)] for s in different for v in np.argwhere(s.mask) if s.target_mask is None or s.target_mask[tuple(v)]]
    assert scaling.target_max == max(sound)
    largest = max(float(s.image[(*voxel, c)]) for s in different for voxel in np.argwhere(s.mask) for c in range(3))
    for found in scaling.training_coefficients(different):
        np.testing.assert_array_equal(found.gain, np.full(3, 1 / largest, np.float32))
        np.testing.assert_array_equal(found.offset, np.zeros(3, np.float32))
    for subject in different:
        support = scaling.support(subject.mask, PatchGeometry((0, 2), 1))
        own = max(float(subject.image[(*voxel, c)]) for voxel in np.argwhere(support) for c in range(3))
        np.testing.assert_array_equal(scaling.coefficients(subject, support).gain, np.full(3, 1 / own, np.float32))


def test_the_largest_target_of_a_patch_file_is_that_of_all_its_voxels():
    """As the released code does; of volumes, only voxels of the mask count."""
    mask, target = np.zeros((3, 4, 3), bool), np.ones((3, 4, 3))
    mask[1, :, 1], target[0, 0, 0] = True, 99
    volumes = subject_of(np.ones((3, 4, 3, 2)), mask, target)
    assert PublishedScaling.fit([volumes]).target_max == 1
    assert PublishedScaling.fit([replace(volumes, largest=5.0)]).target_max == 99
    assert PublishedScaling.fit([volumes]).with_targets_of([replace(volumes, largest=5.0)]).target_max == 99


def test_a_black_region_does_not_divide_by_zero():
    black = subject_of(np.zeros((3, 3, 3, 2)))
    np.testing.assert_array_equal(PublishedScaling(1.0).coefficients(black, black.mask).gain, [1, 1])


def test_published_scaling_divides_by_the_maximum_of_all_subjects_in_training(two):
    scaling = PublishedScaling.fit(two)
    gains = [gain for gain, _ in scaling.training_coefficients(two)]
    np.testing.assert_allclose(gains, 1 / two[1].image[two[1].mask].max(), rtol=1e-6)
    np.testing.assert_allclose(scaling.coefficients(two[0], two[0].mask)[0], 1 / two[0].image[two[0].mask].max(), rtol=1e-6)


def test_published_support_leaves_out_the_rim_of_the_patch_plane():
    mask = np.ones((5, 4, 6), bool)
    published = PublishedScaling(1.0)
    expected = np.zeros_like(mask)
    expected[1:-1, :, 1:-1] = True
    np.testing.assert_array_equal(published.support(mask, PatchGeometry((0, 2), 1)), expected)
    expected[:, [0, -1]] = False
    np.testing.assert_array_equal(published.support(mask, PatchGeometry((0, 1, 2), 1)), expected)
    assert published.support(mask, PatchGeometry((0, 2), 2)).sum() == 1 * 4 * 2
    assert not published.support(~mask, PatchGeometry((0, 2), 1)).any()


def test_a_patch_files_maximum_is_the_whole_files(two):
    scaling = PublishedScaling(1.0)
    gain, offset = scaling.coefficients(replace(two[0], largest=4000.0), two[0].mask)
    np.testing.assert_array_equal(gain, np.full(4, 1 / 4000, np.float32))
    assert not offset.any()


def test_the_largest_is_found_slab_by_slab(two, monkeypatch):
    monkeypatch.setattr("mrh_monai.data.slabs.SLAB_BYTES", 1)  # one slice at a time
    support = two[0].mask.copy()
    support[:, 5:8] = False
    gain, _ = PublishedScaling(1.0).coefficients(two[0], support)
    np.testing.assert_allclose(gain, 1 / two[0].image[support].max(), rtol=1e-6)


def test_a_support_without_voxels_is_refused(two):
    with pytest.raises(OptionError, match="mask: expected voxels whose patch lies inside the volume, found no such voxel"):
        PublishedScaling(1.0).coefficients(two[0], np.zeros_like(two[0].mask))


def test_nothing_is_known_of_the_training_signals():
    scaling = PublishedScaling(1.0)
    assert scaling.training_levels is None
    scaling.check_channels(67)  # there are no constants of channels


def test_the_comment_for_matlab_is_one_line():
    comment = PublishedScaling(1.0).matlab_comment()
    assert comment.startswith("% Input: X / max(X(:))")
    assert "scaling.target_max" in comment
    assert "\n" not in comment
