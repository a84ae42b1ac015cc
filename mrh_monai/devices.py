"""Where networks compute, and in which precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from mrh_monai.errors import OptionError

PRECISIONS = ("float32", "tf32", "bf16", "auto")


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """A device that exists.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1``; ``auto`` for CUDA where there is one.

    Raises:
        OptionError: There is no such device.
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
            "device", f"{name}", f"{count} CUDA devices on this machine", "use --device cpu or install a CUDA build of PyTorch"
        )
    if device.type not in ("cpu", "cuda"):
        raise OptionError("device", "auto, cpu, cuda or cuda:N", repr(name), "choose one of them")
    return device


def check_precision(device: torch.device | str, precision: str) -> str:
    """The precision that a device computes in: float32, tf32 or bf16.

    Args:
        device: Where.
        precision: ``float32``; ``tf32``, products with 10 bits of mantissa on CUDA devices and float32 elsewhere; ``bf16``; ``auto``, which
            is bf16 on a CUDA device that is built for it, and float32 elsewhere.

    Raises:
        OptionError: The precision is unknown.
    """
    if precision not in PRECISIONS:
        raise OptionError("precision", ", ".join(PRECISIONS), repr(precision), "choose one of them")
    on_cuda = torch.device(device).type == "cuda"
    if precision == "auto":
        return "bf16" if on_cuda and torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "float32" if precision == "tf32" and not on_cuda else precision


@contextmanager
def in_precision(device: torch.device | str, precision: str) -> Iterator[None]:
    """A context in which networks compute in a precision; float32 is float32 there, on CUDA devices too, whose default is less.

    Args:
        device: Where they compute.
        precision: As in `check_precision`.

    Raises:
        OptionError: The precision is unknown.
    """
    precision = check_precision(device, precision)
    kind = torch.device(device).type
    cudnn: Any = torch.backends.cudnn
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv) if kind == "cuda" else ()
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bf16"):
            yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.fp32_precision = value
