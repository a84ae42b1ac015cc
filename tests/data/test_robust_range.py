import numpy as np
import pytest

from mrh_monai.data.robust_range import ordinary_limits, robust_limits, warn_of_hot_voxels
from mrh_monai.errors import MRHWarning


@pytest.mark.parametrize("count", [2, 3, 100, 1001, 30_000])
def test_limits_are_voxels_of_the_sorted_list(rng, count):
    values = rng.normal(0, 1, count)
    ordered = sorted(values.tolist())
    place = int(0.999 * (count - 1))
    expected = ordered[count - 1 - place], ordered[place]
    assert robust_limits(values) == (expected if expected[0] < expected[1] else (ordered[0], ordered[-1]))


def test_a_stain_of_few_voxels_has_its_own_range():
    values = np.zeros(1000)
    values[7] = 5
    assert (robust_limits(values), robust_limits(np.ones(4))) == ((0.0, 5.0), (1.0, 1.0))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_a_hot_voxel_is_named_with_its_place_and_value(rng, dtype):
    """The place is that in the volume, not in the mask."""
    volume = rng.integers(20, 60, (12, 11, 10)).astype(dtype)
    mask = rng.random(volume.shape) < 0.5
    volume[4, 5, 6], volume[1, 2, 3] = 250, 255
    mask[4, 5, 6], mask[1, 2, 3] = True, False
    message = r"^af\.nii: the stain has 250 at voxel \(4, 5, 6\), far above its 99\.9th percentile of 59; if this is no tissue, remove it"
    with pytest.warns(MRHWarning, match=message):
        warn_of_hot_voxels(volume.T[mask.T], mask, "af.nii", "the stain")


def test_a_cold_voxel_is_named_too(rng):
    volume = rng.uniform(-3.5, -1, (12, 11, 10)).astype(np.float32)
    volume[4, 5, 6] = -200
    message = r"^od\.nii: the stain has -200 at voxel \(4, 5, 6\), far below its 0\.1th percentile of -3\.\d+; if this is no tissue"
    with pytest.warns(MRHWarning, match=message):
        warn_of_hot_voxels(volume.T.ravel(), np.ones(volume.shape, bool), "od.nii", "the stain")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32])
def test_limits_of_channels_are_those_of_each_one(rng, dtype):
    values = rng.integers(10, 250, (3000, 4)).astype(dtype)
    values[:, 3] = 7
    low, high = ordinary_limits(values)
    for channel in range(3):
        first, last = robust_limits(values[:, channel])
        assert (low[channel], high[channel]) == (first - 3 * (last - first), last + 3 * (last - first))
    assert (low[3], high[3]) == (-np.inf, np.inf)


def test_several_hot_voxels_are_counted(rng):
    volume = rng.integers(20, 60, (20, 20, 20)).astype(np.int16)
    volume[1, 2, 3], volume[4, 5, 6] = 9000, 20_000
    with pytest.warns(MRHWarning, match=r"channel t2 has 20000 at voxel \(4, 5, 6\), .* of 59, and 1 more voxel far above it; if"):
        warn_of_hot_voxels(volume.T.ravel(), np.ones(volume.shape, bool), "t2.nii", "channel t2")


def test_bright_tissue_is_not_hot(rng):
    """Neither noise, nor a stain that doubles in some voxels, nor a volume with hardly any signal."""
    mask = np.ones((30, 30, 30), bool)
    for values in (rng.gamma(2, 1, mask.size), np.where(rng.random(mask.size) < 1e-4, 200.0, rng.uniform(0, 100, mask.size))):
        warn_of_hot_voxels(values, mask, "a.nii", "the stain")
    warn_of_hot_voxels(np.arange(mask.size) == 5, mask, "a.nii", "the stain")
