from dataclasses import replace

import numpy as np
import pytest

from helpers.b_splines import plain_spline
from mrh_monai.data.subject_in_memory import SubjectInMemory
from mrh_monai.studies.random_displacement import displacement_field, misregistered

SHAPE, SPACING = (18, 5, 15), (0.2, 0.5, 0.3)


def make_subject(affine=None):
    rng = np.random.default_rng(3)
    shape = (12, 4, 10)
    padded = rng.uniform(1, 9, (14, 6, 12, 2)).astype(np.float32)
    target = rng.integers(0, 255, shape).astype(np.uint8)
    return SubjectInMemory(
        "s", padded, 1, rng.random(shape) > 0.2, target, None, np.diag([0.1, 0.2, 0.25, 1]) if affine is None else affine
    )


@pytest.mark.parametrize("rms_mm", [0.05, 0.4])
def test_the_field_has_the_asked_length_in_mm(rms_mm, rng):
    field = displacement_field(SHAPE, SPACING, rms_mm, rng)
    assert field.shape == (2, *SHAPE)
    assert float((field**2).sum(0).mean().sqrt()) == pytest.approx(rms_mm)
    assert min(along.std() for along in field) > 0.2 * rms_mm


def test_the_field_is_a_tensor_product_of_cubic_b_splines():
    """Control points 1 mm apart, one before the first voxel, in mm from the first voxel on."""
    field = displacement_field(SHAPE, SPACING, 0.3, np.random.default_rng(7))
    rng = np.random.default_rng(7)
    coordinates = [np.arange(size) * edge for size, edge in zip(SHAPE, SPACING, strict=True)]
    # 3.4 mm, 2 mm and 4.2 mm long.
    expected = np.stack([plain_spline(rng.standard_normal((7, 6, 8)), coordinates) for _ in range(2)])
    expected *= 0.3 / np.sqrt((expected**2).sum(0).mean())
    np.testing.assert_allclose(field, expected, atol=1e-6)


def test_the_field_bends_over_a_millimetre_not_over_a_voxel(rng):
    field = displacement_field((60, 3, 60), (0.05, 0.05, 0.05), 0.5, rng).numpy()
    steps = np.diff(field, axis=1)
    assert np.abs(steps).max() < 0.2 * np.abs(field).max()
    assert np.abs(np.diff(steps, axis=1)).max() < 0.02 * np.abs(field).max()


def test_the_field_depends_on_its_generator():
    first, again, other = (displacement_field(SHAPE, SPACING, 0.3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_0_mm_and_no_target_change_nothing():
    subject = make_subject()
    assert misregistered(subject, 0.0, 1) is subject
    bare = replace(subject, target=None)
    assert misregistered(bare, 0.3, 1) is bare


def test_each_voxel_is_the_stain_at_its_displaced_place():
    subject = make_subject()
    moved = misregistered(subject, 0.15, 5)
    field = displacement_field(subject.mask.shape, (0.1, 0.2, 0.25), 0.15, np.random.default_rng(5)).numpy()
    target = subject.target.astype(float)
    for x, y, z in [(0, 0, 0), (5, 1, 4), (6, 2, 5), (3, 3, 7), (11, 3, 9)]:
        place_x, place_z = np.clip(x + field[0, x, y, z] / 0.1, 0, 11), np.clip(z + field[1, x, y, z] / 0.25, 0, 9)
        i, k = min(int(place_x), 10), min(int(place_z), 8)
        a, b = place_x - i, place_z - k
        low = (1 - b) * target[i, y, k] + b * target[i, y, k + 1]
        high = (1 - b) * target[i + 1, y, k] + b * target[i + 1, y, k + 1]
        assert moved.target[x, y, z] == pytest.approx((1 - a) * low + a * high, abs=1e-3)
    assert np.abs(moved.target - target).mean() > 10
    np.testing.assert_array_equal(moved.padded, subject.padded)
    np.testing.assert_array_equal(moved.mask, subject.mask)


def test_nothing_moves_along_y(rng):
    """A stain that is the same everywhere in each coronal slice stays as it is."""
    subject = make_subject()
    slices = np.broadcast_to(rng.uniform(0, 255, (1, 4, 1)), (12, 4, 10)).copy()
    np.testing.assert_allclose(misregistered(replace(subject, target=slices), 1.0, 2).target, slices, rtol=1e-6)


def test_voxel_edges_are_those_of_the_affine():
    """Turned by 90 degrees in the world, the voxel is still 0.1 mm along the first array axis."""
    turned = np.array([[0, 0, 0.25, 4], [0.1, 0, 0, 5], [0, -0.2, 0, 6], [0, 0, 0, 1.0]])
    plain, other = misregistered(make_subject(), 0.2, 4), misregistered(make_subject(turned), 0.2, 4)
    np.testing.assert_allclose(plain.target, other.target)
