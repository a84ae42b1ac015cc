import os
import sys
import time

import numpy as np
import pytest

from mrh_monai.child_process import ChildProcessFailure, run_in_child_process
from mrh_monai.errors import OptionError

LIMITS = {"seconds": 20, "memory": 1 << 29}


def double(value):
    return 2 * value


def refuse():
    raise OptionError("option", "this", "that", "correct it")


def fail():
    raise KeyError("a\nb")


def grow():
    return len(np.ones(1 << 30))


def die():
    os._exit(7)


def test_gives_what_the_function_returns():
    np.testing.assert_array_equal(run_in_child_process(double, np.arange(100_000), **LIMITS), 2 * np.arange(100_000))


def test_errors_of_the_family_come_through():
    with pytest.raises(OptionError, match="option: expected this, found that; correct it"):
        run_in_child_process(refuse, **LIMITS)


@pytest.mark.parametrize(("function", "message"), [(fail, r"KeyError \('a\\nb'\)"), (die, r"a crash of the reader \(exit code 7\)")])
def test_anything_else_is_one_kind_of_error(function, message):
    with pytest.raises(ChildProcessFailure, match=message):
        run_in_child_process(function, **LIMITS)


@pytest.mark.skipif(sys.platform != "linux", reason="memory limits are Linux's")
def test_memory_is_bound():
    with pytest.raises(ChildProcessFailure, match="a claim of more than 0.5 GiB of memory"):
        run_in_child_process(grow, **LIMITS)


def test_time_is_bound_and_nothing_is_left_running():
    started = time.monotonic()
    with pytest.raises(ChildProcessFailure, match="more than 0.5 s of work"):
        run_in_child_process(time.sleep, 60, seconds=0.5, memory=1 << 29)
    assert time.monotonic() - started < 30
