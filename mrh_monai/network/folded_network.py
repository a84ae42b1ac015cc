"""The fast form of a network of patches that are three voxels wide: exact products of small matrices. `MRHNet` remains its definition.

In two dimensions a convolution takes 16 products of F x F matrices where its definition has 49, see `folded_weights.py`. The sums before
and after the products are products of small matrices too.

With lower precision, and on devices whose matrix units are faster than their memory, the sums would cost more than they save. There, each
convolution is one matrix of (3 x 3 x F) x (3 x 3 x F) instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

from mrh_monai.network.folded_weights import WIDTH, forms_along, matrix_weights, product_weights
from mrh_monai.network.interval_head import FoldedIntervalHead, IntervalHead, IntervalNetwork
from mrh_monai.network.mrh_net import MRHNet

# Number of patches in a group; the products of a group fit into the cache of a core.
GROUP = 256

Centres = Callable[[torch.Tensor], torch.Tensor]


class FoldedMRHNet(MRHNet):
    """An `MRHNet` that computes patches of 3 voxels in the folded form, in training and in inference, and other patches by convolutions.

    The parameters, their names and their gradients are those of the network. Only the arithmetic differs.

    Args:
        network: Network with which the parameters are shared.
    """

    def __init__(self, network: MRHNet):
        nn.Module.__init__(self)
        self.conv1, self.conv2, self.blocks = network.conv1, network.conv2, network.blocks
        self.conv4, self.conv5 = network.conv4, network.conv5
        self.train(network.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn scaled MR patches (B, C, 3, 3) into scaled stain patches (B, 1, 3, 3); 3D networks have one more axis."""
        if not _folds(self, x.shape[2:]):
            return super().forward(x)
        layer = _product_layer if _prefers_products(x.device) else _matrix_layer
        first, second, *between, fourth, fifth = _convolutions(self)
        h = _by_position(x, _groups(len(x)))  # (K, 9, B / K, C)
        h = layer(layer(h, first, True), second, True)
        for one, two in zip(between[::2], between[1::2], strict=True):
            h = torch.relu(h)
            h = h + layer(layer(h, one, True), two, False)
        h = layer(layer(torch.relu(h), fourth, True), fifth, False)
        return h.permute(0, 2, 3, 1).reshape(len(x), fifth.out_channels, *x.shape[2:])


def fold(network: MRHNet, width: int) -> MRHNet:
    """Return the same network with the same parameters, in the fastest arithmetic for patches of some width.

    A network that computes differently from `MRHNet`, because it has a class of its own, hooks or another forward, is returned unchanged.

    Args:
        network: Any network.
        width: Number of voxels along an edge of the patches to come.

    Example:
        >>> type(fold(MRHNet(in_channels=3, features=4, residual_blocks=1), width=3)).__name__
        'FoldedMRHNet'
    """
    return FoldedMRHNet(network) if width == WIDTH and _is_plain(network) else network


def centre_predictor(
    network: nn.Module, patch_shape: tuple[int, ...], precision: torch.dtype = torch.float32, behind_first: bool = False
) -> Centres:
    """Return the fastest exact function from patches to the centre voxels of their predictions.

    The weights are folded once, in this call. The function does not see later changes to the network.

    Args:
        network: An `MRHNet`, or any module from (B, C, 3, 3) to (B, 1, 3, 3), on the device that computes; or an `IntervalNetwork`.
        patch_shape: Shape of the patches, (3, 3) as published.
        precision: ``torch.bfloat16`` to compute the products in it; otherwise the dtype of the network is used.
        behind_first: Whether the function starts after the first convolution of an `MRHNet`, from its output (B, F, 3, 3).

    Returns:
        Function from patches (B, C, 3, 3) in the dtype of the network, fastest in channels-last memory, to centres (B,) in the same dtype;
        for an `IntervalNetwork` to centres and expected errors (B, 2). The head of one changes no bit of the centres.
    """
    head: IntervalHead | None = None
    if isinstance(network, IntervalNetwork):
        if not _is_plain(network.network) or not _folds(network.network, patch_shape):
            return network
        head, network = network.head, network.network
    if not _is_plain(network) or not _folds(network, patch_shape) or _convolutions(network)[-1].out_channels != 1:
        centre = (slice(None), 0, *(size // 2 for size in patch_shape))
        whole: Any = network.behind_first if behind_first else network
        return lambda patches: whole(patches)[centre].to(patches.dtype)
    if precision != torch.bfloat16 and _prefers_products(_weight(network).device):
        return _ProductCentres(network, behind_first, head)
    return _MatrixCentres(network, precision, behind_first, head)


def _convolutions(network: MRHNet) -> list[Any]:
    """Return the convolutions in the order of computing."""
    blocks: Any = network.blocks
    between = [convolution for block in blocks for convolution in (block.conv1, block.conv2)]
    return [network.conv1, network.conv2, *between, network.conv4, network.conv5]


def _is_plain(network: nn.Module) -> TypeGuard[MRHNet]:
    """Return whether a network is what its class says: no subclass, no hooks, and no replaced ``forward``, as TensorRT makes it."""
    changed = any(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module) for module in network.modules())
    return type(network) in (MRHNet, FoldedMRHNet) and not changed


def _folds(network: MRHNet, patch_shape: tuple[int, ...]) -> bool:
    return tuple(patch_shape) == (WIDTH,) * (_weight(network).ndim - 2)


def _weight(network: MRHNet) -> torch.Tensor:
    weight: torch.Tensor = _convolutions(network)[0].weight
    return weight


def _prefers_products(device: torch.device) -> bool:
    return device.type == "cpu" and not torch.is_autocast_enabled(device.type)


def _groups(batch: int) -> int:
    """Return the number of groups K into which a batch is cut: one for each thread, which then computes the sums of its own group."""
    return math.gcd(batch, torch.get_num_threads()) if batch else 1


def _by_position(x: torch.Tensor, groups: int) -> torch.Tensor:
    """Return patches (B, C, 3, 3) as (K, 9, B / K, C), contiguous."""
    positions = math.prod(x.shape[2:])
    return x.movedim(1, -1).reshape(groups, len(x) // groups, positions, x.shape[1]).transpose(1, 2).contiguous()


def _sums(forms: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """Return P weighted sums of the Q inputs, with weights (P, Q): from (K, Q, B, C) to (K, P, B, C)."""
    return torch.bmm(forms.expand(len(h), -1, -1), h.flatten(2)).view(len(h), len(forms), *h.shape[2:])


class _Products(torch.autograd.Function):
    """One folded convolution of (K, 9, B, I), with bias and, if wanted, ReLU."""

    @staticmethod
    def forward(ctx: Any, h: torch.Tensor, weights: torch.Tensor, bias: torch.Tensor, dims: int, rectify: bool) -> torch.Tensor:
        forms_in, forms_out = (forms_along(kind, dims, h.device, h.dtype) for kind in ("inputs", "outputs"))
        taken = _sums(forms_in, h)
        made = h.new_empty(len(h), len(weights) + 1, h.shape[2], weights.shape[1])
        for one, products in zip(taken.unbind(), made[:, :-1].unbind(), strict=True):
            torch.bmm(one, weights.transpose(1, 2), out=products)
        made[:, -1] = bias
        y = _sums(forms_out, made)
        if rectify:
            y.relu_()
        ctx.save_for_backward(taken, weights, y if rectify else None)
        ctx.forms = forms_in, forms_out
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        taken, weights, y = ctx.saved_tensors
        forms_in, forms_out = ctx.forms
        (gradient,) = gradients
        if y is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, y, 0)
        of_made = _sums(forms_out.T, gradient)
        of_bias = of_made[:, -1].sum((0, 1)) if ctx.needs_input_grad[2] else None
        of_products = of_made[:, :-1].unbind()
        of_weights = of_input = None
        if ctx.needs_input_grad[1]:
            first, *others = zip(of_products, taken.unbind(), strict=True)
            of_weights = torch.bmm(first[0].transpose(1, 2), first[1])
            for of_product, one in others:
                of_weights.baddbmm_(of_product.transpose(1, 2), one)
        if ctx.needs_input_grad[0]:
            of_taken = torch.empty_like(taken)
            for of_product, of_one in zip(of_products, of_taken.unbind(), strict=True):
                torch.bmm(of_product, weights, out=of_one)
            of_input = _sums(forms_in.T, of_taken)
        return of_input, of_weights, of_bias, None, None


def _product_layer(h: torch.Tensor, convolution: Any, rectify: bool) -> torch.Tensor:
    weight = convolution.weight
    result: torch.Tensor = _Products.apply(h, product_weights(weight), convolution.bias, weight.ndim - 2, rectify)  # type: ignore[no-untyped-call]
    return result


def _matrix_layer(h: torch.Tensor, convolution: Any, rectify: bool) -> torch.Tensor:
    groups, positions, batch, _ = h.shape
    rows = h.transpose(1, 2).flatten(2).flatten(0, 1)
    y = F.linear(rows, matrix_weights(convolution.weight).T, convolution.bias.repeat(positions))
    y = y.relu() if rectify else y
    return y.view(groups, batch, positions, convolution.out_channels).transpose(1, 2)


class _ProductCentres:
    """Inference by products. Weights are folded once; the memory for one block of patches is used again by every layer."""

    def __init__(self, network: MRHNet, behind_first: bool = False, head: IntervalHead | None = None):
        *layers, last = _convolutions(network)
        self.behind_first, self.head = behind_first, None if head is None else FoldedIntervalHead(head)
        weight = last.weight.detach()
        self.forms_in, self.forms_out = (forms_along(kind, weight.ndim - 2, weight.device, weight.dtype) for kind in ("inputs", "outputs"))
        self.layers = [(product_weights(layer.weight.detach()).transpose(1, 2), layer.bias.detach()) for layer in layers]
        # The nine weights of the last convolution that reach the centre voxel, position by position.
        self.last = weight[0].flatten(1).T.contiguous()[:, :, None]  # (9, F, 1)
        self.last_bias = last.bias.detach()

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        whole, threads = len(patches) // GROUP, torch.get_num_threads()
        centres = patches.new_empty(len(patches), 1 if self.head is None else 2)
        for start in range(0, whole, threads):
            groups = min(threads, whole - start)
            part = slice(start * GROUP, (start + groups) * GROUP)
            centres[part] = self._block(patches[part], groups)
        if len(patches) > whole * GROUP:
            centres[whole * GROUP :] = self._block(patches[whole * GROUP :], 1)
        return centres[:, 0] if self.head is None else centres

    def _block(self, patches: torch.Tensor, groups: int) -> torch.Tensor:
        given = _by_position(patches, groups)
        _, positions, batch, _ = given.shape
        products, features = len(self.forms_in), self.last.shape[1]
        forms_in, forms_out = (forms.expand(groups, -1, -1) for forms in (self.forms_in, self.forms_out))
        taken = given.new_empty(groups, products, batch, features)
        made = given.new_empty(groups, products + 1, batch, features)
        x, y = given.new_empty(2, groups, positions, batch * features)
        made_in_one, products_made = made.view(groups, products + 1, -1), made[:, :-1].unbind()

        def convolve(h: torch.Tensor, layer: int, out: torch.Tensor, add: bool = False) -> torch.Tensor:
            weights, bias = self.layers[layer]
            sums = taken if layer else given.new_empty(groups, products, batch, given.shape[-1])
            torch.bmm(forms_in, h, out=sums.view(groups, products, -1))
            for one, product in zip(sums.unbind(), products_made, strict=True):
                torch.bmm(one, weights, out=product)
            made[:, -1] = bias
            return out.baddbmm_(forms_out, made_in_one) if add else torch.bmm(forms_out, made_in_one, out=out)

        flat = given.view(groups, positions, -1)
        (y.copy_(flat) if self.behind_first else convolve(flat, 0, y)).relu_()
        convolve(y, 1, x).relu_()
        for layer in range(2, len(self.layers) - 1, 2):
            convolve(x.relu_(), layer, y).relu_()
            convolve(y, layer + 1, x, add=True)
        convolve(x.relu_(), len(self.layers) - 1, y).relu_()
        by_position = y.view(groups, positions, batch, features)
        centres: torch.Tensor = sum(by_position[:, position] @ self.last[position] for position in range(positions))
        centres = torch.as_tensor(centres.reshape(-1) + self.last_bias)
        return centres[:, None] if self.head is None else torch.stack([centres, self.head(by_position)], 1)


class _MatrixCentres:
    """Inference by one matrix for each convolution, in any precision."""

    def __init__(self, network: MRHNet, precision: torch.dtype, behind_first: bool = False, head: IntervalHead | None = None):
        *layers, last = _convolutions(network)
        self.behind_first, self.head = behind_first, head
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
        x = patches.movedim(1, -1).flatten(1).to(self.precision)  # (B, 9 * C)
        first, second, *between, last = self.layers
        x = F.linear(x.relu() if self.behind_first else F.linear(x, *first).relu_(), *second).relu_()
        for one, two in zip(between[::2], between[1::2], strict=True):
            x = x.relu_()
            x = x + F.linear(F.linear(x, *one).relu_(), *two)
        features = F.linear(x.relu_(), *last).relu_()
        centres = F.linear(features, self.last, self.last_bias)[:, 0].to(patches.dtype)
        return centres if self.head is None else torch.stack([centres, self.head(features.to(patches.dtype))], 1)
