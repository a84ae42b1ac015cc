"""Let torchvision be imported beside a PyTorch for CPUs, for MONAI Label's sake, which draws grids of images with it.

PyPI has torchvision for CUDA alone. Where its compiled operators cannot be loaded, its import ends with "operator torchvision::nms does not
exist", for it describes operators that nobody has defined. Defined by name they are still not there, but nothing here calls them.
"""

from __future__ import annotations

import torch

# Names last as long as the library that defines them.
NAMES = torch.library.Library("torchvision", "FRAGMENT")

try:
    import torchvision
except RuntimeError:
    for operator in ("nms", "qnms"):
        NAMES.define(f"{operator}(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision  # noqa: F401
