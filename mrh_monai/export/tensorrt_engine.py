"""What `inference_trt.yaml` needs around MONAI's `trt_compile`, which where TensorRT is missing does nothing but log it."""

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
    """Refuse to go on without what TensorRT takes.

    Args:
        device: Where the network computes.

    Raises:
        OptionError: It is no CUDA device, or a library is missing.
    """
    device = torch.device(device)
    missing = [f"no {name}" for name in LIBRARIES if find_spec(name) is None]
    found = ([] if device.type == "cuda" else [f"device {device}"]) + missing
    if found:
        remedy = "leave inference_trt.yaml out, or run on a GPU after pip install tensorrt polygraphy 'mrh-monai[export]'"
        raise OptionError("inference_trt.yaml", "a CUDA device and tensorrt", ", ".join(found), remedy)


def engine_args(device: torch.device | str, precision: str, batch_size: int) -> dict[str, Any]:
    """The ``args`` of `monai.networks.trt_compile`.

    Args:
        device: Where the engine computes.
        precision: As in `mrh_monai.devices.check_precision`; without being told, MONAI would take half precision.
        batch_size: Patches that the engine takes at most; the last batch of a small subject has fewer.
    """
    return {
        "precision": ENGINE_PRECISIONS[check_precision(device, precision)],
        "dynamic_batchsize": [1, batch_size, batch_size],
    }


def engine_path(ckpt_path: Path | str, sidecar: Sidecar, args: dict[str, Any]) -> str:
    """Where an engine is kept, beside the weights; MONAI adds ``.plan``.

    An engine that is there is taken as it is, so that its name says which weights, precision and batch it was built for.
    """
    kind = f"trt-{sidecar.sha256[:12]}-{args['precision']}-{args['dynamic_batchsize'][-1]}"
    return str(Path(ckpt_path).with_suffix(f".{kind}"))
