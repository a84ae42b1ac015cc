"""The one family of errors that end as a sentence, and the hook that prints it."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from types import TracebackType
from typing import TextIO


class MRHError(Exception):
    """What a user can mend: one sentence that says where, what was expected, what was found and what to do.

    Args:
        where: The file, channel or option that is wrong.
        expected: What should stand there.
        found: What stands there.
        remedy: What to do about it, as an imperative.

    Example:
        >>> print(MRHError("a.nii", "a 3D volume", "2 axes", "stack the slices into one volume"))
        a.nii: expected a 3D volume, found 2 axes; stack the slices into one volume.
    """

    def __init__(self, where: object, expected: str, found: str, remedy: str) -> None:
        self.where, self.expected, self.found, self.remedy = str(where), expected, found, remedy
        super().__init__(one_line(f"{self.where}: expected {expected}, found {found}; {remedy}."))

    def __reduce__(self) -> tuple:
        # Exceptions are pickled by their args, which here is the finished sentence alone.
        return type(self), (self.where, self.expected, self.found, self.remedy)


def one_line(text: str) -> str:
    """A text whose letters can all be printed: a terminal would obey what a stranger's file tells it, such as to write over the line."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


class SubjectError(MRHError):
    """A subject's files are missing, broken, or do not belong together."""


class MatFileError(SubjectError):
    """A MATLAB file is none, is damaged, or refers to other files."""


class DatalistError(MRHError):
    """A datalist is not one, or names subjects that must not meet."""


class OptionError(MRHError):
    """An option of a command or of a bundle's config has a value, or a name, that it cannot have."""


class CheckpointError(MRHError):
    """Weights are missing, broken, or belong to another network."""


class OutputError(MRHError):
    """A result cannot be written where it was asked for."""


class BundleError(MRHError):
    """A bundle, or the zip of one, is none, is damaged, or holds what it must not."""


class DownloadError(MRHError):
    """A published file cannot be fetched, or is not the one that it was."""


class MRHWarning(UserWarning):
    """Input that is usable but looks wrong; shown as one line."""


def root_cause(error: BaseException) -> BaseException:
    """The `MRHError` at the bottom of a chain of exceptions, or else the exception that began the chain."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return next((e for e in chain if isinstance(e, MRHError)), chain[-1])


def sentence(error: BaseException, debug_option: str = "--debug True") -> str:
    """One line for any exception; an `MRHError` speaks for itself, and for others ``debug_option`` shows where they arose."""
    cause = root_cause(error)
    if isinstance(cause, MRHError):
        return f"error: {cause}"
    text = " ".join(str(cause).split()) or "no message"
    return f"error: unexpected {type(cause).__name__}: {text} ({debug_option} shows where)."


def one_sentence_errors(debug: bool = False, debug_option: str = "--debug True") -> None:
    """Make this process end every error with one sentence and status 1, unless ``debug``.

    Args:
        debug: Whether to leave everything as it is.
        debug_option: How to ask for tracebacks, named where an error is not of our family.

    Called by commands and by the bundles' configs, never by importing the library. An error inside a config component
    would otherwise print two tracebacks, and one inside an engine a third through the engine's logger.
    """
    if debug:
        return

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("interrupted.", file=sys.stderr)
        else:
            print(sentence(error, debug_option), file=sys.stderr)

    def show_warning(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None, line: str | None = None
    ) -> None:
        if issubclass(category, MRHWarning):
            print(f"warning: {message}", file=file or sys.stderr)
        else:
            shown = warnings.formatwarning(message, category, os.path.basename(filename), lineno, line="")
            print(shown, file=file or sys.stderr, end="")

    sys.excepthook = report
    warnings.showwarning = show_warning
    # Engines log an exception with its traceback before they pass it on; their other lines repeat our own.
    logging.getLogger("ignite").setLevel(logging.CRITICAL + 1)
