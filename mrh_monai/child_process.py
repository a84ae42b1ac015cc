"""Work on files from strangers in a child process, with limits on time and memory."""

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


class ChildProcessFailure(Exception):
    """The child process was stopped, died, or raised an error that is not an `MRHError`; the message says which."""


def run_in_child_process(function: Callable[..., Result], *arguments: Any, seconds: float, memory: int) -> Result:
    """Call a function in a child process, so that no input can make this process hang, crash or run out of memory.

    Args:
        function: Function of a module. The function, its arguments and its result must be picklable.
        arguments: Arguments of the function.
        seconds: Time after which the child process is killed.
        memory: Address space, in bytes, that the child process may use in addition to what it has at its start. The limit holds
            on systems that have such limits: Linux and macOS.

    Returns:
        The result of the function.

    Raises:
        MRHError: The function raised it.
        ChildProcessFailure: The function raised another error, ran too long, or its process died.

    Example:
        >>> import math
        >>> run_in_child_process(math.gcd, 12, 18, seconds=30, memory=1 << 30)
        6
    """
    # On Linux a fork starts in milliseconds, and is safe here because the child only parses. Elsewhere a new interpreter starts.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_result, args=(sender, memory, function, arguments))  # type: ignore[attr-defined]
    process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            raise ChildProcessFailure(f"more than {seconds:g} s of work")
        succeeded, answer = receiver.recv()
    except EOFError as error:
        process.join(5)
        raise ChildProcessFailure(f"a crash of the reader (exit code {process.exitcode})") from error
    finally:
        process.kill()
        process.join()
        receiver.close()
    if succeeded:
        result: Result = answer
        return result
    raise answer if isinstance(answer, MRHError) else ChildProcessFailure(answer)


def _send_result(sender: Connection, memory: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Call the function in the child process, and send whether it succeeded with its result, its error or a text."""
    faulthandler.disable()  # A crash is expected here, and the parent process reports it.
    limit_memory(memory)
    try:
        answer: tuple[bool, Any] = (True, function(*arguments))
    except MRHError as error:
        answer = (False, error)
    except MemoryError:
        answer = (False, f"a claim of more than {memory / 2**30:.2g} GiB of memory")
    except BaseException as error:
        text = " ".join(str(error).split())
        answer = (False, f"{type(error).__name__} ({text[:200] or 'no message'})")
    sender.send(answer)
    sender.close()


def limit_memory(memory: int) -> None:
    """Limit the address space that this process may add to the present one, where the system has such limits.

    Args:
        memory: Additional address space, bytes.
    """
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limits.
        return
    status = Path("/proc/self/statm")
    used = int(status.read_text(encoding="utf-8-sig").split()[0]) * resource.getpagesize() if status.is_file() else 0
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = used + memory
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
