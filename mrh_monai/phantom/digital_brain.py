"""The digital mouse brain: subjects with known latent maps, their 67 MR images and their AF, NF and MBP stains.

Signal model, for the densities of axons a, myelin m and cell bodies c and the fluid fraction v of `anatomy`, all in [0, 1]:

* Diffusion: S = R P [(1 - v) exp(-TE R2) (f stick + s sphere + (1 - f - s) zeppelin) + v exp(-TE R2_v) ball]; stick and
  zeppelin as in Panagiotaki et al., NeuroImage 2012;59:2241, cell bodies as a compartment of low isotropic diffusivity after SANDI
  (Palombo et al., NeuroImage 2020;215:116835).
  stick = exp(-b d (g.n)^2), zeppelin = exp(-b (d_t + (d - d_t) (g.n)^2)), sphere = exp(-b D_s), ball = exp(-b D_v), with
  f = 0.85 a, s = 0.5 c (1 - f), d_t = d (1 - 0.8 f) (1 - 0.35 s); unweighted volumes (b 43.5, no direction) take g = 0.
* Relaxation: the tissue's water decays with exp(-TE R2), R2 = 20 + 16 m + 8 c + 8 iron per second, the fluid's with R2_v = 8 per second;
  proton density P = 1 - 0.22 m and receive sensitivity R = exp(0.10 field) scale both.
* Magnetization transfer: two-pool exchange with a saturated bound pool, on / off = 1 / (1 + k T1), k T1 = 10 F, bound fraction
  F = 0.025 + 0.10 m + 0.03 c (Wolff and Balaban, Magn Reson Med 1989;10:135); direct saturation takes 4% of all water.
* Noise: Rician of one sigma, the mean unweighted DWI signal of the brain over the SNR.

Diffusivities (fixed tissue, mm^2/s): d = 0.60e-3, D_s = 0.15e-3, D_v = 2.0e-3. TE: 32.9 ms (DWI), 50 ms (T2), 8 ms (MT pair).
The densities' effects on relaxation and transfer are of the size seen in fixed brain, chosen by hand, not measured; so are the stains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrh_monai.errors import OptionError
from mrh_monai.io import replacing, writable_folder, write_analyze
from mrh_monai.phantom.anatomy import Tissue, make_place, make_tissue, smooth_field
from mrh_monai.protocol import MRH_NET, MT_OFF, MT_ON

VOXEL_MM = 0.0625
SMALLEST_SHAPE = (24, 3, 24)
BRIGHTEST = 24_000  # of the noise-free images at full gain: leaves room for noise below the int16 limit
TE_DWI, TE_T2, TE_MT = 0.0329, 0.050, 0.008  # s
R2_FLUID = 8.0  # 1/s
D_ALONG, D_SPHERE, D_FLUID = 0.60e-3, 0.15e-3, 2.0e-3  # mm^2/s
STAIN_FILES = {"af": "AllenPathology2P60", "nf": "NF", "mbp": "MBP"}
DWI_COUNT = 32  # volumes of a shell


@dataclass(frozen=True)
class PhantomSubject:
    """One digital brain; all arrays on one grid of `VOXEL_MM` mm voxels.

    Attributes:
        name: "subject01" for index 0.
        image: (X, Y, Z, 67) int16, noisy MR images in the order of `protocol.MRH_NET`, arbitrary units.
        mask: (X, Y, Z) uint8, 1 inside the brain.
        fa: (X, Y, Z) uint8, fractional anisotropy times 255, from the noisy lower shell; 0 outside the mask.
        stains: "af", "nf", "mbp": (X, Y, Z) uint8, 0 outside the mask.
        latent: `anatomy.MAP_NAMES` and "sensitivity": (X, Y, Z); "direction": (X, Y, Z, 3), unit vectors; float32, 0 outside the mask.
        noise_free: (X, Y, Z, 67) int16, the images without noise, 0 outside the mask.
        noise_free_stains: As ``stains``, float32 in [0, 255], before rounding.
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


def make_subject(index: int, shape: Sequence[int] = (96, 24, 64), seed: int = 0, snr: float = 30.0) -> PhantomSubject:
    """Make one subject; it depends on ``seed`` and ``index`` alone, not on how many others are made.

    Args:
        index: 0-based number of the subject.
        shape: (X left-right, Y anterior-posterior, Z ventral-dorsal), voxels; the whole brain is fitted into it.
        seed: Of the cohort, >= 0.
        snr: Mean unweighted DWI signal in the brain over the noise's sigma, before the subject's own factor of 0.9 to 1.1; inf for none.

    Raises:
        OptionError: An argument has a value that it cannot have.
    """
    size = _checked(index, shape, seed, snr)
    rng = np.random.default_rng([seed, index])
    place = make_place(rng, size)
    inside = place.radius < 1
    tissue = make_tissue(place.take(inside))
    _vary(tissue, rng, size, inside)
    sensitivity = np.exp(0.10 * smooth_field(rng, size, 1.2, 8)[inside])
    clean = signals(tissue, sensitivity)
    clean *= np.float32(BRIGHTEST * rng.uniform(0.85, 1.0)) / clean.max()
    sigma = float(clean[:2].mean() / (snr * rng.uniform(0.9, 1.1)))
    noise_free, image = _with_noise(clean, inside, sigma, rng)
    fa = fractional_anisotropy(image[:DWI_COUNT][:, inside])

    def volume(values: np.ndarray) -> np.ndarray:
        full = np.zeros((*values.shape[:-1], inside.size), values.dtype)
        full[..., inside] = values
        return _on_grid(full, size)

    exact = {name: 255 * values for name, values in stains(tissue.maps).items()}
    latent = {name: volume(values) for name, values in {**tissue.maps, "sensitivity": sensitivity, "direction": tissue.direction}.items()}
    return PhantomSubject(
        name=f"subject{index + 1:02d}",
        image=_on_grid(image, size),
        mask=_on_grid(inside.astype(np.uint8), size),
        fa=volume(np.rint(255 * fa).astype(np.uint8)),
        stains={name: volume(np.rint(values).astype(np.uint8)) for name, values in exact.items()},
        latent=latent,
        noise_free=_on_grid(noise_free, size),
        noise_free_stains={name: volume(values) for name, values in exact.items()},
        noise_sigma=sigma,
    )


def signals(tissue: Tissue, sensitivity: np.ndarray) -> np.ndarray:
    """The MR signals without noise, by the model of this module's docstring.

    Args:
        tissue: Maps and fibre axes of N voxels.
        sensitivity: (N,) of the receive coil, about 1.

    Returns:
        (67, N) float32 in the order of `protocol.MRH_NET`; 1 is the signal of pure water at TE 0.
    """
    axon, myelin, cells, fluid, iron = (tissue.maps[name] for name in ("axon", "myelin", "cells", "fluid", "iron"))
    stick_share, sphere_share = water_shares(axon, cells)
    rest = 1 - stick_share - sphere_share
    across = np.float32(D_ALONG) * (1 - 0.8 * stick_share) * (1 - 0.35 * sphere_share)
    relaxation = 20 + 16 * myelin + 8 * cells + 8 * iron
    protons = sensitivity * (1 - 0.22 * myelin)

    def water(echo_time: float) -> tuple[np.ndarray, np.ndarray]:
        in_tissue = protons * (1 - fluid) * np.exp(-np.float32(echo_time) * relaxation)
        return in_tissue, protons * fluid * np.float32(np.exp(-echo_time * R2_FLUID))

    tissue_dwi, fluid_dwi = water(TE_DWI)
    tissue_t2, fluid_t2 = water(TE_T2)
    tissue_mt, fluid_mt = water(TE_MT)
    bound = 0.025 + 0.10 * myelin + 0.03 * cells
    special = {"t2": tissue_t2 + fluid_t2, MT_OFF: tissue_mt + fluid_mt, MT_ON: 0.96 * (tissue_mt / (1 + 10 * bound) + fluid_mt)}
    out = np.empty((len(MRH_NET), axon.size), np.float32)
    for row, channel in zip(out, MRH_NET, strict=True):
        if channel.b_value is None:
            row[:] = special[channel.name]
            continue
        b = np.float32(channel.b_value)
        cosine = np.asarray(channel.direction or (0, 0, 0), np.float32) @ tissue.direction
        stick = np.exp(-b * np.float32(D_ALONG) * cosine**2)
        zeppelin = np.exp(-b * (across + (np.float32(D_ALONG) - across) * cosine**2))
        tissue_decay = stick_share * stick + rest * zeppelin + sphere_share * np.float32(np.exp(-b * D_SPHERE))
        row[:] = tissue_dwi * tissue_decay + fluid_dwi * np.float32(np.exp(-b * D_FLUID))
    return out


def water_shares(axon: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the tissue's water inside axons and inside cell bodies, from their relative densities; their sum stays below 1."""
    stick = 0.85 * axon
    return stick, 0.5 * cells * (1 - stick)


def stains(maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The stains as functions of the latent maps; like the maps, any shape, in [0, 1].

    Autofluorescence is masked by myelin, highest at a middling density of cells and lower in cell-free layers and in packed ones, so
    that a weighted sum of images follows it poorly. Neurofilament saturates with axons and is weaker between cells; MBP is a Hill curve of
    myelin, weighted by the axons that it wraps.
    """
    axon, myelin, cells, fluid = (maps[name] for name in ("axon", "myelin", "cells", "fluid"))
    hump = np.exp(-(((cells - 0.60) / 0.42) ** 2))
    af = (1 - fluid) * (0.12 + 0.80 * hump * (1 - 0.3 * axon)) / (1 + (myelin / 0.40) ** 2)
    nf = (1 - fluid) * axon / (axon + 0.25) * (1 - 0.5 * cells) * 1.2
    mbp = (1 - fluid) * myelin**2 / (myelin**2 + 0.35**2) * (0.5 + 0.6 * axon)
    return {name: np.clip(value, 0, 1).astype(np.float32) for name, value in (("af", af), ("nf", nf), ("mbp", mbp))}


def fractional_anisotropy(shell: np.ndarray) -> np.ndarray:
    """FA of a diffusion tensor, fitted log-linearly to the lower shell.

    Args:
        shell: (32, N), the first 32 images of `protocol.MRH_NET`, in any unit.

    Returns:
        (N,) float32 in [0, 1].
    """
    channels = MRH_NET.channels[:DWI_COUNT]
    b = np.array([channel.b_value for channel in channels])
    x, y, z = np.array([channel.direction or (0, 0, 0) for channel in channels]).T
    design = np.stack([-b * x * x, -b * y * y, -b * z * z, -2 * b * x * y, -2 * b * x * z, -2 * b * y * z, np.ones_like(b)], axis=1)
    tensor = np.linalg.pinv(design)[:6].astype(np.float32) @ np.log(np.maximum(shell, 1).astype(np.float32))
    diagonal, off = tensor[:3], tensor[3:]
    norm = (diagonal**2).sum(0) + 2 * (off**2).sum(0)  # squared Frobenius norm: no eigenvalues needed
    deviation = norm - diagonal.sum(0) ** 2 / 3
    return np.sqrt(np.clip(1.5 * deviation / np.maximum(norm, 1e-20), 0, 1))


def write_subject(subject: PhantomSubject, folder: Path | str) -> Path:
    """Write one subject in MRH-Net's layout, with its own targets and with ``truth.npz``, the noise-free truth.

    ``truth.npz`` holds ``latent_<name>`` and ``stain_<name>`` (float16), ``noise_free`` (int16) and ``noise_sigma``.

    Returns:
        The folder.
    """
    folder = writable_folder(folder)
    volumes = {
        "rigidaffine_Lddm_dwi2000": subject.image[..., :DWI_COUNT],
        "rigidaffine_Lddm_dwi5000": subject.image[..., DWI_COUNT : 2 * DWI_COUNT],
        "rigidaffine_lddm_t2MTONOFF": subject.image[..., 2 * DWI_COUNT :],
        "rigidaffine_Lddm_fa": subject.fa,
        "Masked_outline": subject.mask,
        **{f"targets/{file}": subject.stains[name] for name, file in STAIN_FILES.items()},
    }
    for name, voxels in volumes.items():
        write_analyze(folder / f"{name}.img", voxels, VOXEL_MM)
    truth = {f"latent_{name}": values.astype(np.float16) for name, values in subject.latent.items()}
    truth |= {f"stain_{name}": values.astype(np.float16) for name, values in subject.noise_free_stains.items()}
    with replacing(folder / "truth.npz") as temporary, open(temporary, "wb") as stream:
        np.savez(stream, noise_free=subject.noise_free, noise_sigma=subject.noise_sigma, **truth)  # type: ignore[arg-type]
    return folder


def write_phantom(
    out: Path | str, subjects: int = 6, shape: Sequence[int] = (96, 24, 64), seed: int = 0, snr: float = 30.0
) -> Iterator[Path]:
    """Make subjects and write them to ``out/subject01``, ``out/subject02``, ...

    Args:
        out: Folder to write into; made if missing.
        subjects: How many, >= 1.
        shape: As in `make_subject`.
        seed: As in `make_subject`.
        snr: As in `make_subject`.

    Yields:
        Each subject's folder when it is complete.

    Raises:
        OptionError: An argument has a value that it cannot have.
    """
    if subjects < 1:
        raise OptionError("subjects", "at least 1", str(subjects), "ask for one or more")
    for index in range(subjects):
        subject = make_subject(index, shape, seed, snr)
        yield write_subject(subject, Path(out) / subject.name)


def _checked(index: int, shape: Sequence[int], seed: int, snr: float) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise OptionError("shape", "three numbers of voxels (X Y Z)", " ".join(map(str, shape)) or "none", "give X, Y and Z")
    if any(n < least for n, least in zip(shape, SMALLEST_SHAPE, strict=True)):
        least = " ".join(map(str, SMALLEST_SHAPE))
        raise OptionError("shape", f"at least {least} voxels", " ".join(map(str, shape)), "ask for a larger grid")
    if not snr > 0:
        raise OptionError("snr", "a number above 0", str(snr), "give, for example, 30")
    for name, value in (("subject index", index), ("seed", seed)):
        if value < 0:
            raise OptionError(name, "0 or more", str(value), "give a number that is not negative")
    return (int(shape[0]), int(shape[1]), int(shape[2]))


def _vary(tissue: Tissue, rng: np.random.Generator, size: tuple[int, int, int], inside: np.ndarray) -> None:
    """Let a subject's densities differ from the drawn ones, as a whole and smoothly from place to place, each map on its own."""
    for name, whole, local, cycles in (("axon", 0.05, 0.15, 9), ("myelin", 0.08, 0.25, 7), ("cells", 0.05, 0.18, 9), ("iron", 0.1, 0.6, 6)):
        texture = smooth_field(rng, size, cycles)[inside]
        values = tissue.maps[name]
        values *= np.exp(np.float32(local) * texture + np.float32(rng.normal(0, whole)))
        np.clip(values, 0, 1, out=values)


def _with_noise(clean: np.ndarray, inside: np.ndarray, sigma: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Noise-free and noisy images of the whole grid, (67, X * Y * Z) int16 each, from the signals in the mask, (67, N)."""
    noise_free = np.zeros((len(clean), inside.size), np.int16)
    image = np.empty_like(noise_free)
    for signal, plain, noisy in zip(clean, noise_free, image, strict=True):
        real, imaginary = rng.standard_normal((2, inside.size), np.float32) * np.float32(sigma)
        real[inside] += signal
        plain[inside] = np.rint(signal)
        noisy[:] = np.rint(np.minimum(np.hypot(real, imaginary), np.iinfo(np.int16).max))
    return noise_free, image


def _on_grid(values: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """(C..., X * Y * Z), x running fastest, to (X, Y, Z, C...) without a copy: Fortran order, as the files have it."""
    return values.T.reshape(*size, *values.shape[:-1], order="F")
