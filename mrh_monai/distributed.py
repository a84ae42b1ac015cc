"""Several processes that share one job, started by torchrun: which share is whose, and what they tell each other.

In a process of its own, which is the usual case, every function here does nothing but answer for the one share that is all.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from mrh_monai.devices import choose_device
from mrh_monai.errors import OptionError

Anything = TypeVar("Anything")
# At the end of a cohort, all wait for the process with the largest brains.
PATIENCE = timedelta(days=1)


def join(device: str | torch.device = "auto") -> torch.device:
    """Meet the other processes that torchrun started; NCCL carries messages between CUDA devices, gloo between CPUs.

    Args:
        device: ``auto`` or ``cuda``: the CUDA device of this process's local rank, where there is one; ``cpu``.

    Returns:
        Where this process computes.

    Raises:
        OptionError: The process was not started by torchrun, or the device is another, or lacking.
    """
    if not all(name in os.environ for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")):
        expected = "processes that torchrun started"
        raise OptionError("multi_gpu", expected, "one on its own", "put `torchrun --nproc_per_node=N -m` in the place of `python -m`")
    if str(device) not in ("auto", "cpu", "cuda"):
        raise OptionError("device", "auto, cpu or cuda for several processes", repr(str(device)), "each takes the device of its rank")
    chosen = choose_device(device)
    if chosen.type == "cuda":
        chosen = choose_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(chosen)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    # Of the last convolution, whose one output has no stride that matters.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    if rank() > 0:
        logging.getLogger("mrh_monai").setLevel(logging.WARNING)
    return chosen


def leave() -> None:
    """Part from the others."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process among those that share the job, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def share() -> tuple[int, int]:
    """This process's number and how many there are."""
    return (rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def is_first() -> bool:
    """Whether this process is the one that writes what all have made together."""
    return rank() == 0


def gather(value: Any) -> list[Any]:
    """What every process gives, in the order of their numbers, to all of them; anything that can be pickled."""
    if not dist.is_initialized():
        return [value]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return found


def agree(decide: Callable[[], Anything]) -> Anything:
    """What the first process decides, for all of them: files that it looks at may change while the others look."""
    if not dist.is_initialized():
        return decide()
    found: list[Any] = [decide() if is_first() else None]
    dist.broadcast_object_list(found)
    return found[0]


def put_together(volume: torch.Tensor) -> torch.Tensor:
    """One volume of shares that every process has made, each 0 where the others' are: to the bit, as no number is ever added to another.

    Args:
        volume: float32, on the CPU.
    """
    if not dist.is_initialized():
        return volume
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    bits = volume.contiguous().view(torch.int32).to(device)
    dist.all_reduce(bits)
    return bits.cpu().view(torch.float32)
