import json

import numpy as np
import pytest

from helpers.random_weights import calibration_of
from mrh_monai.network.calibration import Calibration, HeldSubject


def test_a_subject_is_its_percentiles(rng):
    errors, expected = rng.laplace(size=5000), rng.uniform(0.5, 2, 5000)
    subject = HeldSubject.measured("m7", errors, expected)
    for level in (0.5, 0.8, 0.9, 0.99):
        multiplier = subject.multiplier(level)
        assert (np.abs(errors) <= multiplier * expected).mean() == pytest.approx(level, abs=1e-3)
        assert subject.coverage(multiplier) == pytest.approx(level)
    assert subject.coverage(0.0) <= 0.011
    assert subject.coverage(1e9) == 0.99


def test_the_largest_multiplier_is_used_and_each_subject_is_judged_by_the_others():
    calibration = calibration_of(1.0, 3.0, 2.0)
    assert calibration.multiplier == pytest.approx(3, rel=1e-3)
    # The errors of a subject are spread evenly, so that a multiplier holds its share of them.
    assert calibration.coverages == pytest.approx([0.99, 0.6, 0.99], abs=0.011)
    assert calibration.held == "made to hold 90% of the voxels of a subject; held on 3 subjects, each by the other two: 60 to 99%"
    assert calibration_of(1, 1).held.endswith("held on 2 subjects, each by the other one: 90 to 90%")
    assert calibration_of(1, 1, 1, 1).held.endswith("held on 4 subjects, each by the other 3: 90 to 90%")


def test_one_subject_says_nothing_of_another():
    assert calibration_of(2.0).coverages == []
    assert calibration_of(2.0).held == "measured on one subject only, so that nobody knows how much of another subject they hold"
    assert "%" not in calibration_of(2.0).held
    assert Calibration().held == "no subject with histology was held out of the training, so that nobody knows how wide they must be"


def test_a_calibration_is_plain_values():
    calibration = Calibration(calibration_of(1.0, 2.0).subjects, "f" * 64)
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", 7), ("voxels", 0), ("voxels", 1.5), ("voxels", True), ("ratios", []), ("ratios", [1.0] * 98), ("ratios", [-1.0] * 99),
        ("ratios", [2.0, 1.0] + [3.0] * 97), ("ratios", [float("nan")] * 99), ("ratios", ["a"] * 99), ("ratios", [10**400] * 99),
    ],
)  # fmt: skip
def test_a_damaged_calibration_is_refused(key, value):
    values = calibration_of(1.0).to_dict()
    values["subjects"][0][key] = value
    with pytest.raises(ValueError, match="held-out subject|errors of held0"):
        Calibration.from_dict(values)


@pytest.mark.parametrize(
    "values",
    [{}, {"subjects": []}, {"subjects": [{}], "sha256": ""}, {"subjects": [], "sha256": 3}, {"subjects": [], "sha256": "", "level": 2.0}],
)
def test_a_calibration_without_its_parts_is_refused(values):
    with pytest.raises((KeyError, ValueError)):
        Calibration.from_dict(values)
