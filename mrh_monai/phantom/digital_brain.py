"""Digital mouse brains: subjects with known latent maps, their 67 MR images, and their AF, NF and MBP stains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mrh_monai.errors import OptionError
from mrh_monai.phantom.anatomy import Tissue, make_tissue
from mrh_monai.phantom.coordinates import make_place, smooth_field
from mrh_monai.phantom.mr_signals import DWI_COUNT, fractional_anisotropy, noise_free_signals, noisy_images
from mrh_monai.phantom.stains import stain_intensities

VOXEL_MM = 0.0625
SMALLEST_SHAPE = (24, 3, 24)
BRIGHTEST = 24_000  # Largest noise-free intensity at full gain. It leaves room for noise below the limit of int16.


@dataclass(frozen=True)
class PhantomSubject:
    """One digital brain; all arrays are on one grid of voxels of `VOXEL_MM` mm.

    Attributes:
        name: "subject01" for index 0.
        image: (X, Y, Z, 67) int16, noisy MR images in the order of `MRH_NET`, arbitrary units.
        mask: (X, Y, Z) uint8, 1 inside the brain.
        fa: (X, Y, Z) uint8, fractional anisotropy times 255, from the noisy lower shell; 0 outside the mask.
        stains: "af", "nf" and "mbp", each (X, Y, Z) uint8, 0 outside the mask.
        latent: Each of `MAP_NAMES` and "sensitivity", (X, Y, Z); "direction", (X, Y, Z, 3), unit vectors. All are float32, 0 outside the
            mask.
        noise_free: (X, Y, Z, 67) int16, the images without noise, 0 outside the mask.
        noise_free_stains: The stains before rounding, float32 in [0, 255].
        noise_sigma: Standard deviation of each of the two Gaussian channels under the Rician noise, in units of ``image``.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray
    fa: np.ndarray
    stains: dict[str, np.ndarray]
    latent: dict[str, np.ndarray]
    noise_free: np.ndarray
    noise_free_stains: dict[str, np.ndarray]
    noise_sigma: float


def subject_name(index: int) -> str:
    """Return the name of a subject.

    Args:
        index: Number of the subject, from 0.
    """
    return f"subject{index + 1:02d}"


def make_subject(index: int, shape: Sequence[int] = (96, 24, 64), seed: int = 0, snr: float = 30.0) -> PhantomSubject:
    """Make one subject. It depends on ``seed`` and ``index`` only, not on the number of subjects that are made.

    Args:
        index: Number of the subject, from 0.
        shape: Voxels along X (left-right), Y (anterior-posterior) and Z (ventral-dorsal); the whole brain is fitted into them.
        seed: Random seed of the cohort, at least 0.
        snr: Mean unweighted diffusion signal in the brain divided by the sigma of the noise, before the subject's own factor of 0.9 to
            1.1; inf for images without noise.

    Raises:
        OptionError: An argument has a value that it cannot have.

    Example:
        >>> subject = make_subject(0, shape=(24, 3, 24))
        >>> subject.name, subject.image.shape, str(subject.image.dtype), sorted(subject.stains)
        ('subject01', (24, 3, 24, 67), 'int16', ['af', 'mbp', 'nf'])
    """
    size = _checked_shape(index, shape, seed, snr)
    rng = np.random.default_rng([seed, index])
    place = make_place(rng, size)
    inside = place.radius < 1
    tissue = make_tissue(place.take(inside))
    _vary_densities(tissue, rng, size, inside)
    sensitivity = np.exp(0.10 * smooth_field(rng, size, 1.2, 8)[inside])
    clean = noise_free_signals(tissue, sensitivity)
    clean *= np.float32(BRIGHTEST * rng.uniform(0.85, 1.0)) / clean.max()
    sigma = float(clean[:2].mean() / (snr * rng.uniform(0.9, 1.1)))
    noise_free, image = noisy_images(clean, inside, sigma, rng)
    fa = fractional_anisotropy(image[:DWI_COUNT][:, inside])

    def volume(values: np.ndarray) -> np.ndarray:
        full = np.zeros((*values.shape[:-1], inside.size), values.dtype)
        full[..., inside] = values
        return _on_grid(full, size)

    exact = {name: 255 * values for name, values in stain_intensities(tissue.maps).items()}
    latent = {name: volume(values) for name, values in {**tissue.maps, "sensitivity": sensitivity, "direction": tissue.direction}.items()}
    return PhantomSubject(
        name=subject_name(index),
        image=_on_grid(image, size),
        mask=_on_grid(inside.astype(np.uint8), size),
        fa=volume(np.rint(255 * fa).astype(np.uint8)),
        stains={name: volume(np.rint(values).astype(np.uint8)) for name, values in exact.items()},
        latent=latent,
        noise_free=_on_grid(noise_free, size),
        noise_free_stains={name: volume(values) for name, values in exact.items()},
        noise_sigma=sigma,
    )


def _checked_shape(index: int, shape: Sequence[int], seed: int, snr: float) -> tuple[int, int, int]:
    """Refuse impossible arguments of `make_subject`; return the shape."""
    given = " ".join(map(str, shape))
    if len(shape) != 3:
        raise OptionError("shape", "three numbers of voxels (X Y Z)", given or "no number", "give X, Y and Z")
    if any(n < least for n, least in zip(shape, SMALLEST_SHAPE, strict=True)):
        raise OptionError("shape", f"at least {' '.join(map(str, SMALLEST_SHAPE))} voxels", given, "ask for a larger grid")
    if not snr > 0:
        raise OptionError("snr", "a number above 0", str(snr), "give, for example, 30")
    for name, value in (("subject index", index), ("seed", seed)):
        if value < 0:
            raise OptionError(name, "0 or more", str(value), "give a number that is not negative")
    return (int(shape[0]), int(shape[1]), int(shape[2]))


def _vary_densities(tissue: Tissue, rng: np.random.Generator, size: tuple[int, int, int], inside: np.ndarray) -> None:
    """Multiply each map by a factor of the whole subject and by a smooth random texture, so that subjects and places differ."""
    for name, whole, local, cycles in (("axon", 0.05, 0.15, 9), ("myelin", 0.08, 0.25, 7), ("cells", 0.05, 0.18, 9), ("iron", 0.1, 0.6, 6)):
        texture = smooth_field(rng, size, cycles)[inside]
        values = tissue.maps[name]
        values *= np.exp(np.float32(local) * texture + np.float32(rng.normal(0, whole)))
        np.clip(values, 0, 1, out=values)


def _on_grid(values: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """Return (C..., X * Y * Z), x running fastest, as (X, Y, Z, C...). No value is copied: files have the same order."""
    return values.T.reshape(*size, *values.shape[:-1], order="F")
