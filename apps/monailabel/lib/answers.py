"""Errors of this project as answers over HTTP, and as one line if the server cannot start."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException

from mrh_monai.errors import CheckpointError, MRHError, OutputError, root_cause, with_usable_remedy


class UnknownError(MRHError):
    """The server does not have an image or a model of this name."""


def status(error: MRHError) -> int:
    """Return the HTTP status: 404 for an unknown name, 500 for an error of the server, 422 for an error of the request or its subject."""
    if isinstance(error, UnknownError):
        return 404
    return 500 if isinstance(error, CheckpointError | OutputError) else 422


@contextmanager
def answered() -> Iterator[None]:
    """Turn an `MRHError`, even inside other exceptions, into an HTTP answer whose ``detail`` is its sentence."""
    try:
        yield
    except Exception as error:  # MONAI wraps the errors of its configs and transforms
        cause = root_cause(error)
        if not isinstance(cause, MRHError):
            raise
        cause = with_usable_remedy(cause, ())  # a client has no options of a command
        logging.getLogger(__name__).warning("%s", cause)
        raise HTTPException(status(cause), str(cause)) from error


def last_line_only() -> None:
    """Make a server that cannot start print one sentence instead of the traceback of the error."""

    def shorten(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if text.startswith("Traceback"):
            record.msg, record.args = text.strip().splitlines()[-1].split(": ", 1)[-1], ()
        return True

    logging.getLogger("uvicorn.error").addFilter(shorten)
