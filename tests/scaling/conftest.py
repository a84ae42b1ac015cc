"""Subjects in memory to scale."""

import pytest

from helpers.scaled_subjects import subject_of


@pytest.fixture
def two(rng):
    """Two subjects of four channels; the second is the first with three times the gain."""
    base = rng.gamma(2, 1, (16, 14, 12, 4)) * [1, 10, 100, 5]
    mask = rng.random((16, 14, 12)) > 0.4
    return [subject_of(base * gain, mask, mask * 200 * gain) for gain in (1.0, 3.0)]


@pytest.fixture
def different(rng):
    """Three subjects of three channels that differ in shape, signals, mask and stain; one target is torn."""
    subjects = []
    for number, shape in enumerate(((5, 4, 6), (6, 3, 5), (4, 4, 4))):
        image = rng.gamma(2, 1, (*shape, 3)) * rng.uniform(5, 90, 3)
        mask, target = rng.random(shape) > 0.3, rng.uniform(1, 100 * (number + 1), shape)
        sound = target < 190 if number == 1 else None
        subjects.append(subject_of(image, mask, target, target_mask=sound, name=f"s{number}"))
    assert max(s.target[s.mask].max() for s in subjects) > 250
    return subjects
