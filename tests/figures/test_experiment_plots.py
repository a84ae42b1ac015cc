import numpy as np
import pytest

from helpers.pictures import changed
from mrh_monai.figures.experiment_plots import bars, curves


def test_bars_are_as_long_as_their_values(picture):
    rows = [("network", 0.9, 0.85, 0.95), ("mtr", 0.45, 0.3, 0.6), ("fa", 0.2, float("nan"), float("nan"))]
    plain = picture(bars, rows, xlabel="R2", highlighted="network")

    def lengths(pixels, colour):
        inside = (np.abs(pixels - np.array(colour) / 255) < 0.02).all(-1).sum(1)
        return inside.max()

    dark, pale = (0x1F, 0x5F, 0xA8), (0x9D, 0xB7, 0xD4)
    assert lengths(plain, pale) / lengths(plain, dark) == pytest.approx(0.5, abs=0.05)
    wider = picture(bars, [("network", 0.9, 0.6, 0.95), *rows[1:]], xlabel="R2", highlighted="network")
    assert changed(plain, wider) > 20
    other = picture(bars, rows, xlabel="R2", highlighted="mtr")
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
