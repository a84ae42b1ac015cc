"""Work on files of strangers in a process of its own, bound in time and memory."""

from __future__ import annotations

import faulthandler
import multiprocessing
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from mrh_monai.errors import MRHError

Result = TypeVar("Result")


class IsolatedError(Exception):
    """The process was stopped, died, or raised what is not of our family; the message says which."""


def isolated(function: Callable[..., Result], *arguments: Any, seconds: float, memory: int) -> Result:
    """Call a function in a process of its own, so that no input can hang, crash or fill the one that asks.

    Args:
        function: A module-level function; it, its arguments and its result must be picklable.
        arguments: What to call it with.
        seconds: Wall-clock time after which the process is killed.
        memory: Bytes of address space that it may add to what it starts with (where the system has such limits: Linux, macOS).

    Returns:
        What the function returned.

    Raises:
        MRHError: As the function raised it.
        IsolatedError: The function raised something else, ran too long, or its process died.
    """
    # A fork starts in milliseconds and is safe here, where the child only parses; elsewhere it is not, and a new interpreter starts.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, memory, function, arguments))  # type: ignore[attr-defined]
    process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            raise IsolatedError(f"more than {seconds:g} s of work")
        succeeded, answer = receiver.recv()
    except EOFError as error:
        process.join(5)
        raise IsolatedError(f"a reader that died (exit code {process.exitcode})") from error
    finally:
        process.kill()
        process.join()
        receiver.close()
    if succeeded:
        return answer
    raise answer if isinstance(answer, MRHError) else IsolatedError(answer)


def _answer(sender: Connection, memory: int, function: Callable[..., Any], arguments: tuple) -> None:
    faulthandler.disable()  # a crash here is expected, and told by the parent
    _limit_memory(memory)
    try:
        answer: tuple[bool, Any] = (True, function(*arguments))
    except MRHError as error:
        answer = (False, error)
    except MemoryError:
        answer = (False, f"more than {memory / 2**30:.2g} GiB of memory claimed")
    except BaseException as error:
        text = " ".join(str(error).split())
        answer = (False, f"{type(error).__name__} ({text[:200] or 'no message'})")
    sender.send(answer)
    sender.close()


def _limit_memory(memory: int) -> None:
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return
    status = Path("/proc/self/statm")
    used = int(status.read_text().split()[0]) * resource.getpagesize() if status.is_file() else 0
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = used + memory
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
