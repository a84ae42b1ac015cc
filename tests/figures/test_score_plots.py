import numpy as np

from helpers.pictures import changed
from mrh_monai.figures.score_plots import bland_altman, predicted_against_true, roc_curves


def test_roc_curves_change_with_curves_areas_and_the_one_that_is_stressed(picture):
    rates = np.linspace(0, 1, 21)
    lines, areas = (
        {"network": (rates, rates**0.2), "mtr": (rates, rates**0.8), "fa": (rates, rates)},
        {"network": 0.9, "mtr": 0.6, "fa": 0.5},
    )
    options = {"title": "AF", "highlighted": "network"}
    plain = picture(roc_curves, lines, areas, **options)
    assert changed(plain, picture(roc_curves, lines, areas, **options)) == 0
    assert changed(plain, picture(roc_curves, lines | {"mtr": (rates, rates**0.5)}, areas, **options)) > 500
    assert changed(plain, picture(roc_curves, lines, areas | {"mtr": 0.75}, **options)) > 10
    assert changed(plain, picture(roc_curves, lines, areas, title="AF", highlighted="mtr")) > 500
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
