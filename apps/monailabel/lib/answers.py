"""Errors of ours as answers over HTTP, and as one line where the server cannot start."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException

from mrh_monai.errors import CheckpointError, MRHError, OutputError, root_cause


class UnknownError(MRHError):
    """An image or a model that the server does not have."""


def status(error: MRHError) -> int:
    """404 for what there is not, 500 for what is wrong with the server, 422 for what is wrong with the request or its subject."""
    if isinstance(error, UnknownError):
        return 404
    return 500 if isinstance(error, CheckpointError | OutputError) else 422


@contextmanager
def answered() -> Iterator[None]:
    """Turn an `MRHError`, however deep inside, into an answer whose ``detail`` is its sentence."""
    try:
        yield
    except Exception as error:  # MONAI wraps those of its configs and transforms
        cause = root_cause(error)
        if not isinstance(cause, MRHError):
            raise
        logging.getLogger(__name__).warning("%s", cause)
        raise HTTPException(status(cause), str(cause)) from error


def last_line_only() -> None:
    """Let a server that cannot start say why in one sentence: it would print the traceback of whatever an app raises."""

    def shorten(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if text.startswith("Traceback"):
            record.msg, record.args = text.strip().splitlines()[-1].split(": ", 1)[-1], ()
        return True

    logging.getLogger("uvicorn.error").addFilter(shorten)
