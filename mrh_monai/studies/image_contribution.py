"""Which MR image matters to a prediction: noise on one image at a time, and how far the predicted stain moves."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mrh_monai.data import LoadedSubject
from mrh_monai.errors import OptionError
from mrh_monai.evaluation import Regions
from mrh_monai.network import MRHNet, Sidecar, centre_predictor
from mrh_monai.patches import PatchSource
from mrh_monai.protocol import UNWEIGHTED_BELOW, MRProtocol

NOISE = 0.1
DRAWS = 3
VOXELS = 10_000
BATCH = 4096


@dataclass(frozen=True)
class Contribution:
    """How far a stain moves when images get noisy.

    Attributes:
        names: Of the perturbed images, or groups of images, (P,).
        rmse: (D, P) of the stain's change in every draw of the noise, in its own units.
        regions: Region to its number of voxels and ``rmse`` (P,), over all draws.
        voxels: How many voxels were looked at.
    """

    names: tuple[str, ...]
    rmse: np.ndarray
    regions: dict[str, tuple[int, np.ndarray]]
    voxels: int

    @property
    def shares(self) -> np.ndarray:
        """(D, P): each draw's RMSE, divided by its sum over all images; 0 where nothing moves the network."""
        total = self.rmse.sum(1, keepdims=True)
        return np.divide(self.rmse, total, out=np.zeros_like(self.rmse), where=total > 0)

    @property
    def ranking(self) -> np.ndarray:
        """(P,) indices, most important first."""
        return np.argsort(-self.shares.mean(0), kind="stable")

    def rows(self) -> list[dict[str, Any]]:
        """One a perturbed image, most important first, with its share, the share's standard deviation over draws, and all shares so far."""
        shares, rows = self.shares, []
        total = 0.0
        for rank, index in enumerate(self.ranking, 1):
            share = float(shares[:, index].mean())
            total += share
            spread = float(shares[:, index].std(ddof=1)) if len(shares) > 1 else float("nan")
            moved = float(np.sqrt((self.rmse[:, index] ** 2).mean()))
            rows.append({"rank": rank, "image": self.names[index], "rmse": moved, "share": share, "share_sd": spread, "cumulative": total})
        return rows


def contribution(
    network: MRHNet,
    sidecar: Sidecar,
    subject: LoadedSubject,
    perturbed: Mapping[str, Sequence[int]],
    *,
    noise: float = NOISE,
    draws: int = DRAWS,
    voxels: int | None = VOXELS,
    regions: Regions | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Contribution:
    """Make images noisy, one or one group at a time, and see how far the prediction moves from the noise-free one.

    Rician noise is drawn once a voxel, so that overlapping patches see the same noisy image. A change of some images changes the first
    convolution's sums by its convolution of that change alone, since it is linear: only the layers behind it are computed anew.

    Args:
        network: Trained.
        sidecar: Its own.
        subject: Loaded with a margin of the patch radius at least.
        perturbed: Name to the channels that get noisy together.
        noise: Standard deviation of both Gaussian components, relative to the image's mean in the mask.
        draws: How often the noise is drawn.
        voxels: How many voxels of the mask to look at, drawn at random; None for all.
        regions: To look at each region too; None for none.
        seed: Of noise and voxels.
        device: Where the network computes.
        progress: Wraps the iteration over draws and images.

    Raises:
        OptionError: The noise is not above 0, or there are no draws or images.

    Source:
        Liang et al., eLife 2022;11:e72331, Methods: noise of 10% on one image at a time, RMSE against the noise-free output, normalised
        by the sum. What the 10% are of is not said there; here it is the image's mean in the mask.
    """
    check_noise(noise)
    if draws < 1 or not perturbed:
        raise OptionError("contribution", "at least one draw and one image", f"{draws} and {len(perturbed)}", "give more")
    device = torch.device(device)
    radius, axes = sidecar.patch_radius, tuple(sidecar.patch_axes)
    support = sidecar.scaling.support(subject.mask, axes, radius)
    gain, offset = (torch.from_numpy(values).to(device) for values in sidecar.scaling.coefficients(subject, support))
    each = {} if regions is None else regions.need_some(support)
    centres = np.argwhere(support)
    if voxels is not None:
        centres = centres[np.sort(np.random.default_rng([seed, 0]).permutation(len(centres))[:voxels])]
    touched, patches = _touched(centres, axes, radius, subject.mask.shape)
    means = subject.image[subject.mask].mean(0, dtype=np.float64)
    network = network.to(device).eval()
    first: Any = network.conv1
    units = sidecar.scaling.target_max

    with torch.inference_mode():
        behind = centre_predictor(network, (2 * radius + 1,) * len(axes), behind_first=True)
        source = PatchSource([torch.as_tensor(subject.padded)], subject.margin, axes, radius)
        located = source.locate(np.column_stack([np.zeros(len(centres), np.int64), centres]))
        spatial = (1,) * len(axes)
        sums, clean = [], []
        for start in range(0, len(centres), BATCH):
            scaled = source.gather(located[start : start + BATCH]).to(device, torch.float32) * gain.view(-1, *spatial)
            sums.append(first(scaled + offset.view(-1, *spatial)))
            clean.append(behind(sums[-1]))
        names = list(perturbed)
        squares = np.zeros((draws, len(names), len(centres)), np.float32)
        inside = (touched >= 0).all(0)
        for draw, index in progress([(draw, index) for draw in range(draws) for index in range(len(names))]):
            channels = list(perturbed[names[index]])
            change = np.zeros((touched.shape[1], len(channels)), np.float32)
            for column, channel in enumerate(channels):
                signal = subject.image[..., channel][tuple(touched[:, inside])].astype(np.float32)
                change[inside, column] = rician(signal, noise * means[channel], np.random.default_rng([seed, 1 + draw, channel])) - signal
            moved = torch.from_numpy(change).to(device) * gain[channels]
            weight = first.weight[:, channels]
            for part, start in enumerate(range(0, len(centres), BATCH)):
                batch = moved[patches[start : start + BATCH].to(device)].movedim(-1, 1)
                convolve = torch.nn.functional.conv2d if len(axes) == 2 else torch.nn.functional.conv3d
                noisy = behind(sums[part] + convolve(batch, weight, padding=1))
                squares[draw, index, start : start + BATCH] = ((noisy - clean[part]) * units).square().cpu()
    chosen = np.flatnonzero(_positions(support, centres)) if each else np.zeros(0, int)
    found = {}
    for name, members in each.items():
        own = members[chosen]
        if own.any():
            found[name] = (int(own.sum()), np.sqrt(squares[:, :, own].mean((0, 2), dtype=np.float64)))
    return Contribution(tuple(names), np.sqrt(squares.mean(2, dtype=np.float64)), found, len(centres))


def check_noise(noise: float) -> None:
    """Refuse noise that is none.

    Raises:
        OptionError: It is not a number above 0.
    """
    if not 0 < noise < np.inf:
        raise OptionError("--noise", "a number above 0, relative to an image's mean", f"{noise}", "give, for example, 0.1")


def single_images(protocol: MRProtocol, names: Sequence[str] | None = None) -> dict[str, list[int]]:
    """Every image by itself.

    Args:
        protocol: Of the subject.
        names: Of some of them; None for all.

    Raises:
        OptionError: A name is not in the protocol; the nearest is named.
    """
    chosen = protocol.names if names is None else [name.strip() for name in names]
    for name in chosen:
        if name not in protocol.names:
            near = difflib.get_close_matches(name, protocol.names, 1)
            raise OptionError(
                "--images", "names of the protocol's images", repr(name), f"did you mean {near[0]!r}" if near else "see metadata.json"
            )
    return {name: [protocol.names.index(name)] for name in chosen}


def groups_of_images(protocol: MRProtocol) -> dict[str, list[int]]:
    """Images that are alike, together: unweighted volumes, each diffusion shell, named contrasts, and every other image by itself."""
    groups: dict[str, list[int]] = {}
    shells: list[tuple[float, str]] = []
    for b_value in sorted({c.b_value for c in protocol if c.b_value is not None and c.b_value >= UNWEIGHTED_BELOW}):
        near = shells[-1][1] if shells and b_value <= 1.1 * shells[-1][0] else f"b = {round(b_value / 100) * 100:g}"
        shells.append((b_value, near))
    named = dict(shells)
    for index, channel in enumerate(protocol):
        if channel.contrast is not None:
            name = channel.contrast
        elif channel.b_value is None:
            name = channel.name
        else:
            name = named.get(channel.b_value, "unweighted")
        groups.setdefault(name, []).append(index)
    return groups


def rician(signal: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """The magnitude of a signal with Gaussian noise in both of its components.

    Args:
        signal: Any shape.
        sigma: Of each component, in the signal's units.
        rng: Where noise comes from.

    Returns:
        float32, the same shape.
    """
    real, imaginary = rng.standard_normal((2, *signal.shape), np.float32) * np.float32(sigma)
    return np.hypot(signal + real, imaginary)


def _touched(centres: np.ndarray, axes: Sequence[int], radius: int, shape: Sequence[int]) -> tuple[np.ndarray, torch.Tensor]:
    """The voxels that any patch has, each once, (3, V), -1 for those beyond the volume; and of every patch (N, 3, 3) which they are."""
    steps = np.arange(-radius, radius + 1)
    offsets = np.stack(np.meshgrid(*[steps if axis in axes else [0] for axis in range(3)], indexing="ij"), -1).reshape(-1, 3)
    places = centres[:, None, :] + offsets
    outside = ((places < 0) | (places >= np.asarray(shape))).any(-1)
    flat = np.where(outside, -1, np.ravel_multi_index(tuple(np.moveaxis(places, -1, 0)), tuple(shape), mode="clip"))
    unique, inverse = np.unique(flat, return_inverse=True)
    voxels = np.stack(np.unravel_index(np.maximum(unique, 0), tuple(shape)))
    voxels[:, unique < 0] = -1
    return voxels, torch.from_numpy(inverse.reshape(len(centres), *[2 * radius + 1] * len(axes)))


def _positions(support: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(voxels of the support,) bool: which of them the centres are; both run in the same order."""
    chosen = np.zeros(support.shape, bool)
    chosen[tuple(centres.T)] = True
    return chosen[support]
