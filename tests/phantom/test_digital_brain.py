from __future__ import annotations

import math

import numpy as np
import pytest

from helpers.phantoms import SMALL
from mrh_monai.errors import OptionError
from mrh_monai.phantom.anatomy import MAP_NAMES
from mrh_monai.phantom.digital_brain import PhantomSubject, make_subject
from mrh_monai.protocol.mrh_net import MRH_NET


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
