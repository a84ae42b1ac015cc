"""Functions that `inference_trt.yaml` needs in addition to MONAI's `trt_compile`, which only logs a message if TensorRT is missing."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from mrh_monai.devices import check_precision
from mrh_monai.errors import OptionError
from mrh_monai.network import Sidecar

LIBRARIES = ("tensorrt", "polygraphy", "onnx", "onnxscript")
ENGINE_PRECISIONS = {"float32": "fp32", "tf32": "tf32", "bf16": "bf16"}


def check_tensorrt(device: torch.device | str) -> None:
    """Refuse to continue where TensorRT cannot run.

    Args:
        device: Device on which the network computes.

    Raises:
        OptionError: The device is not a CUDA device, or a library is missing.
    """
    device = torch.device(device)
    missing = [f"no {name}" for name in LIBRARIES if find_spec(name) is None]
    found = ([] if device.type == "cuda" else [f"device {device}"]) + missing
    if found:
        remedy = "leave inference_trt.yaml out, or run it on a GPU after pip install tensorrt polygraphy 'mrh-monai[export]'"
        raise OptionError("inference_trt.yaml", "a CUDA device and tensorrt", ", ".join(found), remedy)


def engine_args(device: torch.device | str, precision: str, batch_size: int) -> dict[str, Any]:
    """Return the ``args`` of `monai.networks.trt_compile`.

    Args:
        device: Device on which the engine computes.
        precision: Precision, see `mrh_monai.devices.check_precision`. Without this argument MONAI would use half precision.
        batch_size: Largest number of patches that the engine takes; the last batch of a small subject has fewer.

    Example:
        >>> engine_args("cpu", "float32", 4096)["dynamic_batchsize"]
        [1, 4096, 4096]
    """
    return {
        "precision": ENGINE_PRECISIONS[check_precision(device, precision)],
        "dynamic_batchsize": [1, batch_size, batch_size],
    }


def engine_path(ckpt_path: Path | str, sidecar: Sidecar, args: dict[str, Any]) -> str:
    """Return the path of an engine, beside the weights; MONAI adds ``.plan``.

    MONAI uses an existing engine without a check. Therefore the name of the file states the weights, the precision and the batch size.

    Args:
        ckpt_path: The weights, `model.pt`.
        sidecar: Sidecar of the weights.
        args: Result of `engine_args`.
    """
    kind = f"trt-{sidecar.sha256[:12]}-{args['precision']}-{args['dynamic_batchsize'][-1]}"
    return str(Path(ckpt_path).with_suffix(f".{kind}"))
