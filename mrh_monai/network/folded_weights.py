"""The weights of a 3x3 convolution, folded for patches of 3x3 voxels: as 16 matrices, or as one.

On a patch of three voxels a row, a 3-tap convolution with zero "same" padding is a linear map of three numbers to three that four products
of sums compute (Toom-Cook; docs/performance.md derives it):

    output = OUTPUTS' ((TAPS taps) * (INPUTS input))

In two dimensions that is 16 products of F x F matrices where the definition has 49, in three 64 instead of 343. Nothing is left out and
nothing approximated: in exact arithmetic it is the convolution, in float32 it is as near to it as convolutions are to each other.
"""

from __future__ import annotations

from functools import lru_cache

import torch

WIDTH = 3
# Linear forms: what each product takes from the input, from the taps, and what it gives to the output.
INPUTS = torch.tensor([[1, 3 / 2, 1], [1, -3 / 2, 1], [-1, 1 / 2, 1], [-1, -1 / 2, 1]], dtype=torch.float64)
TAPS = torch.tensor([[1 / 6, 1 / 4, 1 / 6], [-1 / 6, 1 / 4, -1 / 6], [-1 / 2, -1 / 4, 1 / 2], [1 / 2, -1 / 4, -1 / 2]], dtype=torch.float64)
OUTPUTS = torch.tensor([[1, 3 / 2, 1], [1, -3 / 2, 1], [1, 1 / 2, -1], [1, -1 / 2, -1]], dtype=torch.float64)


def product_weights(weight: torch.Tensor) -> torch.Tensor:
    """A convolution's weights (O, I, 3, 3) as the 16 matrices (16, O, I) of the folded form; (64, O, I) for (O, I, 3, 3, 3)."""
    taps = weight.movedim((0, 1), (-2, -1))  # (3, 3, O, I): of channels-last weights whole rows are moved
    forms = forms_along("taps", weight.ndim - 2, weight.device, weight.dtype)
    return (forms @ taps.reshape(forms.shape[1], -1)).view(-1, *taps.shape[-2:])


def matrix_weights(weight: torch.Tensor) -> torch.Tensor:
    """A convolution's weights (O, I, 3, 3) as one matrix (9 I, 9 O) from a whole patch to a whole patch, position by position."""
    outputs, inputs, *patch = weight.shape
    positions = WIDTH ** len(patch)
    taps = torch.cat([weight.flatten(2).permute(2, 1, 0), weight.new_zeros(1, inputs, outputs)])
    blocks = taps.index_select(0, _taps_between(len(patch), weight.device)).view(positions, positions, inputs, outputs)
    return blocks.transpose(1, 2).reshape(positions * inputs, positions * outputs)


# Kept for good, and used in training too: never tensors of inference mode.
@lru_cache
@torch.inference_mode(False)
def _taps_between(dims: int, device: torch.device) -> torch.Tensor:
    """(81,) which tap leads from each position of a patch to each: 0 to 8, and 9 for none."""
    positions = torch.cartesian_prod(*[torch.arange(WIDTH)] * dims)  # (9, 2)
    shift = positions[:, None] - positions[None, :] + 1
    tap = shift @ torch.tensor([WIDTH**power for power in range(dims - 1, -1, -1)])
    return torch.where(((shift >= 0) & (shift < WIDTH)).all(-1), tap, len(positions)).flatten().to(device)


@lru_cache
@torch.inference_mode(False)
def forms_along(kind: str, dims: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Linear forms along every axis at once: (16, 9) of inputs and taps in two dimensions.

    Those of outputs are (9, 17): what every product gives to every output, and 1 for the bias, which goes along as one more product.
    """
    along = {"inputs": INPUTS, "taps": TAPS, "outputs": OUTPUTS.T}[kind]
    whole = along
    for _ in range(dims - 1):
        whole = torch.kron(whole, along)
    if kind == "outputs":
        whole = torch.cat([whole, whole.new_ones(len(whole), 1)], dim=1)
    return whole.to(device, dtype)
