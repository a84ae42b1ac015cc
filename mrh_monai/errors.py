"""Errors that end as one sentence for the user, and the hook that prints the sentence."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Collection, Iterable
from types import TracebackType
from typing import TextIO, TypeVar

OPTION = re.compile(r"--[a-z][\w-]*")


class MRHError(Exception):
    """An error that the user can correct. One sentence says where it is, what was expected, what was found and what to do.

    Args:
        where: File, channel or option that is wrong.
        expected: The expected content, as a noun phrase.
        found: The content found instead, as a noun phrase.
        remedy: Action that corrects the error, as an imperative.

    Example:
        >>> print(MRHError("a.nii", "a 3D volume", "2 axes", "stack the slices into one volume"))
        a.nii: expected a 3D volume, found 2 axes; stack the slices into one volume.
    """

    def __init__(self, where: object, expected: str, found: str, remedy: str) -> None:
        self.where, self.expected, self.found, self.remedy = str(where), expected, found, remedy
        super().__init__(printable(f"{self.where}: expected {expected}, found {found}; {remedy}."))

    def __reduce__(self) -> tuple[type[MRHError], tuple[str, str, str, str]]:
        # Exceptions are pickled with their `args`, which hold only the finished sentence here.
        return type(self), (self.where, self.expected, self.found, self.remedy)


def printable(text: str) -> str:
    r"""Return a text with its control characters escaped, because control characters from an unknown file can change the terminal.

    Example:
        >>> print(printable("line\nfeed"))
        line\nfeed
    """
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


class SubjectError(MRHError):
    """Files of a subject are missing, damaged, or do not belong together."""


class MatFileError(SubjectError):
    """The file is not a MATLAB file, is damaged, or refers to other files."""


class DatalistError(MRHError):
    """The file is not a datalist, or one subject stands in two sections, such as training and test."""


class OptionError(MRHError):
    """An option of a command, or of the config of a bundle, has an impossible value, or there is no option of that name."""


class CheckpointError(MRHError):
    """Weights are missing, damaged, or belong to another network."""


Choice = TypeVar("Choice", bound=str)


def one_of(where: str, value: str, choices: Iterable[Choice]) -> Choice:
    """Return a value that is one of a few words.

    Args:
        where: Argument or option that the error names.
        value: What was given.
        choices: The words.

    Raises:
        OptionError: The value is not one of these words.

    Example:
        >>> one_of("support", "mask", ("mask", "fa"))
        'mask'
    """
    known = list(choices)
    for choice in known:
        if value == choice:
            return choice
    remedy = "choose one of the two" if len(known) == 2 else "choose one of them"
    raise OptionError(where, (" or " if len(known) == 2 else ", ").join(known), repr(value), remedy)


class OutputError(MRHError):
    """A result cannot be written to the place that was asked for."""


class BundleError(MRHError):
    """A folder or zip is not a bundle, is damaged, or holds something that a bundle must not hold."""


class DownloadError(MRHError):
    """A published file cannot be downloaded, or differs from the file of its first download."""


class MRHWarning(UserWarning):
    """A warning about input that can be used but looks wrong. It is shown as one line."""


def root_cause(error: BaseException) -> BaseException:
    """Go back from an exception to its causes, and return the first `MRHError`, or else the oldest cause."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return next((e for e in chain if isinstance(e, MRHError)), chain[-1])


def cause_in_words(error: BaseException) -> str:
    """Return what is wrong with a file in a few words, from the exception that reading it raised.

    Example:
        >>> cause_in_words(KeyError("scores")), cause_in_words(FileNotFoundError(2, "No such file or directory"))
        ("no entry 'scores'", 'no such file or directory')
    """
    if isinstance(error, UnicodeDecodeError):
        return "bytes that are not UTF-8 text"
    if isinstance(error, KeyError):
        return f"no entry {error}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__} ({lines[-1][:200] if lines else 'no message'})"


def shortened(text: str, length: int = 80) -> str:
    """Return a text that is at most so long; a longer one keeps its beginning and its end.

    Example:
        >>> shortened("a" * 20, 11)
        'aaaa...aaaa'
    """
    half = (length - 3) // 2
    return text if len(text) <= length else f"{text[:half]}...{text[-half:]}"


def usable_remedy(remedy: str, options: Collection[str]) -> str:
    """Return those of the alternatives of a remedy, joined by "or", that need no option but those given.

    Args:
        remedy: Alternatives such as ``correct the scan, or set them to 0 with --nan zero``. Commands in backticks are left as they are.
        options: Options of the command at hand; ``--coronal_axis`` is also meant by ``--coronal-axis``.

    Example:
        >>> usable_remedy("correct the scan, or set them to 0 with --nan zero", {"--device"})
        'correct the scan'
        >>> usable_remedy("name it in the datalist, or give --coronal-axis 2", {"--coronal_axis"})
        'name it in the datalist, or give --coronal_axis 2'
    """
    spelled = {option.replace("_", "-"): option for option in options}

    def names(part: str) -> set[str]:
        return set(OPTION.findall(re.sub("`.*?`", "", part)))

    parts = re.split(", or | or (?=[a-z]+ [^,]*--)", remedy)
    usable = [part for part in parts if all(name.replace("_", "-") in spelled for name in names(part))]
    remaining = remedy if len(usable) == len(parts) else ", or ".join(usable) or re.sub("--(?=[a-z])", "", remedy)
    return OPTION.sub(lambda name: spelled.get(name[0].replace("_", "-"), name[0]), remaining)


def with_usable_remedy(error: MRHError, options: Collection[str]) -> MRHError:
    """Return an error whose remedy names only options of the command at hand, see `usable_remedy`."""
    return type(error)(error.where, error.expected, error.found, usable_remedy(error.remedy, options))


def error_sentence(error: BaseException, debug_option: str = "--debug True", options: Collection[str] | None = None) -> str:
    """Return one line for any exception: the sentence of an `MRHError`, or the kind and message of another exception.

    Args:
        error: The exception.
        debug_option: Option that shows the traceback of an unexpected exception; the line names it.
        options: Options that a remedy may name; None for all.

    Example:
        >>> error_sentence(OptionError("epochs", "a number", "'ten'", "give a number such as 10"))
        "error: epochs: expected a number, found 'ten'; give a number such as 10."
        >>> error_sentence(KeyError("af"))
        "error: unexpected KeyError: 'af' (--debug True shows where)."
    """
    cause = root_cause(error)
    if isinstance(cause, MRHError):
        return f"error: {cause if options is None else with_usable_remedy(cause, options)}"
    if isinstance(cause, OSError) and cause.filename is not None and cause.strerror:
        where = printable(shortened(os.fsdecode(cause.filename) if not isinstance(cause.filename, int) else str(cause.filename)))
        return f"error: {where}: expected a file or folder that can be used, found {cause_in_words(cause)}; check the path."
    text = " ".join(str(cause).split()) or "no message"
    return f"error: unexpected {type(cause).__name__}: {text} ({debug_option} shows where)."


def print_errors_as_sentences(debug: bool = False, debug_option: str = "--debug True", options: Collection[str] | None = None) -> None:
    """Make this process end every error with one sentence and status 1, unless ``debug`` is true.

    Args:
        debug: Whether to leave tracebacks as they are.
        debug_option: Option that shows tracebacks; the line about an unexpected exception names it.
        options: Options that a remedy may name; None for all.

    Commands and the configs of bundles call this function; importing the library never does. Without it, an error inside a component of a
    config prints two tracebacks, and an error inside an engine prints a third one through the logger of the engine.
    """
    if debug:
        return

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("interrupted.", file=sys.stderr)
        else:
            print(error_sentence(error, debug_option, options), file=sys.stderr)

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
    # Engines log an exception with its traceback before they raise it. Their other log lines repeat the lines of this package.
    logging.getLogger("ignite").setLevel(logging.CRITICAL + 1)
