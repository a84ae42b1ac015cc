from __future__ import annotations

import math

import numpy as np
import pytest

from helpers.phantoms import SMALL
from mrh_monai.phantom.anatomy import MAP_NAMES
from mrh_monai.phantom.digital_brain import make_subject
from mrh_monai.protocol.mrh_net import MRH_NET, MT_OFF, MT_ON

MT_ON_AT, MT_OFF_AT = MRH_NET.names.index(MT_ON), MRH_NET.names.index(MT_OFF)


def slow_signal(latent: dict[str, float], normal: np.ndarray, b: float, direction: tuple[float, float, float] | None) -> float:
    """One diffusion-weighted signal, compartment by compartment."""
    axon, myelin, cells, fluid, iron = (latent[name] for name in MAP_NAMES)
    axon_water = 0.85 * axon
    cell_water = 0.5 * cells * (1 - axon_water)
    outside = 1 - axon_water - cell_water
    along, across = 0.60e-3, 0.60e-3 * (1 - 0.8 * axon_water) * (1 - 0.35 * cell_water)
    cosine = 0.0 if direction is None else sum(g * n for g, n in zip(direction, normal, strict=True))
    tensor = across * np.eye(3) + (along - across) * np.outer(normal, normal)
    g = np.zeros(3) if direction is None else np.array(direction)
    # The part of an unweighted volume's b-value has no direction: it attenuates only by the transverse diffusivity.
    zeppelin = math.exp(-b * across) if direction is None else math.exp(-b * float(g @ tensor @ g) / float(g @ g))
    tissue = axon_water * math.exp(-b * along * cosine**2) + outside * zeppelin + cell_water * math.exp(-b * 0.15e-3)
    r2 = 20 + 16 * myelin + 8 * cells + 8 * iron
    protons = latent["sensitivity"] * (1 - 0.22 * myelin)
    return protons * ((1 - fluid) * math.exp(-0.0329 * r2) * tissue + fluid * math.exp(-0.0329 * 8) * math.exp(-b * 2.0e-3))


def slow_other(latent: dict[str, float], name: str) -> float:
    """T2-weighted and magnetization-transfer signals."""
    myelin, cells, fluid, iron = (latent[key] for key in ("myelin", "cells", "fluid", "iron"))
    echo_time = 0.050 if name == "t2" else 0.008
    tissue = (1 - fluid) * math.exp(-echo_time * (20 + 16 * myelin + 8 * cells + 8 * iron))
    water = fluid * math.exp(-echo_time * 8)
    if name == MT_ON:
        tissue, water = 0.96 * tissue / (1 + 10 * (0.025 + 0.10 * myelin + 0.03 * cells)), 0.96 * water
    return latent["sensitivity"] * (1 - 0.22 * myelin) * (tissue + water)


def test_signals_agree_with_the_model_written_out_voxel_by_voxel(small):
    inside = np.argwhere(small.mask > 0)
    chosen = inside[np.linspace(0, len(inside) - 1, 12).astype(int)]
    expected, found = [], []
    for x, y, z in chosen:
        latent = {name: float(values[x, y, z]) for name, values in small.latent.items() if values.ndim == 3}
        normal = small.latent["direction"][x, y, z].astype(float)
        for index, channel in enumerate(MRH_NET):
            if channel.b_value is None:
                expected.append(slow_other(latent, channel.name))
            else:
                expected.append(slow_signal(latent, normal, channel.b_value, channel.direction))
            found.append(float(small.noise_free[x, y, z, index]))
    gain = np.dot(found, expected) / np.dot(expected, expected)
    np.testing.assert_allclose(found, np.array(expected) * gain, atol=3, rtol=1e-3)


def test_magnetization_transfer_darkens(small):
    inside = small.mask > 0
    assert (small.noise_free[inside][:, MT_ON_AT] < small.noise_free[inside][:, MT_OFF_AT]).all()
    assert small.image[inside][:, MT_ON_AT].mean() < 0.9 * small.image[inside][:, MT_OFF_AT].mean()


def test_noise_is_rician(small):
    outside = small.mask == 0
    assert not small.noise_free[outside].any()
    background = small.image[outside].astype(float)
    # No signal: a Rayleigh distribution, of mean sigma sqrt(pi / 2) and variance sigma^2 (2 - pi / 2).
    assert background.mean() == pytest.approx(small.noise_sigma * math.sqrt(math.pi / 2), rel=0.01)
    assert background.var() == pytest.approx(small.noise_sigma**2 * (2 - math.pi / 2), rel=0.02)
    # Rice: E[M^2] = A^2 + 2 sigma^2 at any signal.
    inside = small.mask > 0
    excess = small.image[inside].astype(float) ** 2 - small.noise_free[inside].astype(float) ** 2
    standard_error = excess.std() / math.sqrt(excess.size)
    assert excess.mean() == pytest.approx(2 * small.noise_sigma**2, abs=5 * standard_error)


def test_snr_is_that_of_the_unweighted_images(small):
    snr = small.noise_free[small.mask > 0][:, :2].mean() / small.noise_sigma
    assert 0.9 * 30 <= snr <= 1.1 * 30
    silent = make_subject(0, SMALL, seed=3, snr=math.inf)
    np.testing.assert_array_equal(silent.image, silent.noise_free)


def test_fa_agrees_with_a_tensor_fitted_voxel_by_voxel(small):
    inside = np.argwhere(small.mask > 0)
    rows = []
    for channel in MRH_NET.channels[:32]:
        g = np.array(channel.direction or (0, 0, 0), float)
        rows.append([*(-channel.b_value * np.outer(g, g)[np.triu_indices(3)] * (1, 2, 2, 1, 2, 1)), 1.0])
    for x, y, z in inside[:: len(inside) // 15]:
        signal = np.maximum(small.image[x, y, z, :32].astype(float), 1)
        xx, xy, xz, yy, yz, zz, _ = np.linalg.lstsq(np.array(rows), np.log(signal), rcond=None)[0]
        values = np.linalg.eigvalsh([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        expected = math.sqrt(1.5 * np.sum((values - values.mean()) ** 2) / np.sum(values**2))
        assert small.fa[x, y, z] == pytest.approx(255 * min(expected, 1), abs=0.6)
