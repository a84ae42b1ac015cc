import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import PolynomialFeatures

from mrh_monai.comparison.regression_models import Baseline, Voxels, baselines, join
from mrh_monai.evaluation.scores import r2

NAMES = ["qa", "iso", "t2", "mt"]


def make(seed, stain, count=600, maps=("t2w", "mtr", "fa_1900", "md_1900", "fa_4800", "mk")):
    rng = np.random.default_rng(seed)
    channels = rng.normal(0, 1, (count, 4)).astype(np.float32)
    values = {name: rng.uniform(0, 1, count).astype(np.float32) for name in maps}
    return Voxels(channels, values, stain(channels.astype(np.float64), values))


def linear(c, _):
    return 100 + 40 * c[:, 0] - 25 * c[:, 2] + 3 * c[:, 3]


def quadratic(c, _):
    return 100 + 40 * c[:, 0] * c[:, 1] - 25 * c[:, 2] ** 2 + 10 * c[:, 3]


def by_name(voxels, names=tuple(NAMES)):
    return {baseline.name: baseline for baseline in baselines(voxels, names)}


def test_linear_regression_finds_a_linear_stain_and_quadratic_a_quadratic_one():
    for stain, kinds in ((linear, ("linear", "quadratic")), (quadratic, ("quadratic",))):
        found, new = by_name(make(1, stain)), make(2, stain)
        for kind in kinds:
            # Ridge of 1 against 600 standardised voxels moves coefficients by about 1/600.
            np.testing.assert_allclose(found[f"{kind}, 4 images"].predict(new), new.target, atol=3 if kind == "quadratic" else 1e-3)
    assert r2(found["linear, 4 images"].predict(new), new.target) < 0.3


def test_maps_are_regressed_on_as_images_are():
    def stain(_, maps):
        return 50 + 30 * maps["mtr"] - 20 * maps["fa_1900"]

    found, new = by_name(make(1, stain)), make(2, stain)
    np.testing.assert_allclose(found["linear, 5 maps"].predict(new), new.target, atol=1e-3)
    assert r2(found["mtr"].predict(new), new.target) < 0.9


def test_linear_rows_are_scikit_learns_plainly(rng):
    voxels, new = (make(seed, lambda c, _: quadratic(c, _) + rng.normal(0, 9, len(c))) for seed in (1, 2))
    found = by_name(voxels)
    plain = LinearRegression().fit(voxels.channels.astype(float), voxels.target).predict(new.channels.astype(float))
    np.testing.assert_allclose(found["linear, 4 images"].predict(new), plain, rtol=1e-4, atol=1e-3)
    for name in voxels.maps:
        plain = LinearRegression().fit(voxels.maps[name][:, None], voxels.target).predict(new.maps[name][:, None])
        np.testing.assert_allclose(found[name].predict(new), plain, rtol=1e-4, atol=1e-3)
    squares = PolynomialFeatures(2)
    plain = LinearRegression().fit(squares.fit_transform(voxels.channels.astype(float)), voxels.target)
    plain = plain.predict(squares.fit_transform(new.channels.astype(float)))
    np.testing.assert_allclose(found["quadratic, 4 images"].predict(new), plain, atol=0.02 * np.std(plain))


def test_predictions_in_chunks_are_the_same(monkeypatch):
    voxels = make(1, quadratic)
    model = by_name(voxels)["quadratic, 4 images"]
    whole = model.predict(voxels)
    assert (whole.dtype, whole.shape) == (np.float32, (600,))
    monkeypatch.setattr("mrh_monai.comparison.regression_models.CHUNK", 7)
    np.testing.assert_allclose(model.predict(voxels), whole, rtol=1e-6)


def test_the_best_image_is_the_one_that_goes_best_with_the_stain_up_or_down():
    for best, name in ((0, "qa"), (2, "t2")):
        voxels = make(3, lambda c, _, best=best: -50 * c[:, best] + 20 * c[:, 1])
        scores = [r2(values, voxels.target) for values in voxels.channels.T]
        assert int(np.argmax(scores)) == best
        (chosen,) = (baseline for baseline in baselines(voxels, NAMES) if "best image" in baseline.name)
        assert (chosen.name, chosen.channels, chosen.kind) == (f"{name} (best image)", (best,), "marker")
        assert r2(chosen.predict(voxels), voxels.target) == pytest.approx(max(scores), rel=1e-4)


def test_an_image_that_is_the_same_everywhere_is_not_the_best():
    voxels = make(3, linear)
    voxels.channels[:, 1] = 4
    assert "qa (best image)" in by_name(voxels)


def test_rows_with_all_maps_with_some_and_with_none():
    assert [(row.name, row.kind) for row in baselines(make(1, linear), NAMES)] == [
        *((name, "marker") for name in ("t2w", "mtr", "fa_1900", "md_1900", "fa_4800", "mk", "qa (best image)")),
        *((f"{kind}, {what}", "regression") for kind in ("linear", "quadratic") for what in ("5 maps", "4 images")),
    ]
    five = by_name(make(1, linear))["quadratic, 5 maps"]
    assert (five.maps, five.degree) == (("t2w", "mtr", "fa_1900", "md_1900", "mk"), 2)
    assert list(by_name(make(1, linear, maps=("t2w", "mtr")))) == [
        "t2w", "mtr", "qa (best image)", "linear, 2 maps", "linear, 4 images", "quadratic, 2 maps", "quadratic, 4 images",
    ]  # fmt: skip
    assert list(by_name(make(1, linear, maps=("mtr",)))) == ["mtr", "qa (best image)", "linear, 4 images", "quadratic, 4 images"]
    single = make(1, linear, maps=())
    single = Voxels(single.channels[:, :1], {}, single.target)
    assert list(by_name(single, ("qa",))) == ["qa (best image)"]


def test_subjects_are_joined():
    parts = [make(seed, linear, count) for seed, count in ((1, 5), (2, 3))]
    whole = join(parts)
    np.testing.assert_array_equal(whole.channels, np.concatenate([part.channels for part in parts]))
    np.testing.assert_array_equal(whole.target[5:], parts[1].target)
    np.testing.assert_array_equal(whole.maps["mk"], [*parts[0].maps["mk"], *parts[1].maps["mk"]])


def test_a_baseline_takes_only_what_it_names():
    voxels = make(1, linear)
    model = Baseline("two", "regression", maps=("mtr",), channels=(0,)).fit(voxels)
    before = model.predict(voxels)
    other = Voxels(voxels.channels.copy(), {"mtr": voxels.maps["mtr"]}, voxels.target * np.nan)
    other.channels[:, 1:] = 1e6
    np.testing.assert_array_equal(model.predict(other), before)
