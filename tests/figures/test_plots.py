import matplotlib.image
import numpy as np
import pytest

from mrh_monai.figures.plots import bars, bland_altman, curves, predicted_against_true, roc_curves


@pytest.fixture
def picture(tmp_path):
    """Draw and read back: (rows, columns, 3)."""

    def read(draw, *arguments, **options):
        draw(*arguments, path=tmp_path / "picture.png", **options)
        return matplotlib.image.imread(tmp_path / "picture.png")[..., :3]

    return read


def changed(one, other):
    """How many pixels of two pictures of one size differ."""
    assert one.shape == other.shape
    return int((one != other).any(-1).sum())


def test_roc_curves_change_with_curves_areas_and_the_one_that_is_stressed(picture):
    rates = np.linspace(0, 1, 21)
    lines, areas = (
        {"network": (rates, rates**0.2), "mtr": (rates, rates**0.8), "fa": (rates, rates)},
        {"network": 0.9, "mtr": 0.6, "fa": 0.5},
    )
    options = {"title": "AF", "first": "network"}
    plain = picture(roc_curves, lines, areas, **options)
    assert changed(plain, picture(roc_curves, lines, areas, **options)) == 0
    assert changed(plain, picture(roc_curves, lines | {"mtr": (rates, rates**0.5)}, areas, **options)) > 500
    assert changed(plain, picture(roc_curves, lines, areas | {"mtr": 0.75}, **options)) > 10
    assert changed(plain, picture(roc_curves, lines, areas, title="AF", first="mtr")) > 500
    # The legend is in the order of the areas, whatever that of the curves.
    assert changed(plain, picture(roc_curves, dict(reversed(lines.items())), areas, **options)) == 0


def blob(rng, shift=0.0):
    target = rng.uniform(0, 200, 3000)
    return target, target + shift + rng.normal(0, 15, 3000)


def test_predictions_against_truth_change_with_either(picture, rng):
    pair, other = blob(rng), blob(rng, 60)
    notes = {"network": "R2 0.9", "mtr": "R2 0.2"}
    plain = picture(predicted_against_true, {"network": pair, "mtr": other}, notes, units="u")
    assert changed(plain, picture(predicted_against_true, {"network": pair, "mtr": other}, notes, units="u")) == 0
    assert changed(plain, picture(predicted_against_true, {"network": other, "mtr": other}, notes, units="u")) > 5000
    assert changed(plain, picture(predicted_against_true, {"network": pair[::-1], "mtr": other}, notes, units="u")) > 1000
    assert changed(plain, picture(predicted_against_true, {"network": pair, "mtr": other}, notes | {"mtr": "R2 0.3"}, units="u")) > 5
    single = picture(predicted_against_true, {"network": pair}, notes, units="u")
    assert single.shape[1] < plain.shape[1]


def test_bland_altman_shows_bias_and_limits(picture, rng):
    target = rng.uniform(0, 200, 5000)
    level = picture(bland_altman, {"network": (target, target + rng.normal(0, 15, 5000))}, units="u")
    biased = picture(bland_altman, {"network": (target, target + 30 + rng.normal(0, 5, 5000))}, units="u")

    def lines(pixels):
        """Rows with a line of their own colour: the bias, which is drawn through, and the limits, which are dashed."""
        red = (pixels[..., 0] - pixels[..., 1:].max(-1) > 0.25).sum(1)
        return np.flatnonzero(red > 0.2 * pixels.shape[1]) / len(pixels)

    # Each is drawn over a pixel or two. Bias 0 lies in the middle of its limits and of the axes; a bias of 30 and its limits lie above.
    for found in (lines(level), lines(biased)):
        assert 1 + (np.diff(found) > 0.02).sum() == 3
    middle = (lines(level).min() + lines(level).max()) / 2
    assert lines(level).min() < middle - 0.1
    assert np.abs(lines(level) - middle).min() < 0.01
    assert lines(biased).max() < middle - 0.1
    assert changed(level, biased) > 5000


def test_bars_are_as_long_as_their_values(picture):
    rows = [("network", 0.9, 0.85, 0.95), ("mtr", 0.45, 0.3, 0.6), ("fa", 0.2, float("nan"), float("nan"))]
    plain = picture(bars, rows, xlabel="R2", first="network")

    def lengths(pixels, colour):
        inside = (np.abs(pixels - np.array(colour) / 255) < 0.02).all(-1).sum(1)
        return inside.max()

    dark, pale = (0x1F, 0x5F, 0xA8), (0x9D, 0xB7, 0xD4)
    assert lengths(plain, pale) / lengths(plain, dark) == pytest.approx(0.5, abs=0.05)
    wider = picture(bars, [("network", 0.9, 0.6, 0.95), *rows[1:]], xlabel="R2", first="network")
    assert changed(plain, wider) > 20
    other = picture(bars, rows, xlabel="R2", first="mtr")
    assert lengths(other, dark) / lengths(other, pale) == pytest.approx(0.5, abs=0.05)
    assert lengths(picture(bars, rows, xlabel="R2"), dark) == 0


def test_curves_are_drawn_in_the_order_of_x(picture):
    lines = {"a": [(1, 0.2, 0.01), (10, 0.5, 0.02), (100, 0.9, 0.03)], "b": [(1, 0.1, 0.0), (100, 0.3, 0.0)]}
    options = {"xlabel": "patches", "ylabel": "R2"}
    plain = picture(curves, lines, **options)
    assert changed(plain, picture(curves, lines | {"a": lines["a"][::-1]}, **options)) == 0
    assert changed(plain, picture(curves, lines | {"a": [*lines["a"][:2], (100, 0.7, 0.03)]}, **options)) > 200
    assert changed(plain, picture(curves, lines | {"a": [(x, y, 5 * spread) for x, y, spread in lines["a"]]}, **options)) > 50
    assert changed(plain, picture(curves, lines, log=True, **options)) > 200
    assert changed(picture(curves, {"a": lines["a"]}, **options), picture(curves, {"c": lines["a"]}, **options)) == 0
