"""Which MR image matters to a prediction: add noise to one image at a time, and measure how far the predicted stain changes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch

from mrh_monai.data import SubjectInMemory
from mrh_monai.errors import OptionError
from mrh_monai.evaluation import Regions
from mrh_monai.network import MRHNet, Sidecar, centre_predictor
from mrh_monai.patch_geometry import PatchGeometry
from mrh_monai.patches import PatchSource
from mrh_monai.progress import progress_bar
from mrh_monai.protocol import MRProtocol

BATCH = 4096


@dataclass(frozen=True)
class NoiseOptions:
    """Noise that is added to images, and where its effect is measured.

    Attributes:
        noise: Standard deviation of both Gaussian components of the noise, as a share of the image's mean inside the mask.
        draws: Number of draws of the noise.
        voxels: Number of voxels of the mask at which the effect is measured, drawn at random; None for all voxels.
        seed: Random seed of the noise and of the voxels.

    Raises:
        OptionError: The noise is not above 0, or there are no draws.
    """

    noise: float = 0.1
    draws: int = 3
    voxels: int | None = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.noise < np.inf:
            raise OptionError("noise", "a number above 0, relative to an image's mean", f"{self.noise}", "give, for example, 0.1")
        if self.draws < 1:
            raise OptionError("draws", "at least one draw", f"{self.draws}", "give 3, for example")


DEFAULT_NOISE = NoiseOptions()


class ImageRow(TypedDict):
    """The contribution of one image, or of one group of images.

    Attributes:
        rank: Rank, 1 for the most important.
        image: Name of the image or of the group.
        rmse: RMSE of the stain's change over all draws, in the stain's units.
        share: RMSE of the image, divided by the sum of the RMSE of all images; the mean over the draws.
        share_sd: Standard deviation of the share over the draws; NaN for a single draw.
        cumulative: Sum of the shares of this image and of all more important ones.
    """

    rank: int
    image: str
    rmse: float
    share: float
    share_sd: float
    cumulative: float


@dataclass(frozen=True)
class Contribution:
    """How far a stain changes when images become noisy.

    Attributes:
        names: Names of the P perturbed images, or groups of images.
        rmse: (D, P) RMSE of the stain's change in every draw of the noise, in the stain's units.
        regions: Number of voxels and RMSE (P,) over all draws, for each region.
        voxels: Number of voxels at which the change was measured.

    Example:
        >>> found = Contribution(("t2", "mt_on"), np.array([[1.0, 3.0]]), {}, voxels=100)
        >>> [(row["image"], row["share"]) for row in found.rows()]
        [('mt_on', 0.75), ('t2', 0.25)]
    """

    names: tuple[str, ...]
    rmse: np.ndarray
    regions: dict[str, tuple[int, np.ndarray]]
    voxels: int

    @property
    def shares(self) -> np.ndarray:
        """(D, P): the RMSE of each draw, divided by its sum over all images; 0 where no image changes the prediction."""
        total = self.rmse.sum(1, keepdims=True)
        return np.asarray(np.divide(self.rmse, total, out=np.zeros_like(self.rmse), where=total > 0))

    @property
    def ranking(self) -> np.ndarray:
        """(P,) indices of the images, most important first."""
        return np.argsort(-self.shares.mean(0), kind="stable")

    def rows(self) -> list[ImageRow]:
        """Return one row for each perturbed image, most important first."""
        shares = self.shares
        rows: list[ImageRow] = []
        total = 0.0
        for rank, index in enumerate(self.ranking, 1):
            share = float(shares[:, index].mean())
            total += share
            spread = float(shares[:, index].std(ddof=1)) if len(shares) > 1 else float("nan")
            moved = float(np.sqrt((self.rmse[:, index] ** 2).mean()))
            rows.append({"rank": rank, "image": self.names[index], "rmse": moved, "share": share, "share_sd": spread, "cumulative": total})
        return rows


def perturb_images(
    network: MRHNet,
    sidecar: Sidecar,
    subject: SubjectInMemory,
    perturbed: Mapping[str, Sequence[int]],
    noise: NoiseOptions = DEFAULT_NOISE,
    regions: Regions | None = None,
    progress: bool = False,
) -> Contribution:
    """Add noise to images, one image or one group at a time, and measure how far the prediction differs from the noise-free one.

    Rician noise is drawn once for each voxel, so that overlapping patches see the same noisy image. The first convolution is linear: where
    some images change, its sums change by the convolution of that change. So only the layers after it are computed again.

    Args:
        network: Trained network, on the device that computes.
        sidecar: Sidecar of the network.
        subject: Subject in memory, with a margin of the patch radius at least.
        perturbed: Channels that become noisy together, by a name.
        noise: The noise, and the number of voxels at which its effect is measured.
        regions: Regions in which the effect is also measured, one by one; None for no regions.
        progress: Whether to show a progress bar on a terminal.

    Raises:
        OptionError: There are no images.
        SubjectError: No region lies inside the mask.

    Source:
        Liang et al., eLife 2022;11:e72331, Methods: noise of 10% on one image at a time, RMSE against the noise-free output, divided by the
        sum over all images. The paper does not say of what the noise is 10%; here it is the mean of the image in the mask.
    """
    if not perturbed:
        raise OptionError("contribution", "at least one image", "no image", "name images of the protocol")
    device, patch, scaling = next(network.parameters()).device, sidecar.patch, sidecar.scaling
    support = scaling.support(subject.mask, patch)
    gain, offset = (torch.from_numpy(values).to(device) for values in scaling.coefficients(subject, support))
    each = {} if regions is None else regions.need_some(support)
    centres = np.argwhere(support)
    if noise.voxels is not None:
        centres = centres[np.sort(np.random.default_rng([noise.seed, 0]).permutation(len(centres))[: noise.voxels])]
    touched, patches = _touched(centres, patch, subject.mask.shape)
    means = subject.image[subject.mask].mean(0, dtype=np.float64)
    network = network.eval()
    first = network.conv1
    weights = first.get_parameter("weight")

    with torch.inference_mode():
        behind = centre_predictor(network, patch.shape, behind_first=True)
        source = PatchSource([torch.as_tensor(subject.padded)], subject.margin, patch)
        located = source.locate(np.column_stack([np.zeros(len(centres), np.int64), centres]))
        spatial = (1,) * len(patch.axes)
        sums: list[torch.Tensor] = []
        clean: list[torch.Tensor] = []
        for start in range(0, len(centres), BATCH):
            scaled = source.gather(located[start : start + BATCH]).to(device, torch.float32) * gain.view(-1, *spatial)
            sums.append(first(scaled + offset.view(-1, *spatial)))
            clean.append(behind(sums[-1]))
        names = list(perturbed)
        squares = np.zeros((noise.draws, len(names), len(centres)), np.float32)
        inside = (touched >= 0).all(0)
        steps = [(draw, index) for draw in range(noise.draws) for index in range(len(names))]
        for draw, index in progress_bar(steps, "image", progress):
            channels = list(perturbed[names[index]])
            change = np.zeros((touched.shape[1], len(channels)), np.float32)
            for column, channel in enumerate(channels):
                signal = subject.image[..., channel][tuple(touched[:, inside])].astype(np.float32)
                rng = np.random.default_rng([noise.seed, 1 + draw, channel])
                change[inside, column] = rician(signal, noise.noise * means[channel], rng) - signal
            moved = torch.from_numpy(change).to(device) * gain[channels]
            for part, start in enumerate(range(0, len(centres), BATCH)):
                batch = moved[patches[start : start + BATCH].to(device)].movedim(-1, 1)
                convolve = torch.nn.functional.conv2d if len(patch.axes) == 2 else torch.nn.functional.conv3d
                noisy = behind(sums[part] + convolve(batch, weights[:, channels], padding=1))
                squares[draw, index, start : start + BATCH] = ((noisy - clean[part]) * scaling.target_range).square().cpu()
    chosen = np.flatnonzero(_positions(support, centres)) if each else np.zeros(0, int)
    found = {}
    for name, members in each.items():
        own = members[chosen]
        if own.any():
            found[name] = (int(own.sum()), np.sqrt(squares[:, :, own].mean((0, 2), dtype=np.float64)))
    return Contribution(tuple(names), np.sqrt(squares.mean(2, dtype=np.float64)), found, len(centres))


def single_images(protocol: MRProtocol, names: Sequence[str] | None = None) -> dict[str, list[int]]:
    """Return the channel of every image.

    Args:
        protocol: Channels of the subject.
        names: Names of the images to return; None for all images.

    Raises:
        OptionError: A name is not in the protocol; the error names the nearest one.

    Example:
        >>> from mrh_monai.protocol import MRH_NET
        >>> single_images(MRH_NET, ["t2", "mt_off"])
        {'t2': [64], 'mt_off': [66]}
    """
    chosen = protocol.names if names is None else [name.strip() for name in names]
    for name in chosen:
        if name not in protocol.names:
            near = difflib.get_close_matches(name, protocol.names, 1)
            remedy = f"did you mean {near[0]!r}" if near else "see the channels in the bundle's metadata.json"
            raise OptionError("images", "names of the protocol's images", repr(name), remedy)
    return {name: [protocol.names.index(name)] for name in chosen}


def groups_of_images(protocol: MRProtocol) -> dict[str, list[int]]:
    """Return the channels of every group of images that are alike: unweighted volumes, diffusion shells, contrasts, other images."""
    return {group.name: list(group.indices) for group in protocol.groups}


def rician(signal: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Return the magnitude of a signal with Gaussian noise in both of its components.

    Args:
        signal: Signal, of any shape.
        sigma: Standard deviation of each component, in the units of the signal.
        rng: Source of the noise.

    Returns:
        float32 of the same shape.
    """
    real, imaginary = rng.standard_normal((2, *signal.shape), np.float32) * np.float32(sigma)
    return np.asarray(np.hypot(signal + real, imaginary))


def _touched(centres: np.ndarray, patch: PatchGeometry, shape: Sequence[int]) -> tuple[np.ndarray, torch.Tensor]:
    """Return each voxel that lies in any patch once, (3, V), -1 beyond the volume; and which of them each patch holds, (N, 3, 3)."""
    steps = np.arange(-patch.radius, patch.radius + 1)
    offsets = np.stack(np.meshgrid(*[steps if axis in patch.axes else [0] for axis in range(3)], indexing="ij"), -1).reshape(-1, 3)
    places = centres[:, None, :] + offsets
    outside = ((places < 0) | (places >= np.asarray(shape))).any(-1)
    flat = np.where(outside, -1, np.ravel_multi_index(tuple(np.moveaxis(places, -1, 0)), tuple(shape), mode="clip"))
    unique, inverse = np.unique(flat, return_inverse=True)
    voxels = np.stack(np.unravel_index(np.maximum(unique, 0), tuple(shape)))
    voxels[:, unique < 0] = -1
    return voxels, torch.from_numpy(inverse.reshape(len(centres), *patch.shape))


def _positions(support: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(voxels of the support,) bool: which of them the centres are; both run in the same order."""
    chosen = np.zeros(support.shape, bool)
    chosen[tuple(centres.T)] = True
    return np.asarray(chosen[support])
