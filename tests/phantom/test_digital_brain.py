from __future__ import annotations

import math
from pathlib import Path

import nibabel
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from mrh_monai.errors import OptionError
from mrh_monai.phantom.anatomy import MAP_NAMES, smooth_field
from mrh_monai.phantom.digital_brain import PhantomSubject, make_subject, write_phantom
from mrh_monai.protocol.mr_protocol import MRH_NET, MT_OFF, MT_ON

SMALL = (36, 6, 28)
MT_ON_AT, MT_OFF_AT = MRH_NET.names.index(MT_ON), MRH_NET.names.index(MT_OFF)


@pytest.fixture(scope="module")
def small() -> PhantomSubject:
    return make_subject(0, SMALL, seed=3)


@pytest.fixture(scope="module")
def cohort() -> list[PhantomSubject]:
    """Four subjects to fit on and the one to test on, at the default size."""
    return [make_subject(index) for index in (0, 1, 2, 3, 5)]


def assert_same(one: PhantomSubject, other: PhantomSubject) -> None:
    for name in ("image", "mask", "fa", "noise_free"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("stains", "latent", "noise_free_stains"):
        first, second = getattr(one, name), getattr(other, name)
        assert first.keys() == second.keys()
        for key in first:
            np.testing.assert_array_equal(first[key], second[key])


def test_the_same_seed_and_index_give_the_same_subject(small):
    assert_same(small, make_subject(0, SMALL, seed=3))


def test_another_seed_or_index_gives_another_shape_density_and_intensity(small):
    for other in (make_subject(1, SMALL, seed=3), make_subject(0, SMALL, seed=4)):
        assert 0.005 < np.mean(small.mask != other.mask) < 0.2
        both = (small.mask > 0) & (other.mask > 0)
        for name in small.stains:
            difference = small.noise_free_stains[name][both] - other.noise_free_stains[name][both]
            assert np.abs(difference).mean() > 3
        assert small.noise_free.max() != other.noise_free.max()


@pytest.mark.parametrize("shape", [(24, 3, 24), SMALL])
def test_shapes_types_and_ranges(shape):
    subject = make_subject(1, shape)
    assert subject.name == "subject02"
    assert subject.image.shape == subject.noise_free.shape == (*shape, len(MRH_NET))
    assert subject.image.dtype == subject.noise_free.dtype == np.int16
    assert 0.85 * 24000 - 1 <= subject.noise_free.max() <= 24000
    assert subject.image.min() >= 0
    outside = subject.mask == 0
    assert set(np.unique(subject.mask)) == {0, 1}
    assert 0.3 < subject.mask.mean() < 0.7
    for volume in (subject.mask, subject.fa, *subject.stains.values()):
        assert volume.shape == shape
        assert volume.dtype == np.uint8
        assert not volume[outside].any()
    assert list(subject.stains) == list(subject.noise_free_stains) == ["af", "nf", "mbp"]
    for name, stain in subject.stains.items():
        exact = subject.noise_free_stains[name]
        assert exact.dtype == np.float32
        np.testing.assert_array_equal(stain, np.rint(exact))
        assert stain.std() > 20
    for name in MAP_NAMES:
        values = subject.latent[name]
        assert values.dtype == np.float32
        assert values.min() >= 0
        assert values.max() <= 1
    lengths = np.linalg.norm(subject.latent["direction"][~outside], axis=-1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)


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


def test_fa_is_high_in_tracts(cohort):
    brain = cohort[0]
    inside = brain.mask > 0
    axon, fa = brain.latent["axon"][inside], brain.fa[inside] / 255
    assert fa[axon > 0.55].mean() > fa[axon < 0.15].mean() + 0.3


def test_waves_are_the_sum_that_they_stand_for():
    shape = (5, 3, 4)
    fast = smooth_field(np.random.default_rng(1), shape, 2.0, 6)
    rng = np.random.default_rng(1)
    frequency, phase = rng.uniform(-2, 2, (3, 6)), rng.uniform(0, 2 * np.pi, 6)
    slow = np.zeros(shape)
    for index in np.ndindex(shape):
        place = [(i + 0.5) / n for i, n in zip(index, shape, strict=True)]
        slow[index] = math.sqrt(2 / 6) * sum(math.cos(2 * math.pi * np.dot(place, frequency[:, k]) + phase[k]) for k in range(6))
    np.testing.assert_allclose(fast, slow.ravel(order="F"), atol=1e-5)


def test_both_hemispheres_are_there_but_not_mirrored(cohort):
    brain = cohort[0]
    mirrored = brain.mask[::-1]
    assert 0.85 < np.mean(brain.mask == mirrored) < 1
    # White matter crosses the midline dorsally in the middle of the brain: the corpus callosum.
    middle = brain.latent["axon"][47:49, 10:12, 36:]
    assert middle.max() > 0.45


def squared_correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1] ** 2)


def test_af_is_not_given_away_by_one_image_nor_by_a_weighted_sum(cohort):
    inputs, targets = [], []
    for subject in cohort:
        inside = np.flatnonzero(subject.mask.ravel())[::11]
        voxels = subject.image.reshape(-1, len(MRH_NET))[inside].astype(np.float64)
        inputs.append(voxels / np.percentile(voxels, 99))
        targets.append(subject.stains["af"].ravel()[inside].astype(np.float64))
    single = max(squared_correlation(channel, targets[-1]) for channel in inputs[-1].T)
    model = LinearRegression().fit(np.concatenate(inputs[:-1]), np.concatenate(targets[:-1]))
    linear = squared_correlation(model.predict(inputs[-1]), targets[-1])
    assert single <= 0.65
    assert linear <= 0.85
    assert single < linear  # and yet the images do tell something of it


def test_subjects_are_written_in_the_published_layout(tmp_path):
    folders = list(write_phantom(tmp_path / "new", 2, SMALL, seed=3))
    assert [folder.relative_to(tmp_path / "new") for folder in folders] == [Path("subject01"), Path("subject02")]
    subject = make_subject(1, SMALL, seed=3)
    files = {
        "rigidaffine_Lddm_dwi2000.img": subject.image[..., :32],
        "rigidaffine_Lddm_dwi5000.img": subject.image[..., 32:64],
        "rigidaffine_lddm_t2MTONOFF.img": subject.image[..., 64:],
        "rigidaffine_Lddm_fa.img": subject.fa,
        "Masked_outline.img": subject.mask,
        "targets/AllenPathology2P60.img": subject.stains["af"],
        "targets/NF.img": subject.stains["nf"],
        "targets/MBP.img": subject.stains["mbp"],
    }
    for name, voxels in files.items():
        image = nibabel.load(folders[1] / name)
        assert image.shape == voxels.shape
        assert image.get_data_dtype() == voxels.dtype
        assert image.header.get_zooms()[:3] == (0.0625,) * 3
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), voxels)
    truth = np.load(folders[1] / "truth.npz")
    np.testing.assert_array_equal(truth["noise_free"], subject.noise_free)
    assert float(truth["noise_sigma"]) == subject.noise_sigma
    for name, values in subject.latent.items():
        np.testing.assert_allclose(truth[f"latent_{name}"], values, atol=1e-3)
    for name, values in subject.noise_free_stains.items():
        np.testing.assert_allclose(truth[f"stain_{name}"], values, rtol=1e-3, atol=1e-3)


def test_a_subject_does_not_depend_on_how_many_are_written(tmp_path):
    few, many = (list(write_phantom(tmp_path / str(n), n, (24, 3, 24), seed=9)) for n in (1, 3))
    for file in sorted(few[0].rglob("*.img")):
        assert file.read_bytes() == (many[0] / file.relative_to(few[0])).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (24, 24)}, "shape: expected three numbers of voxels .*, found 24 24"),
        ({"shape": (96, 2, 64)}, "shape: expected at least 24 3 24 voxels, found 96 2 64"),
        ({"snr": 0}, "snr: expected a number above 0, found 0"),
        ({"snr": math.nan}, "snr: expected a number above 0, found nan"),
        ({"seed": -1}, "seed: expected 0 or more, found -1"),
        ({"index": -1}, "subject index: expected 0 or more, found -1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(OptionError, match=message):
        make_subject(**{"index": 0, **arguments})


def test_no_subject_is_an_error_before_anything_is_written(tmp_path):
    with pytest.raises(OptionError, match="subjects: expected at least 1, found 0"):
        next(write_phantom(tmp_path / "none", 0))
    assert not (tmp_path / "none").exists()
