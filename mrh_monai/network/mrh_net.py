"""MRH-Net, the residual network of Liang et al., eLife 2022;11:e72331, with the presets of the paper and of the released code."""

from __future__ import annotations

import torch
from torch import nn

from mrh_monai.errors import OptionError, one_of

INITIALISATIONS = ("identity", "he", "glorot", "orthogonal")


class ResidualBlock(nn.Module):
    """A residual block: x = ReLU(x), then x + Conv(ReLU(Conv(x))). The skip connection starts after the first ReLU.

    Args:
        features: Number of channels in and out.
        spatial_dims: Number of axes of a patch, 2 or 3.
    """

    def __init__(self, features: int, spatial_dims: int = 2):
        super().__init__()
        self.conv1 = _convolution(features, features, spatial_dims)
        self.conv2 = _convolution(features, features, spatial_dims)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn features (B, F, 3, 3) into features (B, F, 3, 3)."""
        x = torch.relu(x)
        residual: torch.Tensor = self.conv2(torch.relu(self.conv1(x)))
        return x + residual


class MRHNet(nn.Module):
    """The network from the MR images of a small patch to the stain of the same patch.

    The layers are Conv(C, F), ReLU, Conv(F, F), ReLU, B residual blocks, ReLU, Conv(F, F), ReLU, Conv(F, 1). Every convolution is 3 x 3
    (3 x 3 x 3 in 3D) with bias and zero "same" padding. The padding acts at the edge of *every patch*: applied to a whole slice, the
    network would be another function. `mrh_monai.inference.predict_volume` applies it patch by patch and keeps the centre of each patch.

    Args:
        in_channels: Number of MR images C; 67 as published.
        features: Number of features F; 64 as published.
        residual_blocks: Number of residual blocks B; 30 in the paper. The network that the release calls "5layer" has B = 5.
        out_channels: Number of stains; 1 as published.
        spatial_dims: Number of axes of a patch: 2 for patches in the coronal plane as published, 3 for 3D patches.
        initialisation: ``identity``, ``he``, ``glorot`` (released code) or ``orthogonal`` (paper); see `initialise`.

    Raises:
        OptionError: A number is below 1 (0 blocks are allowed), or the initialisation is unknown.

    Example:
        >>> network = MRHNet(in_channels=3, features=8, residual_blocks=1)
        >>> network(torch.zeros(5, 3, 3, 3)).shape
        torch.Size([5, 1, 3, 3])
    """

    def __init__(
        self,
        in_channels: int = 67,
        features: int = 64,
        residual_blocks: int = 30,
        out_channels: int = 1,
        spatial_dims: int = 2,
        initialisation: str = "identity",
    ):
        super().__init__()
        for name, value, least in (("in_channels", in_channels, 1), ("features", features, 1), ("residual_blocks", residual_blocks, 0)):
            if not isinstance(value, int) or value < least:
                raise OptionError(name, f"a whole number of at least {least}", repr(value), f"correct {name}")
        if spatial_dims not in (2, 3):
            raise OptionError("spatial_dims", "2 or 3", repr(spatial_dims), "use 2 for patches in the coronal plane")
        self.conv1 = _convolution(in_channels, features, spatial_dims)
        self.conv2 = _convolution(features, features, spatial_dims)
        self.blocks = nn.ModuleList(ResidualBlock(features, spatial_dims) for _ in range(residual_blocks))
        self.conv4 = _convolution(features, features, spatial_dims)
        self.conv5 = _convolution(features, out_channels, spatial_dims)
        initialise(self, initialisation)
        self.to(memory_format=torch.channels_last if spatial_dims == 2 else torch.channels_last_3d)  # type: ignore[call-overload]

    @classmethod
    def paper(cls, in_channels: int = 67) -> MRHNet:
        """Return the network of the paper (Methods, "Design and training of MRH networks"): 30 residual blocks, orthogonal weights."""
        return cls(in_channels, residual_blocks=30, initialisation="orthogonal")

    @classmethod
    def released(cls, network_depth: int = 4, in_channels: int = 67) -> MRHNet:
        """Return the network that the released code builds for its ``networkDepth``, which does not count the first residual block."""
        return cls(in_channels, residual_blocks=network_depth + 1, initialisation="glorot")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn scaled MR patches (B, C, 3, 3) float32 into scaled stain patches (B, 1, 3, 3); any patch size works."""
        return self.behind_first(self.conv1(x))

    def behind_first(self, sums: torch.Tensor) -> torch.Tensor:
        """Turn the output of the first convolution (B, F, 3, 3), before its ReLU, into scaled stain patches (B, 1, 3, 3)."""
        stain: torch.Tensor = self.conv5(self.last_features(sums))
        return stain

    def last_features(self, sums: torch.Tensor) -> torch.Tensor:
        """Turn the output of the first convolution (B, F, 3, 3) into the features (B, F, 3, 3) from which the last one makes the stain."""
        x = torch.relu(self.conv2(torch.relu(sums)))
        for block in self.blocks:
            x = block(x)
        return torch.relu(self.conv4(torch.relu(x)))


def initialise(network: nn.Module, initialisation: str) -> None:
    """Draw the weights of a network from torch's global random state; biases become 0.

    Args:
        network: An `MRHNet`, or any module of convolutions.
        initialisation: ``he`` (He et al. 2015), ``glorot`` (MATLAB's default) or ``orthogonal``; ``identity`` is ``he`` with the last
            convolution of every residual block at 0, so that all blocks begin as the identity and depth does not amplify the signal
            (Zhang et al., Fixup, ICLR 2019).

    Raises:
        OptionError: The name is unknown.
    """
    one_of("initialisation", initialisation, INITIALISATIONS)
    blocks: list[ResidualBlock] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            if initialisation in ("he", "identity"):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif initialisation == "glorot":
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.orthogonal_(module.weight)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        elif isinstance(module, ResidualBlock) and initialisation == "identity":
            blocks.append(module)
    for block in blocks:
        nn.init.zeros_(block.conv2.weight)  # type: ignore[arg-type]


def _convolution(in_channels: int, out_channels: int, spatial_dims: int) -> nn.Module:
    kind = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
    return kind(in_channels, out_channels, kernel_size=3, padding=1)
