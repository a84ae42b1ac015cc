"""Make torchvision importable beside a PyTorch for CPUs: MONAI Label needs it to draw grids of images.

PyPI has torchvision for CUDA only. Where its compiled operators cannot be loaded, the import ends with "operator torchvision::nms does not
exist", because it describes operators that are not defined. Here they are defined by name. They still do nothing, but nothing calls them.
"""

from __future__ import annotations

import torch

# The names exist as long as the library that defines them.
NAMES = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]

try:
    import torchvision
except RuntimeError:
    for operator in ("nms", "qnms"):
        NAMES.define(f"{operator}(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    import torchvision  # noqa: F401
