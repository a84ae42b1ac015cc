"""Errors of single subjects: printed at once, and counted until the application ends."""

from __future__ import annotations

import sys
import traceback

from mrh_monai.errors import error_sentence

DEBUG_OPTION = "--debug"
# What a remedy may advise: the long options of the application.
OPTIONS = ("--input", "--output", "--model", "--layout", "--device", "--overwrite", DEBUG_OPTION)


class Failures:
    """Print errors as sentences on standard error, and count them.

    An exception that leaves the `compute` of an operator ends the whole graph, and with it the subjects that come later. So operators bring
    their exceptions here, and send nothing to the next operator.

    Args:
        debug: Whether to show tracebacks too.
    """

    def __init__(self, debug: bool = False):
        self.debug, self.count = debug, 0

    def add(self, error: Exception) -> None:
        """Print an error as one sentence."""
        self.count += 1
        if self.debug:
            traceback.print_exception(error)
        print(error_sentence(error, DEBUG_OPTION, OPTIONS), file=sys.stderr, flush=True)
