"""What went wrong with single subjects, said at once and remembered until the application ends."""

from __future__ import annotations

import sys
import traceback

from mrh_monai.errors import sentence

DEBUG_OPTION = "--debug"


class Failures:
    """Sentences on standard error, and how many there were.

    An exception that leaves an operator's `compute` ends the whole graph in lines of Holoscan's own, and with it the subjects that come
    after. So operators bring it here and send nothing on.

    Args:
        debug: Whether to show tracebacks as well.
    """

    def __init__(self, debug: bool = False):
        self.debug, self.count = debug, 0

    def add(self, error: Exception) -> None:
        """Say what was wrong, in one sentence."""
        self.count += 1
        if self.debug:
            traceback.print_exception(error)
        print(sentence(error, DEBUG_OPTION), file=sys.stderr, flush=True)
