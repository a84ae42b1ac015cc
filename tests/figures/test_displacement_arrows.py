import matplotlib.image
import numpy as np

from mrh_monai.figures.displacement_arrows import DisplacedStain, displacement_histogram, stain_arrows


def stain(far=0.1, name="m1"):
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 5, 30), bool)
    mask[4:36, :, 4:26] = True
    displacement = np.zeros((2, 40, 5, 30), np.float32)
    displacement[0, :, 3] = far * np.sin(np.arange(30) / 5)
    displacement[1, 2, 1, 2] = 9.0  # outside the brain
    return DisplacedStain(name, rng.random((40, 5, 30)), mask, displacement, (0.1, 0.2, 0.1))


def test_the_voxel_that_is_moved_most_lies_in_the_brain():
    assert stain().furthest[1:] == (3, 8)
    assert stain().lengths.max() == np.float32(0.1 * np.sin(8 / 5))


def test_arrows_and_histogram_are_drawn_and_change_with_the_displacement(tmp_path):
    for draw in (stain_arrows, displacement_histogram):
        for far in (0.1, 0.3, 0.0):
            draw([stain(far), stain(far / 2, "m2"), stain(far, "m3"), stain(far, "m4")], tmp_path / f"{far}.png")
        first, second, still = (matplotlib.image.imread(tmp_path / f"{far}.png") for far in (0.1, 0.3, 0.0))
        assert first.shape == second.shape == still.shape
        assert not np.array_equal(first, second)
        assert not np.array_equal(first, still)


def test_arrows_have_the_direction_and_length_of_the_displacement(tmp_path):
    """Arrows are orange: none without a displacement, and more of them the further the stain is moved."""
    counts = []
    for far in (0.0, 0.05, 0.3):
        stain_arrows([stain(far)], tmp_path / "arrows.png")
        red, green, blue = matplotlib.image.imread(tmp_path / "arrows.png")[..., :3].transpose(2, 0, 1)
        counts.append(int(((red > 0.85) & (abs(green - 0.46) < 0.1) & (abs(blue - 0.17) < 0.1)).sum()))
    assert counts[0] < 0.3 * counts[1] < 0.3 * counts[2]


def test_odd_names_and_a_stain_that_does_not_move_are_drawn(tmp_path):
    for draw in (stain_arrows, displacement_histogram):
        draw([stain(0.1, "m$1_{$x"), stain(0.0, "_m1")], tmp_path / "odd.png")
    assert stain(0.0).mask[stain(0.0).furthest]


def test_a_stain_with_values_that_are_not_finite_is_drawn(tmp_path):
    torn = stain()
    torn.stain[10:20, 3] = np.nan
    stain_arrows([torn], tmp_path / "torn.png")
    assert matplotlib.image.imread(tmp_path / "torn.png")[..., :3].std() > 0.1
