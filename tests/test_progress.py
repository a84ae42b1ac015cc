import io
import sys

import pytest

from mrh_monai.progress import progress_bar


class Terminal(io.StringIO):
    """Standard error of somebody who looks at it."""

    def isatty(self):
        return True


@pytest.mark.parametrize("shown", [True, False])
def test_all_steps_pass_in_their_order(shown):
    assert list(progress_bar(iter("abc"), "step", shown)) == ["a", "b", "c"]
    assert list(progress_bar([], "step", shown)) == []


@pytest.mark.parametrize(("terminal", "shown", "seen"), [(True, True, True), (True, False, False), (False, True, False)])
def test_a_bar_is_shown_on_a_terminal_only(monkeypatch, terminal, shown, seen):
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    assert sum(progress_bar(range(3), "subject", shown, "predict")) == 3
    assert ("predict" in stream.getvalue(), "subject" in stream.getvalue()) == (seen, seen)
