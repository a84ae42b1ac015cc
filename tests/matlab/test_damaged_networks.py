"""A hundred of the damaged files that `make fuzz` imports two thousand of."""

import collections
import sys

import pytest

from helpers.damaged_networks import fuzz


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked")
def test_damaged_files_end_in_success_or_one_clear_error():
    outcomes, _, wrong = fuzz(100, first=10_000)
    assert wrong == []
    assert outcomes["refused"] > 50
    assert outcomes == collections.Counter(refused=outcomes["refused"], imported=100 - outcomes["refused"])
