import base64
import gzip
import importlib.util
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

from mrh_monai.report.viewer import Layer, embed, viewer_script

AFFINE = np.array([[0, 0, 0.2, -3], [0.1, 0, 0, 5], [0, -0.3, 0, 2], [0, 0, 0, 1.0]])
MUCH = 10**9


def decode(volume):
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(volume["b64"])))
    return image, image.get_fdata()


def world(affine, voxel):
    return affine[:3, :3] @ np.asarray(voxel) + affine[:3, 3]


@pytest.fixture
def box():
    """A mask whose box is 8 x 6 x 4 voxels, from (2, 3, 1) on."""
    mask = np.zeros((12, 10, 7), bool)
    mask[2:10, 3:9, 1:5] = True
    mask[2, 3:8] = False
    return mask


def test_voxels_are_kept_within_a_level(box, rng):
    voxels = rng.uniform(-20, 300, box.shape)
    (volume,), factor = embed([Layer("base", voxels, 10, 200, "gray")], box, AFFINE, MUCH)
    image, found = decode(volume)
    assert factor == (1, 1, 1)
    assert image.get_data_dtype() == np.uint8
    part = voxels[2:10, 3:9, 1:5]
    np.testing.assert_allclose(found, part.clip(10, 200), atol=0.5 * 190 / 255 + 1e-3)
    assert (found.min(), found.max()) == (pytest.approx(10), pytest.approx(200))


def test_a_voxel_stays_where_it_is_in_the_world(box):
    voxels = np.zeros(box.shape)
    voxels[7, 5, 3] = 100
    (volume,), _ = embed([Layer("base", voxels, 0, 100, "gray")], box, AFFINE, MUCH)
    image, found = decode(volume)
    (place,) = np.argwhere(found > 50)
    np.testing.assert_allclose(world(image.affine, place), world(AFFINE, (7, 5, 3)), atol=1e-5)


def test_joined_voxels_are_the_mean_of_theirs_at_their_middle(box, rng):
    voxels = rng.uniform(0, 100, box.shape)
    whole = len(embed([Layer("base", voxels, 0, 100, "gray")], box, AFFINE, MUCH)[0][0]["b64"])
    (volume,), factor = embed([Layer("base", voxels, 0, 100, "gray")], box, AFFINE, whole - 1)
    image, found = decode(volume)
    assert (factor, found.shape) == ((2, 2, 2), (4, 3, 2))
    for i, j, k in np.ndindex(found.shape):
        block = [(2 + 2 * i + a, 3 + 2 * j + b, 1 + 2 * k + c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]
        assert found[i, j, k] == pytest.approx(np.mean([voxels[voxel] for voxel in block]), abs=0.5 * 100 / 255 + 1e-3)
        middle = np.mean([world(AFFINE, voxel) for voxel in block], 0)
        np.testing.assert_allclose(world(image.affine, (i, j, k)), middle, atol=1e-5)


def test_what_is_the_same_everywhere_stays_so_when_joined(rng):
    """Also where blocks at the end have fewer voxels."""
    mask = np.ones((7, 9, 5), bool)
    layers = [Layer("base", np.full(mask.shape, 80.0), 0, 100, "gray"), Layer("noise", rng.uniform(0, 100, mask.shape), 0, 100, "hot")]
    volumes, factor = embed(layers, mask, AFFINE, 600)
    assert min(factor) > 1
    np.testing.assert_allclose(decode(volumes[0])[1], 80, atol=0.2)


def test_the_limit_is_kept_with_the_smallest_factor_that_does(rng):
    mask = np.ones((24, 20, 22), bool)
    layers = [Layer(name, rng.uniform(0, 1, mask.shape), 0, 1, "gray") for name in "ab"]
    sizes = {}
    for limit in (MUCH, 8000, 3000):
        volumes, factor = embed(layers, mask, AFFINE, limit)
        sizes[factor] = sum(len(volume["b64"]) for volume in volumes)
        assert sizes[factor] <= limit
    assert list(sizes) == [(1, 1, 1), (2, 2, 2), (3, 3, 3)]
    assert sizes[1, 1, 1] > 8000 > sizes[2, 2, 2] > 3000
    volumes, factor = embed(layers, mask, AFFINE, 1)
    assert (factor, decode(volumes[0])[1].shape) == ((12, 10, 11), (2, 2, 2))


def test_layers_lie_on_one_grid_in_their_order_with_their_colours(box, rng):
    layers = [Layer("base", rng.uniform(0, 9, box.shape), 0, 9, "gray"), Layer("<stain>", rng.uniform(-5, 5, box.shape), -5, 5, "magma")]
    volumes, _ = embed(layers, box, AFFINE, MUCH)
    assert [(v["name"], v["label"], v["colormap"]) for v in volumes] == [
        ("volume0.nii.gz", "base", "gray"),
        ("volume1.nii.gz", "<stain>", "magma"),
    ]
    images = [decode(volume)[0] for volume in volumes]
    np.testing.assert_array_equal(images[0].affine, images[1].affine)
    # The lowest of an overlay's 256 levels is background.
    assert [(v["cal_min"], v["cal_max"]) for v in volumes] == [(0, 9), (pytest.approx(-5 + 10 / 255), 5)]


def test_nan_and_a_window_without_width_are_carried(box):
    voxels = np.full(box.shape, 3.0)
    voxels[5, 5, 2] = np.nan
    (volume,), _ = embed([Layer("base", voxels, 3, 3, "gray")], box, AFFINE, MUCH)
    assert np.isfinite(decode(volume)[1]).all()


def test_the_same_volumes_give_the_same_bytes(box, rng):
    layers = [Layer("base", rng.uniform(0, 9, box.shape), 0, 9, "gray")]
    assert embed(layers, box, AFFINE, MUCH) == embed(layers, box, AFFINE, MUCH)


def test_the_script_is_niivues_and_can_be_carried_inline():
    pytest.importorskip("nilearn", reason="NiiVue comes with nilearn, which is not installed")
    script = viewer_script()
    assert "Niivue" in script
    assert len(script) > 10**6
    assert "</script" not in script.lower()


def fake_nilearn(monkeypatch, folder):
    found = None if folder is None else SimpleNamespace(submodule_search_locations=[str(folder)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)


def test_without_nilearn_there_is_no_script(monkeypatch, tmp_path):
    fake_nilearn(monkeypatch, None)
    assert viewer_script() is None
    fake_nilearn(monkeypatch, tmp_path)
    assert viewer_script() is None


@pytest.mark.parametrize(
    ("source", "fits"), [("class Niivue {}", True), ("'</script>'", False), ("'</SCRIPT '", False), ("'<!-- '", False)]
)
def test_a_script_that_would_end_the_page_is_not_carried(monkeypatch, tmp_path, source, fits):
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "niivue.umd.js").write_text(source)
    fake_nilearn(monkeypatch, tmp_path)
    assert viewer_script() == (source if fits else None)


def test_a_thin_volume_is_joined_within_its_slices(rng):
    mask = np.ones((60, 1, 50), bool)
    layers = [Layer("base", rng.uniform(0, 1, mask.shape), 0, 1, "gray")]
    volumes, factors = embed(layers, mask, AFFINE, 1500)
    assert factors[1] == 1 < factors[0] == factors[2]
    assert len(volumes[0]["b64"]) <= 1500
