import matplotlib.image
import numpy as np

from mrh_monai.figures.brain_slices import side_by_side


def test_volumes_of_one_family_share_their_grey_scale(tmp_path):
    bright = np.zeros((20, 8, 20))
    bright[5:15, :, 5:15] = 100
    side_by_side({"AF true": bright, "AF dim": bright / 2}, tmp_path / "shared.png", slices=[4])
    side_by_side({"AF true": bright, "NF dim": bright / 2}, tmp_path / "own.png", slices=[4])
    shared, own = (matplotlib.image.imread(tmp_path / name)[..., 0] for name in ("shared.png", "own.png"))
    assert shared.shape == own.shape
    middle = [image[image.shape[0] * 3 // 4, image.shape[1] // 2] for image in (shared, own)]
    assert 0.4 < middle[0] < 0.6
    assert middle[1] > 0.95


def test_few_slices_and_empty_volumes_are_drawn(tmp_path):
    side_by_side({"a": np.zeros((5, 1, 5))}, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
