import numpy as np
import pytest

from mrh_monai.errors import SubjectError
from mrh_monai.studies.image_resolution import decorrelation, largest_square, resolution_of_slices


def low_passed(size, cutoff, seed=0, noise=0.05):
    """White noise whose spectrum ends sharply at a frequency, and a little that does not end."""
    rng = np.random.default_rng(seed)
    axis = 2 * np.fft.fftfreq(size)
    image = np.fft.ifft2(np.fft.fft2(rng.standard_normal((size, size))) * (np.hypot(axis[:, None], axis) < cutoff)).real
    return image / image.std() + noise * rng.standard_normal((size, size))


def true_square(mask):
    """The edge of the largest square of ones, by trying them all."""
    return max(
        (n for n in range(1, min(mask.shape) + 1) for x in range(mask.shape[0] - n + 1) for y in range(mask.shape[1] - n + 1)
         if mask[x : x + n, y : y + n].all()), default=0,
    )  # fmt: skip


@pytest.mark.parametrize("cutoff", [0.3, 0.5, 0.7, 0.85])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_frequency_at_which_a_spectrum_ends_is_found(cutoff, seed):
    assert decorrelation(low_passed(128, cutoff, seed)) == pytest.approx(cutoff, rel=0.1)
    assert decorrelation(low_passed(64, cutoff, seed)) == pytest.approx(cutoff, rel=0.2)


def test_gain_and_offset_change_nothing():
    image = low_passed(64, 0.5)
    assert decorrelation(300 * image + 7000) == decorrelation(image) > 0.4
    stored = np.rint(1000 * image + 8000).astype(np.int16)
    assert decorrelation(stored) == pytest.approx(decorrelation(image), abs=0.02)


def test_an_image_without_a_square_frame_is_analysed():
    assert decorrelation(low_passed(128, 0.5)[:90]) == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_white_noise_ends_nowhere(seed):
    assert decorrelation(np.random.default_rng(seed).standard_normal((96, 96))) == 0


@pytest.mark.parametrize("value", [0, 7, 0.1, 1 / 3, 123.456])
def test_an_image_that_is_the_same_everywhere_has_no_resolution(value):
    assert decorrelation(np.full((37, 41), value)) == 0


@pytest.mark.parametrize("seed", range(6))
def test_the_largest_square_lies_in_the_mask_and_is_the_largest(seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((44, 40), bool)
    x, y, width, height = rng.integers(2, 8), rng.integers(2, 8), rng.integers(27, 36), rng.integers(27, 32)
    mask[x : x + width, y : y + height] = True
    mask[rng.integers(0, 3, 4), rng.integers(0, 40, 4)] = True
    mask[x + width // 2, y] = False
    found = largest_square(mask)
    sides = {part.stop - part.start for part in found}
    assert mask[found].all()
    assert sides == {true_square(mask)}


def test_a_mask_that_touches_the_frame_is_used_to_its_edge():
    assert largest_square(np.ones((25, 31), bool))[0] == slice(0, 25)


def test_a_square_of_24_voxels_is_large_enough():
    mask = np.zeros((40, 40), bool)
    mask[4:28, 5:29] = True
    assert largest_square(mask) == (slice(4, 28), slice(5, 29))


def test_no_square_of_tissue_is_refused():
    small = np.zeros((40, 40), bool)
    small[:23, :23] = True
    with pytest.raises(
        SubjectError,
        match="resolution: expected a square of 24 voxels .*, found a largest square of 23 voxels; use a finer grid",
    ):
        largest_square(small)
    with pytest.raises(SubjectError, match="found a largest square of 0 voxels;"):
        largest_square(small & False)
    with pytest.raises(SubjectError, match="expected a square of 24 voxels"):
        resolution_of_slices(np.zeros((40, 2, 40)), np.stack([small, small], 1))


def test_each_slice_with_enough_tissue_counts():
    mask = np.zeros((70, 4, 70), bool)
    mask[3:67, [0, 2, 3], 3:67] = True
    mask[:20, 1] = True
    volume = np.full(mask.shape, 1e6)
    volume[3:67, 0, 3:67], volume[3:67, 2, 3:67], volume[3:67, 3, 3:67] = low_passed(64, 0.4), low_passed(64, 0.8), 5.0
    found = resolution_of_slices(volume, mask)
    # In voxels: two over the cut-off. What lies outside the mask takes no part, and a constant has none.
    np.testing.assert_allclose(found[:2], [2 / 0.4, 2 / 0.8], rtol=0.2)
    assert (len(found), np.isnan(found[2])) == (3, True)


def test_pixels_that_are_not_square_are_measured_in_mm(rng):
    """A blob of one width along both axes has one resolution, however its pixels are shaped."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(192, 0.1), np.fft.fftfreq(96, 0.2), indexing="ij"))
    image = np.fft.ifft2(np.fft.fft2(rng.normal(size=(192, 96))) * (frequency < 1.25)).real
    image += rng.normal(0, 0.02 * image.std(), image.shape)
    cutoff = decorrelation(image, (0.1, 0.2))
    assert 2 * 0.2 / cutoff == pytest.approx(1 / 1.25, rel=0.15)
