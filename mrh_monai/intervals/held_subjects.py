"""How large errors are on subjects that took no part in a training."""

from __future__ import annotations

import numpy as np
import torch

from mrh_monai.intervals.head_fitting import features_and_errors
from mrh_monai.network import HeldSubject, IntervalHead, MRHNet
from mrh_monai.patches import PatchDataset


@torch.no_grad()
def measure_held_subject(name: str, network: MRHNet, head: IntervalHead, patches: PatchDataset) -> HeldSubject:
    """Measure the errors on a subject that took no part in the training.

    Args:
        name: Name of the subject.
        network: Trained network.
        head: Its interval head.
        patches: Patches around voxels of the subject.
    """
    features, errors = features_and_errors(network, patches)
    return HeldSubject.measured(name, errors.numpy().astype(np.float64), head(features.flatten(1)).numpy().astype(np.float64))
