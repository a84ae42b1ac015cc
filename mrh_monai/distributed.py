"""Several processes that share one job, started by torchrun: which share each process computes, and how they exchange values.

In the usual case there is one process only. Every function here then returns at once, for a single share that is the whole job.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from mrh_monai.devices import choose_device
from mrh_monai.errors import OptionError

Value = TypeVar("Value")
TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")
# At the end of a cohort, all processes wait for the one with the largest brains.
LONGEST_WAIT = timedelta(days=1)


def join_processes(device: str | torch.device = "auto") -> torch.device:
    """Connect this process with the others that torchrun started. NCCL carries messages between CUDA devices, gloo between CPUs.

    Args:
        device: ``auto`` or ``cuda`` for the CUDA device of this process's local rank, where there is one; ``cpu``.

    Returns:
        The device on which this process computes.

    Raises:
        OptionError: The process was not started by torchrun, the device is not one of these, or it does not exist.
    """
    if not all(name in os.environ for name in TORCHRUN_VARIABLES):
        remedy = "start it with `torchrun --nproc_per_node=N -m` instead of `python -m`"
        raise OptionError("multi_gpu", "processes that torchrun started", "a single process", remedy)
    if str(device) not in ("auto", "cpu", "cuda"):
        remedy = "leave the number out, because each process takes the device of its own rank"
        raise OptionError("device", "auto, cpu or cuda for several processes", repr(str(device)), remedy)
    chosen = choose_device(device)
    if chosen.type == "cuda":
        chosen = choose_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(chosen)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
    # The warning is about the last convolution. It has one output, so that its stride does not matter.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    if process_rank() > 0:
        logging.getLogger("mrh_monai").setLevel(logging.WARNING)
    return chosen


def leave_processes() -> None:
    """Disconnect this process from the others."""
    if dist.is_initialized():
        dist.destroy_process_group()


def process_rank() -> int:
    """Return the number of this process among those that share the job, from 0.

    Example:
        >>> process_rank()
        0
    """
    return dist.get_rank() if dist.is_initialized() else 0


def share_of_this_process() -> tuple[int, int]:
    """Return the number of this process, from 0, and the number of processes.

    Example:
        >>> share_of_this_process()
        (0, 1)
    """
    return (process_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def is_first_process() -> bool:
    """Return whether this process is the one that writes what all of them have made together.

    Example:
        >>> is_first_process()
        True
    """
    return process_rank() == 0


def gather_from_processes(value: Value) -> list[Value]:
    """Return the values of all processes, in the order of their ranks, to each of them.

    Args:
        value: The value of this process; anything that can be pickled.

    Example:
        >>> gather_from_processes(3.5)
        [3.5]
    """
    if not dist.is_initialized():
        return [value]
    found: list[Value] = [value] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return found


def decide_on_first_process(decide: Callable[[], Value]) -> Value:
    """Return to every process what the first process decides.

    A file may change between two reads. Therefore only the first process reads it and tells the others.

    Args:
        decide: Called by the first process only; it returns anything that can be pickled.

    Example:
        >>> decide_on_first_process(lambda: ["subject01"])
        ['subject01']
    """
    if not dist.is_initialized():
        return decide()
    found: list[Value | None] = [decide() if is_first_process() else None]
    dist.broadcast_object_list(found)
    return found[0]  # type: ignore[return-value]


def merge_volume_shares(volume: torch.Tensor) -> torch.Tensor:
    """Merge the shares of one volume that the processes have computed; every process gets the whole volume.

    Each voxel is computed by one process, and the others hold 0 there. The sum is therefore exact to the bit.

    Args:
        volume: Share of this process, float32 on the CPU, any shape, 0 at the voxels of the other processes.
    """
    if not dist.is_initialized():
        return volume
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    bits = volume.contiguous().view(torch.int32).to(device)
    dist.all_reduce(bits)
    return bits.cpu().view(torch.float32)
