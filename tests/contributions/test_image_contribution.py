import numpy as np
import pytest
import torch

from mrh_monai.contributions.image_contribution import Contribution, NoiseOptions, groups_of_images, perturb_images, rician, single_images
from mrh_monai.data.subject_in_memory import SubjectInMemory
from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.evaluation.regions import Regions
from mrh_monai.inference.voxelwise import predict_volume
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.network.sidecar import Sidecar
from mrh_monai.patch_geometry import PatchGeometry
from mrh_monai.protocol.channel import Channel
from mrh_monai.protocol.mr_protocol import MRProtocol
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.scaling import PublishedScaling, RobustScaling

NAMES = ["a", "b", "c", "d"]
SHAPE = (9, 4, 8)
ROBUST = RobustScaling(250.0, (0.4, 0.5, 0.6, 0.3), (0.2, 0.3, 0.1, 0.2), (1.0, 0.5, 1.0, 2.0), 99.0)
PUBLISHED = PublishedScaling(250.0)

pytestmark = pytest.mark.analysis


def make(scaling=ROBUST, axes=(0, 2), radius=1, dtype=np.int16):
    """A subject whose mask touches the edges of its volume, and a network."""
    rng = np.random.default_rng(1)
    torch.manual_seed(0)
    image = (rng.uniform(100, 900, (*SHAPE, 4)) * [1, 2, 0.5, 3]).astype(dtype)
    padded = np.pad(image, [(radius, radius)] * 3 + [(0, 0)])
    subject = SubjectInMemory("s", padded, radius, rng.random(SHAPE) > 0.3, None, None, np.eye(4))
    network = MRHNet(4, 8, 2, spatial_dims=len(axes), initialisation="he").eval()
    return network, Sidecar("af", "u", NAMES, 2, 8, list(axes), radius, scaling), subject


def neighbours(centres, axes, radius):
    """The voxels of the volume that any patch has, in the order of memory."""
    steps = [range(-radius, radius + 1) if axis in axes else (0,) for axis in range(3)]
    found = {(x + i, y + j, z + k) for x, y, z in centres for i in steps[0] for j in steps[1] for k in steps[2]}
    return sorted(voxel for voxel in found if all(0 <= v < size for v, size in zip(voxel, SHAPE, strict=True)))


def oracle(network, sidecar, subject, channels, noise, draw, seed):
    """The noisy images put into a copy of the subject, voxel by voxel, and the whole network twice: (N,) squared change."""
    axes, radius = sidecar.patch_axes, sidecar.patch_radius
    support = sidecar.scaling.support(subject.mask, sidecar.patch)
    coefficients = sidecar.scaling.coefficients(subject, support)
    touched = neighbours(np.argwhere(support), axes, radius)
    padded = subject.padded.astype(np.float32)
    for channel in channels:
        sigma = noise * subject.image[subject.mask][:, channel].astype(float).mean()
        values = np.array([subject.image[voxel][channel] for voxel in touched], np.float32)
        noisy = rician(values, sigma, np.random.default_rng([seed, 1 + draw, channel]))
        for voxel, value in zip(touched, noisy, strict=True):
            padded[voxel[0] + radius, voxel[1] + radius, voxel[2] + radius, channel] = value
    changed = SubjectInMemory("s", padded, subject.margin, subject.mask, None, None, np.eye(4))
    before, after = (
        predict_volume(network, each.slabs, support, coefficients, sidecar.patch).numpy()[support] * sidecar.scaling.target_max
        for each in (subject, changed)
    )
    return (after.astype(np.float64) - before) ** 2


@pytest.mark.parametrize(
    ("scaling", "axes", "radius"),
    [(ROBUST, (0, 2), 1), (PUBLISHED, (0, 2), 1), (ROBUST, (0, 1), 1), (ROBUST, (0, 2), 2), (ROBUST, (0, 1, 2), 1)],
)
@pytest.mark.parametrize("perturbed", [{"a": [0], "d": [3]}, {"both": [1, 2], "d": [3]}])
def test_the_fast_path_is_the_whole_network_on_a_noisy_subject(scaling, axes, radius, perturbed, monkeypatch):
    monkeypatch.setattr("mrh_monai.contributions.image_contribution.BATCH", 50)
    network, sidecar, subject = make(scaling, axes, radius)
    found = perturb_images(network, sidecar, subject, perturbed, NoiseOptions(0.2, draws=2, voxels=None, seed=3))
    assert (found.names, found.rmse.shape) == (tuple(perturbed), (2, 2))
    for draw in range(2):
        for index, channels in enumerate(perturbed.values()):
            squares = oracle(network, sidecar, subject, channels, 0.2, draw, 3)
            assert found.voxels == len(squares)
            assert found.rmse[draw, index] == pytest.approx(squares.mean() ** 0.5, rel=1e-4)
    assert (found.rmse > 1).all()


def test_regions_are_those_of_their_voxels():
    network, sidecar, subject = make(PUBLISHED)
    labels = np.random.default_rng(2).integers(0, 3, SHAPE)
    labels[1, 0, 1] = 9
    subject.mask[1, 0, 1] = False
    regions = Regions(labels, {1: "one", 2: "two", 9: "outside"})
    found = perturb_images(network, sidecar, subject, single_images(small()), NoiseOptions(draws=2, voxels=None), regions)
    support = sidecar.scaling.support(subject.mask, PatchGeometry((0, 2), 1))
    assert list(found.regions) == ["one", "two"]
    squares = np.array([[oracle(network, sidecar, subject, [c], 0.1, draw, 0) for c in range(4)] for draw in range(2)])
    for label, name in ((1, "one"), (2, "two")):
        inside = labels[support] == label
        count, rmse = found.regions[name]
        assert count == inside.sum()
        np.testing.assert_allclose(rmse, np.sqrt(squares[:, :, inside].mean((0, 2))), rtol=1e-4)


def small():
    return MRProtocol(tuple(Channel(name) for name in NAMES))


def test_some_voxels_stand_for_all():
    network, sidecar, subject = make()
    whole = perturb_images(network, sidecar, subject, single_images(small()), NoiseOptions(voxels=None, draws=2))
    regions = Regions(np.ones(SHAPE, int), {1: "all"})
    some = perturb_images(network, sidecar, subject, single_images(small()), NoiseOptions(voxels=90, draws=2), regions)
    assert (whole.voxels, some.voxels) == (subject.mask.sum(), 90)
    np.testing.assert_allclose(some.shares.mean(0), whole.shares.mean(0), atol=0.05)
    assert some.regions["all"][0] == 90
    np.testing.assert_allclose(some.regions["all"][1], np.sqrt((some.rmse**2).mean(0)), rtol=1e-5)
    assert perturb_images(network, sidecar, subject, {"a": [0]}, NoiseOptions(voxels=10**9, draws=1)).voxels == subject.mask.sum()


def test_noise_depends_on_seed_and_draw_alone():
    network, sidecar, subject = make()
    images = single_images(small())
    first, again, other = (perturb_images(network, sidecar, subject, images, NoiseOptions(seed=seed, voxels=None)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.rmse, again.rmse)
    assert not np.array_equal(first.rmse, other.rmse)
    assert len(np.unique(first.rmse[:, 0])) == 3
    alone = perturb_images(network, sidecar, subject, {"c": [2]}, NoiseOptions(voxels=None))
    np.testing.assert_allclose(alone.rmse[:, 0], first.rmse[:, 2], rtol=1e-6)


def test_an_image_that_carries_nothing_comes_last_with_nothing():
    network, sidecar, subject = make()
    with torch.no_grad():
        network.conv1.weight[:, 1] = 0
    found = perturb_images(network, sidecar, subject, single_images(small()), NoiseOptions(voxels=None))
    assert found.ranking[-1] == 1
    *others, last = found.rows()
    assert (last["image"], last["rmse"], last["share"], last["rank"]) == ("b", 0, 0, 4)
    assert all(row["share"] > 0.01 for row in others)


def test_shares_sum_to_one_and_rows_are_sorted():
    found = Contribution(("x", "y", "z"), np.array([[1.0, 6, 3], [2, 6, 2]]), {}, 5)
    np.testing.assert_allclose(found.shares, [[0.1, 0.6, 0.3], [0.2, 0.6, 0.2]])
    np.testing.assert_array_equal(found.ranking, [1, 2, 0])
    rows = found.rows()
    assert [row["image"] for row in rows] == ["y", "z", "x"]
    assert [row["cumulative"] for row in rows] == pytest.approx([0.6, 0.85, 1])
    assert (rows[1]["rank"], rows[1]["share"]) == (2, pytest.approx(0.25))
    assert rows[1]["share_sd"] == pytest.approx(np.std([0.3, 0.2], ddof=1))
    assert rows[1]["rmse"] == pytest.approx(((9 + 4) / 2) ** 0.5)
    assert np.isnan(Contribution(("x",), np.ones((1, 1)), {}, 5).rows()[0]["share_sd"])


def test_the_network_is_left_as_it_was():
    network, sidecar, subject = make()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    perturb_images(network, sidecar, subject, {"a": [0]}, NoiseOptions(draws=1))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    network(torch.zeros(1, 4, 3, 3)).sum().backward()


def test_rician_noise_is_the_magnitude_of_a_complex_signal(rng):
    assert rician(np.zeros((3, 2), np.float32), 1.0, rng).shape == (3, 2)
    floor = rician(np.zeros(200_000, np.float32), 2.0, rng)
    assert floor.mean() == pytest.approx(2 * (np.pi / 2) ** 0.5, rel=0.01)
    bright = rician(np.full(200_000, 100, np.float32), 2.0, rng)
    assert (bright.mean(), bright.std()) == (pytest.approx(100, abs=0.1), pytest.approx(2, rel=0.02))
    assert bright.dtype == np.float32


@pytest.mark.parametrize("options", [{"noise": 0}, {"noise": -0.1}, {"noise": float("nan")}, {"draws": 0}])
def test_no_noise_and_no_draws_are_refused(options):
    with pytest.raises(OptionError, match="expected (a number above 0, relative to an image's mean|at least one draw)"):
        NoiseOptions(**options)


def test_no_images_are_refused():
    with pytest.raises(OptionError, match="contribution: expected at least one image, found no image; name images of the protocol"):
        perturb_images(*make(), {})


def test_regions_of_another_shape_are_refused():
    with pytest.raises(SubjectError, match=r"labels: expected shape \(9, 4, 8\) as the mask, found \(8, 4, 8\); resample the labels"):
        perturb_images(*make(), {"a": [0]}, regions=Regions(np.ones((8, 4, 8), int), {1: "all"}))


def test_images_by_themselves_and_in_groups():
    assert single_images(small()) == {"a": [0], "b": [1], "c": [2], "d": [3]}
    assert single_images(small(), ["c", " a"]) == {"c": [2], "a": [0]}
    with pytest.raises(OptionError, match="expected names of the protocol's images, found 'mt_one'; did you mean 'mt_on'"):
        single_images(MRH_NET, ["t2", "mt_one"])
    groups = groups_of_images(MRH_NET)
    assert {name: len(members) for name, members in groups.items()} == {
        "unweighted": 4, "b = 1900": 30, "b = 4800": 30, "t2": 1, "mt_on": 1, "mt_off": 1,
    }  # fmt: skip
    assert sorted(index for members in groups.values() for index in members) == list(range(67))
    assert groups["unweighted"] == [0, 1, 32, 33]
    rows = [
        ("a", 1000.0, (1.0, 0.0, 0.0), None, "pgse"),
        ("b", 1000.0, (1.0, 0.0, 0.0)),
        ("c", 1060.0, (0.0, 1.0, 0.0)),
        ("d", 10.0),
        ("e", None, None, None, "pgse"),
        ("f", 1060.0),
    ]
    groups = groups_of_images(MRProtocol(tuple(Channel(*row) for row in rows)))
    assert groups == {"pgse": [0, 4], "b = 1000": [1, 2], "unweighted": [3], "f": [5]}
