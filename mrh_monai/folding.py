"""A network of patches three voxels wide as exact products of small matrices: the fast path; `MRHNet` stays its definition.

On a patch of three voxels a row, a 3-tap convolution with zero "same" padding is a linear map of three numbers to three that a product of
four pairs of sums computes (Toom-Cook; the points and the derivation are in docs/performance.md):

    output = OUTPUTS' ((TAPS taps) * (INPUTS input))

In two dimensions that is 16 products of F x F matrices where the definition has 49, in three 64 instead of 343. Nothing is left out and
nothing approximated: in exact arithmetic it is the convolution, in float32 it is as near to it as convolutions are to each other.

With lower precision, and on devices whose matrix units outrun their memory, the sums would cost more than they save: there each
convolution is one matrix of (3 x 3 x F) x (3 x 3 x F) instead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from mrh_monai.network import MRHNet

WIDTH = 3
# Linear forms: what each product takes from the input, from the taps, and what it gives to the output.
INPUTS = torch.tensor([[1, 3 / 2, 1], [1, -3 / 2, 1], [-1, 1 / 2, 1], [-1, -1 / 2, 1]], dtype=torch.float64)
TAPS = torch.tensor([[1 / 6, 1 / 4, 1 / 6], [-1 / 6, 1 / 4, -1 / 6], [-1 / 2, -1 / 4, 1 / 2], [1 / 2, -1 / 4, -1 / 2]], dtype=torch.float64)
OUTPUTS = torch.tensor([[1, 3 / 2, 1], [1, -3 / 2, 1], [1, 1 / 2, -1], [1, -1 / 2, -1]], dtype=torch.float64)
# Patches that go through the network together, for each thread: their products stay in the cores' caches.
BLOCK = 256

Centres = Callable[[torch.Tensor], torch.Tensor]


class FoldedMRHNet(MRHNet):
    """An `MRHNet` that computes patches of 3 voxels folded, for training as for inference; other patches by its convolutions.

    Parameters, their names and their gradients are the network's own: only the arithmetic differs.

    Args:
        network: The network to share parameters with.
    """

    def __init__(self, network: MRHNet):
        nn.Module.__init__(self)
        self.conv1, self.conv2, self.blocks = network.conv1, network.conv2, network.blocks
        self.conv4, self.conv5 = network.conv4, network.conv5
        self.train(network.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scaled MR patches (B, C, 3, 3) to scaled stain patches (B, 1, 3, 3); for 3D networks one axis more."""
        if not _folds(self, x.shape[2:]):
            return super().forward(x)
        layer = _product_layer if _prefers_products(x.device) else _matrix_layer
        first, second, *between, fourth, fifth = _convolutions(self)
        batch, positions = len(x), x[0, 0].numel()
        h = x.movedim(1, -1).flatten(1, -2).transpose(0, 1)  # (9, B, C)
        h = layer(layer(h, first, True), second, True)
        for one, two in zip(between[::2], between[1::2], strict=True):
            h = torch.relu(h)
            h = h + layer(layer(h, one, True), two, False)
        h = layer(layer(torch.relu(h), fourth, True), fifth, False)
        return h.view(positions, batch, -1).permute(1, 2, 0).reshape(batch, -1, *x.shape[2:])


def fold(network: MRHNet, width: int) -> MRHNet:
    """The same network, the same parameters, in the fastest arithmetic for patches of a width.

    Args:
        network: Any.
        width: Voxels along an edge of the patches to come.
    """
    return FoldedMRHNet(network) if width == WIDTH else network


def centre_predictor(network: nn.Module, patch_shape: tuple[int, ...], precision: torch.dtype = torch.float32) -> Centres:
    """The fastest exact way from patches to the centre voxel of each one's prediction.

    Weights are folded once, here: later changes to the network are not seen.

    Args:
        network: An `MRHNet`, or any module from (B, C, 3, 3) to (B, 1, 3, 3); on the device that computes.
        patch_shape: (3, 3) or other.
        precision: torch.bfloat16 if products are to be computed in it; otherwise the network's own.

    Returns:
        From patches (B, C, 3, 3) in the network's dtype, channels-last for speed, to centres (B,) in the same.
    """
    if not isinstance(network, MRHNet) or not _folds(network, patch_shape) or _convolutions(network)[-1].out_channels != 1:
        centre = (slice(None), 0, *(size // 2 for size in patch_shape))
        return lambda patches: network(patches)[centre].to(patches.dtype)
    if precision != torch.bfloat16 and _prefers_products(_weight(network).device):
        return _ProductCentres(network)
    return _MatrixCentres(network, precision)


def product_weights(weight: torch.Tensor) -> torch.Tensor:
    """A convolution's weights (O, I, 3, 3) as the 16 matrices (16, I, O) of the folded form; (64, I, O) for (O, I, 3, 3, 3)."""
    taps = weight.movedim((0, 1), (-1, -2))  # (3, 3, I, O)
    forms = _forms("taps", weight.ndim - 2, weight.device, weight.dtype)
    return (forms @ taps.reshape(forms.shape[1], -1)).view(-1, *taps.shape[-2:])


def matrix_weights(weight: torch.Tensor) -> torch.Tensor:
    """A convolution's weights (O, I, 3, 3) as one matrix (9 I, 9 O) from a whole patch to a whole patch, position by position."""
    outputs, inputs, *patch = weight.shape
    positions = WIDTH ** len(patch)
    taps = torch.cat([weight.flatten(2).permute(2, 1, 0), weight.new_zeros(1, inputs, outputs)])
    blocks = taps.index_select(0, _taps_between(len(patch), weight.device)).view(positions, positions, inputs, outputs)
    return blocks.transpose(1, 2).reshape(positions * inputs, positions * outputs)


def _convolutions(network: MRHNet) -> list[Any]:
    """In the order of computing."""
    blocks: Any = network.blocks
    between = [convolution for block in blocks for convolution in (block.conv1, block.conv2)]
    return [network.conv1, network.conv2, *between, network.conv4, network.conv5]


def _folds(network: MRHNet, patch_shape: tuple[int, ...]) -> bool:
    return tuple(patch_shape) == (WIDTH,) * (_weight(network).ndim - 2)


def _weight(network: MRHNet) -> torch.Tensor:
    return _convolutions(network)[0].weight


def _prefers_products(device: torch.device) -> bool:
    return device.type == "cpu" and not torch.is_autocast_enabled(device.type)


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
def _forms(kind: str, dims: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
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


class _Products(torch.autograd.Function):
    """One folded convolution with bias, and ReLU if wanted, of (9, B, I)."""

    @staticmethod
    def forward(ctx: Any, h: torch.Tensor, weights: torch.Tensor, bias: torch.Tensor, dims: int, rectify: bool) -> torch.Tensor:
        positions, batch, _ = h.shape
        products, inputs, outputs = weights.shape
        forms_in, forms_out = (_forms(kind, dims, h.device, h.dtype) for kind in ("inputs", "outputs"))
        taken = (forms_in @ h.reshape(positions, -1)).view(products, batch, inputs)
        made = h.new_empty(products + 1, batch, outputs)
        torch.bmm(taken, weights, out=made[:products])
        made[products] = bias
        y = (forms_out @ made.view(products + 1, -1)).view(positions, batch, outputs)
        if rectify:
            y.relu_()
        ctx.save_for_backward(taken, weights, y if rectify else None)
        ctx.forms = forms_in, forms_out
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        taken, weights, y = ctx.saved_tensors
        forms_in, forms_out = ctx.forms
        (gradient,) = gradients
        if y is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, y, 0)
        positions, batch, outputs = gradient.shape
        of_products = (forms_out.T @ gradient.reshape(positions, -1)).view(-1, batch, outputs)
        of_bias = of_products[-1].sum(0) if ctx.needs_input_grad[2] else None
        of_products = of_products[:-1]
        of_weights = torch.bmm(taken.transpose(1, 2), of_products) if ctx.needs_input_grad[1] else None
        of_input = None
        if ctx.needs_input_grad[0]:
            of_taken = torch.bmm(of_products, weights.transpose(1, 2))
            of_input = (forms_in.T @ of_taken.view(len(forms_in), -1)).view(positions, batch, -1)
        return of_input, of_weights, of_bias, None, None


def _product_layer(h: torch.Tensor, convolution: Any, rectify: bool) -> torch.Tensor:
    weight = convolution.weight
    return _Products.apply(h, product_weights(weight), convolution.bias, weight.ndim - 2, rectify)


def _matrix_layer(h: torch.Tensor, convolution: Any, rectify: bool) -> torch.Tensor:
    positions, batch, _ = h.shape
    bias = convolution.bias.repeat(positions)
    y = F.linear(h.transpose(0, 1).reshape(batch, -1), matrix_weights(convolution.weight).T, bias)
    y = y.relu() if rectify else y
    return y.view(batch, positions, -1).transpose(0, 1)


class _ProductCentres:
    """Inference by products: weights folded once, and memory for one block of patches, used again by every layer of its size."""

    def __init__(self, network: MRHNet):
        *layers, last = _convolutions(network)
        weight = last.weight.detach()
        self.forms_in, self.forms_out = (_forms(kind, weight.ndim - 2, weight.device, weight.dtype) for kind in ("inputs", "outputs"))
        self.layers = [(product_weights(layer.weight.detach()).contiguous(), layer.bias.detach()) for layer in layers]
        # Taps of the last convolution as the centre sees them: its own order, position by position.
        self.last = weight[0].flatten(1).T.contiguous()[:, :, None]  # (9, F, 1)
        self.last_bias = last.bias.detach()

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        block = BLOCK * torch.get_num_threads()
        centres = patches.new_empty(len(patches))
        for start in range(0, len(patches), block):
            centres[start : start + block] = self._block(patches[start : start + block])
        return centres

    def _block(self, patches: torch.Tensor) -> torch.Tensor:
        batch, features = len(patches), self.last.shape[1]
        positions, products = len(self.last), len(self.forms_in)
        given = patches.movedim(1, -1).flatten(1, -2).transpose(0, 1).reshape(positions, -1)  # (9, B * C)
        taken = given.new_empty(products, batch * features)
        made = given.new_empty(products + 1, batch, features)
        x, y = given.new_empty(2, positions, batch * features)

        def convolve(h: torch.Tensor, layer: int, out: torch.Tensor, add: bool = False) -> torch.Tensor:
            weights, bias = self.layers[layer]
            sums = torch.mm(self.forms_in, h, out=taken) if h.shape[1] == taken.shape[1] else self.forms_in @ h
            torch.bmm(sums.view(products, batch, -1), weights, out=made[:products])
            made[products] = bias
            if add:
                return out.addmm_(self.forms_out, made.view(products + 1, -1))
            return torch.mm(self.forms_out, made.view(products + 1, -1), out=out)

        convolve(given, 0, y).relu_()
        convolve(y, 1, x).relu_()
        for layer in range(2, len(self.layers) - 1, 2):
            convolve(x.relu_(), layer, y).relu_()
            convolve(y, layer + 1, x, add=True)
        convolve(x.relu_(), len(self.layers) - 1, y).relu_()
        return torch.bmm(y.view(positions, batch, features), self.last).sum(0)[:, 0] + self.last_bias


class _MatrixCentres:
    """Inference by one matrix a convolution, in any precision."""

    def __init__(self, network: MRHNet, precision: torch.dtype):
        *layers, last = _convolutions(network)
        weight = last.weight.detach()
        self.precision = precision if precision == torch.bfloat16 else weight.dtype
        positions = weight[0, 0].numel()
        self.layers = [
            (matrix_weights(c.weight.detach()).T.contiguous().to(self.precision), c.bias.detach().repeat(positions).to(self.precision))
            for c in layers
        ]
        self.last = weight[0].flatten(1).T.reshape(1, -1).to(self.precision)  # (1, 9 * F)
        self.last_bias = last.bias.detach().to(self.precision)

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        x = patches.movedim(1, -1).reshape(len(patches), -1).to(self.precision)  # (B, 9 * C)
        first, second, *between, last = self.layers
        x = F.linear(F.linear(x, *first).relu_(), *second).relu_()
        for one, two in zip(between[::2], between[1::2], strict=True):
            x = x.relu_()
            x = x + F.linear(F.linear(x, *one).relu_(), *two)
        return F.linear(F.linear(x.relu_(), *last).relu_(), self.last, self.last_bias)[:, 0].to(patches.dtype)
