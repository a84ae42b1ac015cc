"""The weights of a 3 x 3 convolution, folded for patches of 3 x 3 voxels: as 16 matrices, or as one.

A tap is one of the weights of a convolution kernel: a 3 x 3 kernel has nine. On a row of three voxels, a convolution of three taps with
zero "same" padding is a linear map from three numbers to three numbers. Four products of sums compute it (Toom-Cook; docs/performance.md
derives it):

    output = OUTPUTS' ((TAPS taps) * (INPUTS input))

In two dimensions these are 16 products of F x F matrices where the definition has 49, in three dimensions 64 instead of 343. Nothing is
approximated: in exact arithmetic the result is the convolution, and in float32 it is as close to it as two convolutions are to each other.
"""

from __future__ import annotations

from functools import lru_cache

import torch

WIDTH = 3
# Each row has the weights of one sum: of the inputs and of the taps that a product multiplies, and of the products that make an output.
INPUTS = torch.tensor([[1, 3 / 2, 1], [1, -3 / 2, 1], [-1, 1 / 2, 1], [-1, -1 / 2, 1]], dtype=torch.float64)
TAPS = torch.tensor([[1 / 6, 1 / 4, 1 / 6], [-1 / 6, 1 / 4, -1 / 6], [-1 / 2, -1 / 4, 1 / 2], [1 / 2, -1 / 4, -1 / 2]], dtype=torch.float64)
OUTPUTS = torch.tensor([[1, 3 / 2, 1], [1, -3 / 2, 1], [1, 1 / 2, -1], [1, -1 / 2, -1]], dtype=torch.float64)


def product_weights(weight: torch.Tensor) -> torch.Tensor:
    """Return the weights (O, I, 3, 3) of a convolution as the 16 matrices (16, O, I) of the folded form; (64, O, I) for (O, I, 3, 3, 3)."""
    taps = weight.movedim((0, 1), (-2, -1))  # (3, 3, O, I): whole rows of channels-last weights are moved
    forms = forms_along("taps", weight.ndim - 2, weight.device, weight.dtype)
    return (forms @ taps.reshape(forms.shape[1], -1)).view(-1, *taps.shape[-2:])


def matrix_weights(weight: torch.Tensor) -> torch.Tensor:
    """Return the weights (O, I, 3, 3) of a convolution as one matrix (9 I, 9 O) from a whole patch to a whole patch."""
    outputs, inputs, *patch = weight.shape
    positions = WIDTH ** len(patch)
    taps = torch.cat([weight.flatten(2).permute(2, 1, 0), weight.new_zeros(1, inputs, outputs)])
    blocks = taps.index_select(0, _taps_between(len(patch), weight.device)).view(positions, positions, inputs, outputs)
    return blocks.transpose(1, 2).reshape(positions * inputs, positions * outputs)


# These tensors are kept until the process ends and are also used in training. So they must not be made in torch's inference mode.
@lru_cache
@torch.inference_mode(False)
def _taps_between(dims: int, device: torch.device) -> torch.Tensor:
    """Return (81,) the tap that leads from each position of a patch to each position: 0 to 8, and 9 where no tap does."""
    positions = torch.cartesian_prod(*[torch.arange(WIDTH)] * dims)  # (9, 2)
    shift = positions[:, None] - positions[None, :] + 1
    tap = shift @ torch.tensor([WIDTH**power for power in range(dims - 1, -1, -1)])
    return torch.where(((shift >= 0) & (shift < WIDTH)).all(-1), tap, len(positions)).flatten().to(device)


@lru_cache
@torch.inference_mode(False)
def forms_along(kind: str, dims: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Return the weights of these sums for all axes at once: (16, 9) for inputs and taps in two dimensions.

    For outputs they are (9, 17): the contribution of every product to every output, and 1 for the bias, which is treated like one more
    product.
    """
    along = {"inputs": INPUTS, "taps": TAPS, "outputs": OUTPUTS.T}[kind]
    whole = along
    for _ in range(dims - 1):
        whole = torch.kron(whole, along)
    if kind == "outputs":
        whole = torch.cat([whole, whole.new_ones(len(whole), 1)], dim=1)
    return whole.to(device, dtype)
