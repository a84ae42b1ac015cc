import matplotlib.image
import numpy as np

from mrh_monai.figures.training_history import training_curve


def test_curve_is_drawn_and_changes_with_the_run(tmp_path):
    rows = [{"epoch": n, "train_loss": 1 / n, "val_rmse": 10 / n, "val_r2": 0.9} for n in range(1, 6)]
    training_curve(rows, tmp_path / "a.png", "units")
    training_curve(rows[:2], tmp_path / "b.png", "units")
    a, b = (matplotlib.image.imread(tmp_path / name) for name in ("a.png", "b.png"))
    assert a.shape == b.shape
    assert not np.array_equal(a, b)
