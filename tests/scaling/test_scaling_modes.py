import json

import numpy as np
import pytest

from helpers.scaled_subjects import subject_of
from mrh_monai.errors import CheckpointError, OptionError
from mrh_monai.scaling.intensity_scaling import Scaling
from mrh_monai.scaling.published_scaling import PublishedScaling
from mrh_monai.scaling.robust_scaling import RobustScaling
from mrh_monai.scaling.scaling_modes import SCALING_MODES, scaling_from_dict, scaling_mode

# Scaling of sidecars as version 0.1 wrote them.
ROBUST_BEFORE = """{
  "mode": "robust",
  "channel_mean": [0.25, 0.5],
  "channel_std": [0.125, 0.0625],
  "target_max": 250.0,
  "channel_weight": [1.0, 0.5],
  "level_percentile": 99.0
}"""
PUBLISHED_BEFORE = """{
  "mode": "published",
  "channel_mean": [],
  "channel_std": [],
  "target_max": 255,
  "channel_weight": [],
  "level_percentile": 99.0
}"""


@pytest.fixture
def scan():
    """A subject of two channels whose 99th percentile is 80 and whose largest value is 80."""
    image = np.full((4, 4, 4, 2), 40.0, np.float32)
    image[..., 1] = 80
    return subject_of(image)


def test_modes_are_found_by_name():
    assert list(SCALING_MODES) == ["robust", "published"]
    assert (scaling_mode("robust"), scaling_mode("published")) == (RobustScaling, PublishedScaling)
    assert all(kind.mode == name and kind.description for name, kind in SCALING_MODES.items())
    for name in ("zscore", "Robust", ""):
        with pytest.raises(OptionError, match=f"scaling: expected robust or published, found '{name}'; choose one of the two"):
            scaling_mode(name)


def test_a_robust_sidecar_of_the_version_before_gives_the_same_coefficients(scan):
    scaling = scaling_from_dict(json.loads(ROBUST_BEFORE))
    assert scaling == RobustScaling(250.0, (0.25, 0.5), (0.125, 0.0625), (1.0, 0.5), 99.0)
    gain, offset = scaling.coefficients(scan, scan.mask)
    np.testing.assert_array_equal(gain, np.float32([1 / 0.125 / 80, 0.5 / 0.0625 / 80]))
    np.testing.assert_array_equal(offset, np.float32([-0.25 / 0.125, -0.5 * 0.5 / 0.0625]))


def test_a_published_sidecar_of_the_version_before_gives_the_same_coefficients(scan):
    scaling = scaling_from_dict(json.loads(PUBLISHED_BEFORE))
    assert scaling == PublishedScaling(255.0)
    gain, offset = scaling.coefficients(scan, scan.mask)
    np.testing.assert_array_equal(gain, np.float32([1 / 80, 1 / 80]))
    assert not offset.any()


@pytest.mark.parametrize("text", [ROBUST_BEFORE, PUBLISHED_BEFORE])
def test_sidecars_have_the_fields_of_the_version_before(text):
    """So that an older version reads what this one writes."""
    before = json.loads(text)
    now = json.loads(json.dumps(scaling_from_dict(before).to_dict()))
    assert list(now.items()) == list(before.items())


@pytest.mark.parametrize("mode", list(SCALING_MODES))
def test_constants_come_back_through_json(different, mode):
    scaling: Scaling = scaling_mode(mode).fit(different, [1.0, 0.5, 0.25])
    again = scaling_from_dict(json.loads(json.dumps(scaling.to_dict())))
    assert again == scaling
    assert type(again) is type(scaling)


DAMAGE = {
    "mode": [None, "zscore", 3, ["robust"]],
    "target_max": [None, "much", 0, -1.0, float("nan"), float("inf")],
    "channel_mean": [None, 3, ["a", 0.5], [0.25], [float("nan"), 0.5]],
    "channel_std": [None, [0.125, 0.0], [0.125, -1.0], [0.125, 0.0625, 1.0], [float("inf"), 1.0]],
    "channel_weight": [None, [1.0, 0.0], []],
    "level_percentile": [None, -1, 101, "99%"],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in DAMAGE.items() for value in values])
def test_damaged_constants_are_refused(field, value):
    with pytest.raises(CheckpointError, match="scaling: expected the constants of a trained network, found .*; train or import"):
        scaling_from_dict({**json.loads(ROBUST_BEFORE), field: value})


@pytest.mark.parametrize("field", list(DAMAGE))
def test_missing_constants_are_named(field):
    values = json.loads(ROBUST_BEFORE)
    del values[field]
    with pytest.raises(CheckpointError, match=rf"found no entry '{field}'"):
        scaling_from_dict(values)


@pytest.mark.parametrize("value", DAMAGE["target_max"])
def test_a_damaged_largest_target_of_published_scaling_is_refused(value):
    with pytest.raises(CheckpointError, match="expected the constants of a trained network"):
        scaling_from_dict({**json.loads(PUBLISHED_BEFORE), "target_max": value})
