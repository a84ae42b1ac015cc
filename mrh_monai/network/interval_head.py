"""The interval head: how large an error the last features of a network let one expect."""

from __future__ import annotations

import math

import torch
from torch import nn

from mrh_monai.network.mrh_net import MRHNet

HIDDEN = 64
LEAST, MOST = 0.02, 20.0  # limits of the expected error, in units of the median error that it was fitted to


class IntervalHead(nn.Module):
    """From the last features of a network to the expected size of the error of its centre voxel.

    It reads what the network has computed already, and changes nothing of it.

    Args:
        positions: Number of voxels of a patch, 9 for 3 x 3.
        features: Number of features F of the network.

    Attributes:
        positions: Number of voxels of a patch.
        features: Number of features.
    """

    mean: torch.Tensor
    deviation: torch.Tensor
    median_error: torch.Tensor

    def __init__(self, positions: int = 9, features: int = 64):
        super().__init__()
        self.positions, self.features = positions, features
        self.register_buffer("mean", torch.zeros(positions * features))
        self.register_buffer("deviation", torch.ones(positions * features))
        self.register_buffer("median_error", torch.ones(()))
        self.first = nn.Linear(positions * features, HIDDEN)
        self.last = nn.Linear(HIDDEN, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Turn features (B, 9 * F), the F features of the first voxel first, into expected errors (B,), scaled like the stain."""
        hidden = torch.relu(self.first((features - self.mean) / self.deviation))
        return self.expected(self.last(hidden)[:, 0])

    def expected(self, logarithm: torch.Tensor) -> torch.Tensor:
        """Turn the output of the last layer into expected errors within their limits."""
        return self.median_error * logarithm.clamp(math.log(LEAST), math.log(MOST)).exp()


class FoldedIntervalHead:
    """The same head for features that lie position by position, as the folded form of a network computes them. It is folded once.

    Args:
        head: The head.
    """

    def __init__(self, head: IntervalHead):
        self.head = head
        weight = head.first.weight.detach() / head.deviation  # the standardisation becomes a part of the first layer
        self.weights = weight.T.reshape(head.positions, head.features, HIDDEN).contiguous()
        self.bias = head.first.bias.detach() - weight @ head.mean

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Turn features (K, 9, B, F) of K groups of patches into expected errors (K * B,)."""
        groups, _, batch, _ = features.shape
        hidden = self.bias.expand(groups, batch, -1)
        for one, weights in zip(features.unbind(1), self.weights, strict=True):
            hidden = torch.baddbmm(hidden, one, weights.expand(groups, -1, -1))
        return self.head.expected(self.head.last(hidden.relu_().flatten(0, 1))[:, 0])


class IntervalNetwork(nn.Module):
    """A network together with its interval head. It predicts two numbers for each patch: the centre voxel, and how large its error may be.

    Args:
        network: Trained network.
        head: Its interval head.

    Example:
        >>> both = IntervalNetwork(MRHNet(in_channels=3, features=4, residual_blocks=1), IntervalHead(positions=9, features=4))
        >>> both(torch.rand(5, 3, 3, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(self, network: MRHNet, head: IntervalHead):
        super().__init__()
        self.network, self.head = network, head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn scaled MR patches (B, C, 3, 3) into stain and expected error of the centre voxel (B, 2), both scaled like the stain."""
        features = self.network.last_features(self.network.conv1(x))
        centre = (slice(None), 0, *(size // 2 for size in x.shape[2:]))
        return torch.stack([self.network.conv5(features)[centre], self.head(features.movedim(1, -1).flatten(1))], 1)
