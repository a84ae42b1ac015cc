import numpy as np
import pytest

from helpers.diffusion_signals import noisy_signals, plan_of, two_shells
from mrh_monai.maps.gradient_table import GradientTable
from mrh_monai.maps.map_families import T2Weighted, TransferRatio, allows_kurtosis, allows_tensor
from mrh_monai.maps.map_plan import fit_maps

pytest.importorskip("dipy", reason="maps need the extra `analysis`")

EIGENVALUES = np.array([1.7, 0.4, 0.2])  # um^2/ms

pytestmark = pytest.mark.analysis


def dipy_table(table, chosen=slice(None)):
    from dipy.core.gradients import gradient_table

    return gradient_table(table.b_values[chosen], bvecs=table.directions[chosen], b0_threshold=100)


def test_a_known_tensor_is_found_exactly(rng):
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    tensor = turn @ np.diag(EIGENVALUES * 1e-3) @ turn.T  # in mm^2/s
    table = two_shells()
    signals = 4000 * np.exp(-table.b_values * np.einsum("ni,ij,nj->n", table.directions, tensor, table.directions))[None]
    maps = fit_maps(signals, plan_of(table))
    assert list(maps) == [f"{name}_{shell}" for shell in (1900, 4800) for name in ("fa", "md", "ad", "rd")] + ["mk"]
    mean = EIGENVALUES.mean()
    expected = {"fa": np.sqrt(1.5 * ((EIGENVALUES - mean) ** 2).sum() / (EIGENVALUES**2).sum()), "md": mean, "ad": 1.7, "rd": 0.3}
    for shell in (1900, 4800):
        for name, value in expected.items():
            assert maps[f"{name}_{shell}"][0] == pytest.approx(value, rel=1e-5), name
    assert maps["mk"][0] == pytest.approx(0, abs=1e-5)
    assert all(values.dtype == np.float32 for values in maps.values())


@pytest.mark.parametrize("kurtosis", [0.4, 1.2])
def test_an_isotropic_kurtosis_is_found_exactly(kurtosis):
    table, diffusivity = two_shells(), 0.5e-3
    b_d = table.b_values * diffusivity
    maps = fit_maps(3000 * np.exp(-b_d + b_d**2 * kurtosis / 6)[None], plan_of(table))
    assert maps["mk"][0] == pytest.approx(kurtosis, rel=1e-4)


def test_noisy_voxels_are_fitted_as_dipy_fits_them(rng):
    from dipy.reconst.dki import DiffusionKurtosisModel
    from dipy.reconst.dti import TensorModel

    table, signals = noisy_signals(rng)
    maps = fit_maps(signals, plan_of(table))
    for shell, chosen in ((1900, slice(0, 32)), (4800, slice(32, 64))):
        fit = TensorModel(dipy_table(table, chosen), fit_method="OLS").fit(signals[:, chosen].astype(float))
        for name, scale in (("fa", 1), ("md", 1e3), ("ad", 1e3), ("rd", 1e3)):
            np.testing.assert_allclose(maps[f"{name}_{shell}"], scale * getattr(fit, name), rtol=1e-5, atol=1e-6)
    fit = DiffusionKurtosisModel(dipy_table(table), fit_method="OLS").fit(signals.astype(float))
    expected = fit.mk(min_kurtosis=-3 / 7, max_kurtosis=10)
    assert expected.std() > 0.05
    np.testing.assert_allclose(maps["mk"], expected, rtol=1e-4, atol=1e-4)


def test_t2_and_the_magnetization_transfer_ratio():
    signals = np.array([[50, 30, 40], [60, 0, 40], [70, 30, 0], [80, 100, 40]], np.int16)
    t2, ratio = T2Weighted(0), TransferRatio(on=1, off=2)
    assert (t2.names, ratio.names) == (("t2w",), ("mtr",))
    np.testing.assert_array_equal(t2.compute(signals, 1.0)["t2w"], [50, 60, 70, 80])
    np.testing.assert_allclose(ratio.compute(signals, 1.0)["mtr"], [0.25, 1, 0, -1])


def test_six_directions_on_a_cone_are_too_few():
    """As many as a tensor has elements, and yet they cannot tell them apart."""
    everything = np.ones(7, bool)
    angles = np.arange(6) * np.pi / 3
    cone = np.c_[np.cos(angles), np.sin(angles), np.ones(6)] / 2**0.5
    apart = np.array([[1, 1, 0], [1, -1, 0], [1, 0, 1], [1, 0, -1], [0, 1, 1], [0, 1, -1]]) / 2**0.5
    for directions, enough in ((cone, False), (apart, True)):
        table = GradientTable(np.array([0.0] + [1000] * 6), np.r_[np.zeros((1, 3)), directions], np.zeros(7, int), "t")
        assert allows_tensor(table, everything) is enough
        assert not allows_kurtosis(table)
    assert not allows_tensor(table, np.arange(7) > 0)  # without the unweighted volume


def test_a_kurtosis_needs_two_shells_of_many_directions():
    table = two_shells()
    assert allows_kurtosis(table)
    one_shell = GradientTable(np.where(table.b_values > 0, 1900.0, 0), table.directions, table.scans, "t")
    assert not allows_kurtosis(one_shell)
    chosen = np.r_[0:10, 32:42]
    assert not allows_kurtosis(GradientTable(table.b_values[chosen], table.directions[chosen], table.scans[chosen], "t"))
