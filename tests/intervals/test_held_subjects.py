import numpy as np
import pytest

from helpers.known_errors import patches_of
from mrh_monai.intervals.held_subjects import measure_held_subject
from mrh_monai.patches import sample_centres


def test_a_held_out_subject_has_its_own_multiplier(fitted):
    network, subjects, _, data, head, calibration = fitted
    assert [each.name for each in calibration.subjects] == ["m3"]
    # 90% of Laplace's distribution lie within 2.3 of its sizes, and those of this subject are twice what the head expects.
    assert calibration.multiplier == pytest.approx(2 * np.log(10), rel=0.15)
    again = measure_held_subject("m3", network, head, data.held["m3"])
    assert again == calibration.subjects[0]
    own = measure_held_subject("m1", network, head, patches_of(subjects[:1], sample_centres(subjects[:1], None, 0)))
    assert own.multiplier() == pytest.approx(np.log(10), rel=0.15)
