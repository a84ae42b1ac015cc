"""MR signals of the digital mouse brain: the 67 images of MRH-Net's protocol, their noise, and FA.

The signal model has the densities of axons a, myelin m and cell bodies c and the fluid fraction v, all in [0, 1], which are maps of
`Tissue`:

* Diffusion: S = R P [(1 - v) exp(-TE R2) (f stick + s sphere + (1 - f - s) zeppelin) + v exp(-TE R2_v) ball]. Stick and zeppelin are as in
  Panagiotaki et al., NeuroImage 2012;59:2241. Cell bodies are a compartment of low isotropic diffusivity, after SANDI (Palombo et al.,
  NeuroImage 2020;215:116835).
  stick = exp(-b d (g.n)^2), zeppelin = exp(-b (d_t + (d - d_t) (g.n)^2)), sphere = exp(-b D_s), ball = exp(-b D_v), with
  f = 0.85 a, s = 0.5 c (1 - f), d_t = d (1 - 0.8 f) (1 - 0.35 s). Unweighted volumes (b 43.5, no direction) have g = 0.
* Relaxation: the signal of the tissue's water decays with exp(-TE R2), R2 = 20 + 16 m + 8 c + 8 iron per second, that of the fluid with
  R2_v = 8 per second. The proton density P = 1 - 0.22 m and the receive sensitivity R = exp(0.10 field) scale both.
* Magnetization transfer: two-pool exchange with a saturated bound pool, on / off = 1 / (1 + k T1), k T1 = 10 F, with the bound fraction
  F = 0.025 + 0.10 m + 0.03 c (Wolff and Balaban, Magn Reson Med 1989;10:135). Direct saturation takes 4% of the signal of all water.
* Noise: Rician. Its sigma is the mean unweighted diffusion signal of the brain divided by the SNR.

Diffusivities (fixed tissue, mm^2/s): d = 0.60e-3, D_s = 0.15e-3, D_v = 2.0e-3. TE: 32.9 ms (diffusion), 50 ms (T2), 8 ms (MT pair).
The effects of the densities on relaxation and transfer are as large as in fixed brain. They are chosen by hand, not measured.
"""

from __future__ import annotations

import numpy as np

from mrh_monai.phantom.anatomy import Tissue
from mrh_monai.protocol import MRH_NET, MT_OFF, MT_ON

TE_DWI, TE_T2, TE_MT = 0.0329, 0.050, 0.008  # s
R2_FLUID = 8.0  # 1/s
D_ALONG, D_SPHERE, D_FLUID = 0.60e-3, 0.15e-3, 2.0e-3  # mm^2/s
DWI_COUNT = 32  # volumes in a diffusion shell: 2 unweighted ones and 30 directions


def noise_free_signals(tissue: Tissue, sensitivity: np.ndarray) -> np.ndarray:
    """Return the MR signals without noise, by the model that the docstring of this module describes.

    Args:
        tissue: Maps and fibre axes of N voxels.
        sensitivity: (N,) sensitivity of the receive coil, about 1.

    Returns:
        (67, N) float32 in the order of `MRH_NET`; 1 is the signal of pure water at an echo time of 0.
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
    """Return the shares of the tissue's water that are inside axons and inside cell bodies; their sum is below 1.

    Args:
        axon: Relative density of axons in [0, 1], any shape.
        cells: Relative density of cell bodies in [0, 1], the same shape.
    """
    stick = 0.85 * axon
    return stick, 0.5 * cells * (1 - stick)


def noisy_images(clean: np.ndarray, inside: np.ndarray, sigma: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the images of the whole grid without and with Rician noise.

    Args:
        clean: (C, N) float32, signals of the N voxels inside the mask, in the units of the images.
        inside: (X * Y * Z,) bool, True at those voxels.
        sigma: Standard deviation of the Gaussian noise in each of the two receive channels, in the same units.
        rng: Source of the noise.

    Returns:
        Noise-free images, 0 outside the mask, and noisy images, both (C, X * Y * Z) int16.
    """
    noise_free = np.zeros((len(clean), inside.size), np.int16)
    image = np.empty_like(noise_free)
    for signal, plain, noisy in zip(clean, noise_free, image, strict=True):
        real, imaginary = rng.standard_normal((2, inside.size), np.float32) * np.float32(sigma)
        real[inside] += signal
        plain[inside] = np.rint(signal)
        noisy[:] = np.rint(np.minimum(np.hypot(real, imaginary), np.iinfo(np.int16).max))
    return noise_free, image


def fractional_anisotropy(shell: np.ndarray) -> np.ndarray:
    """Return FA of a diffusion tensor that is fitted to the lower shell by linear least squares of the logarithm.

    Args:
        shell: (32, N), the first 32 images of `MRH_NET`, in any unit.

    Returns:
        (N,) float32 in [0, 1].
    """
    channels = MRH_NET.channels[:DWI_COUNT]
    b = np.array([channel.b_value for channel in channels])
    x, y, z = np.array([channel.direction or (0, 0, 0) for channel in channels]).T
    design = np.stack([-b * x * x, -b * y * y, -b * z * z, -2 * b * x * y, -2 * b * x * z, -2 * b * y * z, np.ones_like(b)], axis=1)
    tensor = np.linalg.pinv(design)[:6].astype(np.float32) @ np.log(np.maximum(shell, 1).astype(np.float32))
    diagonal, off = tensor[:3], tensor[3:]
    norm = (diagonal**2).sum(0) + 2 * (off**2).sum(0)  # The squared Frobenius norm gives FA without eigenvalues.
    deviation = norm - diagonal.sum(0) ** 2 / 3
    fa: np.ndarray = np.sqrt(np.clip(1.5 * deviation / np.maximum(norm, 1e-20), 0, 1))
    return fa
