"""What a network must beat: the best single MR image, and a linear regression on all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LinearRegression

from mrh_monai.errors import SubjectError
from mrh_monai.loaded import LoadedSubject
from mrh_monai.metrics import r2, rmse
from mrh_monai.protocol import Protocol
from mrh_monai.scaling import Scaling

VOXELS = 20_000


def best_single_image(subject: LoadedSubject, protocol: Protocol) -> tuple[str, float]:
    """The MR image that goes best with the stain of one subject, chosen on that very subject and so flattered.

    Args:
        subject: With its target.
        protocol: Names of its channels.

    Returns:
        The channel's name and its R2 (squared correlation) in the mask, where the target is sound.
    """
    values, target = subject.image[subject.scored], _target(subject)
    scores = [r2(values[:, channel], target) for channel in range(values.shape[1])]
    best = int(np.nanargmax(scores))
    return protocol.names[best], scores[best]


def linear_regression(training: Sequence[LoadedSubject], test: LoadedSubject, scaling: Scaling, seed: int = 0) -> dict[str, float]:
    """Ordinary least squares from all channels of a voxel, scaled as for the network, to its stain.

    Args:
        training: Subjects with targets; 20,000 of their voxels are drawn.
        test: Unseen subject with its target.
        scaling: Of the training set.
        seed: Of the draw.

    Returns:
        ``r2`` and ``rmse`` (stain's units) on the test subject.
    """
    rng = np.random.default_rng(seed)
    inputs, targets = [], []
    for subject in training:
        chosen = rng.permutation(int(subject.mask.sum()))[: VOXELS // len(training)]
        inputs.append(_scaled(subject, scaling)[chosen])
        targets.append(_target(subject)[chosen])
    model = LinearRegression().fit(np.concatenate(inputs), np.concatenate(targets))
    prediction = model.predict(_scaled(test, scaling))
    return {"r2": r2(prediction, _target(test)), "rmse": rmse(prediction, _target(test))}


def _scaled(subject: LoadedSubject, scaling: Scaling) -> np.ndarray:
    gain, offset = scaling.coefficients(subject, subject.mask)
    return subject.image[subject.scored] * gain + offset


def _target(subject: LoadedSubject) -> np.ndarray:
    if subject.target is None:
        raise SubjectError(subject.name, "a target to compare with", "none loaded", "load the subject with need_target=True")
    return subject.target[subject.scored].astype(np.float64)
