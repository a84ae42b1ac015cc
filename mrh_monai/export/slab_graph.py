"""The prediction of a slab of slices as one module that TorchScript and ONNX can hold: gather, scale, network, centre voxel, units."""

# Annotations are evaluated here, because TorchScript reads the annotations of tensors.
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from mrh_monai.axis_order import FILE_ORDER, AxisOrder, inverse_order
from mrh_monai.network import WIDTH, MRHNet, ResidualBlock, forms_along, product_weights
from mrh_monai.patch_geometry import PatchGeometry

# Number of patches in a batch. It bounds the memory, however large a slab is.
BATCH = 1024


class SlabGraph(nn.Module):
    """The prediction of every voxel of a mask from the patch around it, like `predict_volume`, in a form for `torch.jit.script`.

    The loop over batches of voxels stays a loop in the file. So a slab needs only the memory of one batch in addition to its own.

    Args:
        network: Network whose weights are copied into the graph.
        patch: Shape of the patches. Patches of 3 voxels are computed in folded form, others by convolutions.
        limits: Stain of the scaled predictions 0 and 1, in the stain's units.
        axes: Axis of the slab that is X, Y and Z, with coronal slices along Y.
    """

    neighbours: torch.Tensor

    def __init__(self, network: MRHNet, patch: PatchGeometry, limits: tuple[float, float], axes: AxisOrder = FILE_ORDER):
        super().__init__()
        self.is_turned, self.axes, self.back = axes != FILE_ORDER, list(axes), list(inverse_order(axes))
        self.batch, self.target_min, self.target_range = BATCH, limits[0], limits[1] - limits[0]
        self.reach_x, self.reach_y, self.reach_z = patch.reach
        along = [torch.arange(2 * reach + 1) for reach in patch.reach]
        # Places of the voxels of a patch, counted from its first voxel, in the order in which the network takes them.
        self.register_buffer("neighbours", torch.cartesian_prod(*along))  # (9, 3)
        self.centres = _FoldedCentres(network) if patch.width == WIDTH else _ConvolvedCentres(network, list(patch.shape))

    def forward(self, image: torch.Tensor, mask: torch.Tensor, gain: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """Predict a slab.

        Args:
            image: (C, X, Y, Z), or in the order of the slab's axes, float32: finite raw intensities. Voxels outside of the slab count as 0
                before scaling.
            mask: (X, Y, Z) bool in the same order, the voxels that are predicted.
            gain: (C,) float32; scaled = raw * gain + offset.
            offset: (C,) float32.

        Returns:
            (X, Y, Z) float32 in the same order, in the stain's units, 0 outside the mask.
        """
        if self.is_turned:
            image = image.permute(0, 1 + self.axes[0], 1 + self.axes[1], 1 + self.axes[2])
            mask = mask.permute(self.axes[0], self.axes[1], self.axes[2])
        x, y, z = self.reach_x, self.reach_y, self.reach_z
        padded = F.pad(image, [z, z, y, y, x, x])
        scaled = padded * gain[:, None, None, None] + offset[:, None, None, None]
        rows = scaled.permute(1, 2, 3, 0).reshape(-1, image.size(0))  # (V, C)
        voxels = mask.nonzero()  # (N, 3)
        starts = _row(
            voxels, padded.size(2), padded.size(3)
        )  # index of a voxel in the slab = index of its patch's first voxel in the padded slab
        steps = _row(self.neighbours, padded.size(2), padded.size(3))[:, None]
        found = [rows.new_zeros(0)]
        for start in range(0, starts.size(0), self.batch):
            part = starts[start : start + self.batch]
            gathered = rows.index_select(0, (steps + part).flatten())
            found.append(self.centres(gathered.view(steps.size(0), part.size(0), image.size(0))))
        stain = torch.zeros(mask.size(0) * mask.size(1) * mask.size(2), dtype=image.dtype, device=image.device)
        stain = stain.scatter(0, _row(voxels, mask.size(1), mask.size(2)), torch.cat(found) * self.target_range + self.target_min)
        stain = stain.view(mask.size(0), mask.size(1), mask.size(2))
        return stain.permute(self.back[0], self.back[1], self.back[2]) if self.is_turned else stain


def _row(voxels: torch.Tensor, y: int, z: int) -> torch.Tensor:
    """Return the flat index (N,) of each voxel (N, 3) in a volume of Y and Z voxels along its last axes."""
    return (voxels[:, 0] * y + voxels[:, 1]) * z + voxels[:, 2]


class _FoldedCentres(nn.Module):
    """The centres (B,) of scaled patches that are ordered by position, (9, B, C): `mrh_monai.network.fold` in the operations of ONNX."""

    inputs: torch.Tensor
    outputs: torch.Tensor
    last: torch.Tensor
    last_bias: torch.Tensor

    def __init__(self, network: MRHNet):
        super().__init__()
        weight, bias = _weight_and_bias(network.conv5)
        inputs, outputs = (forms_along(kind, weight.ndim - 2, weight.device, weight.dtype) for kind in ("inputs", "outputs"))
        # One copy for all layers, because onnxruntime warns of every constant in a loop that equals another one.
        self.register_buffer("inputs", inputs)
        self.register_buffer("outputs", outputs[:, :-1].contiguous())  # here biases are added, and need no product of their own
        self.first, self.second, self.fourth = (_FoldedConvolution(layer) for layer in (network.conv1, network.conv2, network.conv4))
        self.blocks = nn.ModuleList(_FoldedBlock(block) for block in network.blocks)  # type: ignore[arg-type]
        self.register_buffer("last", weight[0].flatten(1).T[:, :, None].contiguous())  # (9, F, 1)
        self.register_buffer("last_bias", bias)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.first(h, self.inputs, self.outputs))
        h = torch.relu(self.second(h, self.inputs, self.outputs))
        for block in self.blocks:
            h = block(h, self.inputs, self.outputs)
        h = torch.relu(self.fourth(torch.relu(h), self.inputs, self.outputs))
        # The weights of the last convolution for the centre voxel, position by position.
        return torch.matmul(h, self.last).sum(0)[:, 0] + self.last_bias


class _FoldedBlock(nn.Module):
    def __init__(self, block: ResidualBlock):
        super().__init__()
        self.first, self.second = _FoldedConvolution(block.conv1), _FoldedConvolution(block.conv2)

    def forward(self, h: torch.Tensor, inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        h = torch.relu(h)
        change: torch.Tensor = self.second(torch.relu(self.first(h, inputs, outputs)), inputs, outputs)
        return h + change


class _FoldedConvolution(nn.Module):
    """One convolution of patches (9, B, I) to (9, B, O), as 16 products of matrices; see `mrh_monai.network.product_weights`."""

    weights: torch.Tensor
    bias: torch.Tensor

    def __init__(self, convolution: nn.Module):
        super().__init__()
        weight, bias = _weight_and_bias(convolution)
        self.register_buffer("weights", product_weights(weight).transpose(1, 2).contiguous())
        self.register_buffer("bias", bias)

    def forward(self, h: torch.Tensor, inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        sums = torch.matmul(inputs, h.flatten(1)).view(inputs.size(0), h.size(1), h.size(2))
        products = torch.matmul(sums, self.weights)
        return torch.matmul(outputs, products.flatten(1)).view(h.size(0), h.size(1), products.size(2)) + self.bias


class _ConvolvedCentres(nn.Module):
    """The centres of patches of any width, by the network's own convolutions."""

    def __init__(self, network: MRHNet, patch_shape: list[int]):
        super().__init__()
        self.network, self.patch_shape = network, patch_shape

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        patches = h.permute(1, 2, 0).unflatten(2, self.patch_shape)  # type: ignore[no-untyped-call]
        predicted: torch.Tensor = self.network(patches)
        return predicted.flatten(1)[:, h.size(0) // 2]


def _weight_and_bias(convolution: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return convolution.weight.detach(), convolution.bias.detach().clone()
