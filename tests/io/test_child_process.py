import os
import sys
import time

import numpy as np
import pytest

from mrh_monai.errors import OptionError
from mrh_monai.io.child_process import IsolatedError, isolated

LIMITS = {"seconds": 20, "memory": 1 << 29}


def double(value):
    return 2 * value


def refuse():
    raise OptionError("option", "this", "that", "mend it")


def fail():
    raise KeyError("a\nb")


def grow():
    return len(np.ones(1 << 30))


def die():
    os._exit(7)


def test_gives_what_the_function_returns():
    np.testing.assert_array_equal(isolated(double, np.arange(100_000), **LIMITS), 2 * np.arange(100_000))


def test_errors_of_the_family_come_through():
    with pytest.raises(OptionError, match="option: expected this, found that; mend it"):
        isolated(refuse, **LIMITS)


@pytest.mark.parametrize(("function", "message"), [(fail, r"KeyError \('a\\nb'\)"), (die, r"a reader that died \(exit code 7\)")])
def test_anything_else_is_one_kind_of_error(function, message):
    with pytest.raises(IsolatedError, match=message):
        isolated(function, **LIMITS)


@pytest.mark.skipif(sys.platform != "linux", reason="memory limits are Linux's")
def test_memory_is_bound():
    with pytest.raises(IsolatedError, match="more than 0.5 GiB of memory claimed"):
        isolated(grow, **LIMITS)


def test_time_is_bound_and_nothing_is_left_running():
    started = time.monotonic()
    with pytest.raises(IsolatedError, match="more than 0.5 s of work"):
        isolated(time.sleep, 60, seconds=0.5, memory=1 << 29)
    assert time.monotonic() - started < 30
