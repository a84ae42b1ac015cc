"""Figure of the signal in each channel of a subject."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mrh_monai.figures.canvas import new_figure, save_png


def channel_levels(means: np.ndarray, expected: np.ndarray | None, spread: np.ndarray | None, path: Path | str) -> None:
    """Draw the mean signal of every channel, and behind it the mean signals of the training subjects.

    Args:
        means: (C,) mean signals of the subject in the mask, divided by the subject's level.
        expected: (C,) mean signals of the training subjects; None where they are not known.
        spread: (C,) standard deviations over the voxels of the training subjects; None where they are not known.
        path: PNG file to write.

    Raises:
        OutputError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     channel_levels(np.array([0.9, 0.5, 0.4]), None, None, f"{folder}/levels.png")
        ...     print([path.name for path in Path(folder).iterdir()])
        ['levels.png']
    """
    figure, axes = new_figure(1, 1, (10.4, 2.3))
    axis, channels = axes[0][0], np.arange(1, len(means) + 1)
    if expected is not None and spread is not None:
        axis.fill_between(channels, expected - spread, expected + spread, color="#dfe6f0", label="training subjects, mean and sd of voxels")
        axis.plot(channels, expected, color="#8aa0bf", linewidth=1)
    axis.plot(channels, means, ".", color="#b3261e", label="this subject")
    axis.set(xlabel="channel, in the protocol's order", ylabel="signal / level", xlim=(0, len(means) + 1), ylim=(0, None))
    axis.legend(fontsize=7)
    save_png(figure, path, dpi=110)
