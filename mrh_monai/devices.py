"""The device on which networks compute, the precision of their arithmetic, and the number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, TypeVar

import torch

from mrh_monai.errors import OptionError, one_of

Precision = Literal["float32", "tf32", "bf16"]
PrecisionOption = Literal["float32", "tf32", "bf16", "auto"]  # auto chooses one of the others
Item = TypeVar("Item")
Result = TypeVar("Result")
PRECISIONS: tuple[PrecisionOption, ...] = ("float32", "tf32", "bf16", "auto")
PATCHES_A_THREAD = 64  # in training; with fewer of them, a thread of PyTorch waits for the others longer than it computes


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """Return a device that exists on this machine.

    Args:
        name: ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` for a CUDA device where there is one, and the CPU elsewhere.

    Raises:
        OptionError: There is no such device.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError("device", "auto, cpu, cuda or cuda:N", repr(name), "choose one of them") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise OptionError(
            "device", f"the device {name}", f"{count} CUDA devices on this machine", "use --device cpu or install a CUDA build of PyTorch"
        )
    if device.type not in ("cpu", "cuda"):
        raise OptionError("device", "auto, cpu, cuda or cuda:N", repr(name), "choose one of them")
    return device


def check_precision(device: torch.device | str, precision: str) -> Precision:
    """Return the precision in which a device will compute: float32, tf32 or bf16.

    Args:
        device: Device that computes.
        precision: ``float32``; ``tf32`` for products with 10 bits of mantissa on CUDA devices, and float32 elsewhere; ``bf16``; ``auto``
            for bf16 on a CUDA device with bf16 units, and float32 elsewhere.

    Raises:
        OptionError: The precision is unknown.

    Example:
        >>> check_precision("cpu", "auto"), check_precision("cpu", "bf16")
        ('float32', 'bf16')
    """
    one_of("precision", precision, PRECISIONS)
    on_cuda = torch.device(device).type == "cuda"
    if precision == "auto":
        return "bf16" if on_cuda and torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if precision == "tf32":
        return "tf32" if on_cuda else "float32"
    return "bf16" if precision == "bf16" else "float32"


@contextmanager
def in_precision(device: torch.device | str, precision: str) -> Iterator[None]:
    """Give a context in which networks compute in a precision. With ``float32``, CUDA devices do not use the less exact tf32.

    Args:
        device: Device that computes.
        precision: One of the precisions that `check_precision` describes.

    Raises:
        OptionError: The precision is unknown.

    Example:
        >>> with in_precision("cpu", "bf16"):
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.bfloat16
    """
    chosen = check_precision(device, precision)
    kind = torch.device(device).type
    cudnn: Any = torch.backends.cudnn
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv) if kind == "cuda" else ()
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "tf32" if chosen == "tf32" else "ieee"
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=chosen == "bf16"):
            yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.fp32_precision = value


@contextmanager
def limited_threads(most: int) -> Iterator[None]:
    """Give a context in which PyTorch computes with no more than a number of threads, and with as many as before afterwards.

    Args:
        most: Largest number of threads; a number below 1 stands for 1.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, max(most, 1)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def training_threads(batch_size: int) -> AbstractContextManager[None]:
    """Give a context in which PyTorch computes with no more threads than batches of a size keep busy: one for every 64 patches.

    This has no effect on a CUDA device.

    Args:
        batch_size: Number of patches in a batch.

    Example:
        >>> with training_threads(64):
        ...     torch.get_num_threads()
        1
    """
    return limited_threads(batch_size // PATCHES_A_THREAD)


def map_on_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return what a function gives for each item. Each call runs on one thread, and as many run at a time as PyTorch has threads.

    So the results do not depend, to the last bit, on the number of threads.

    Args:
        function: Function of one item, which changes nothing that another call reads.
        items: Items.

    Example:
        >>> map_on_threads(abs, [-1, 2])
        [1, 2]
    """
    count = torch.get_num_threads()
    with limited_threads(1), ThreadPoolExecutor(count) as pool:
        return list(pool.map(function, items))
