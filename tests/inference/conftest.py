"""A small volume to predict, and a cohort."""

import numpy as np
import pytest
import torch

from helpers.subjects import write_nifti
from mrh_monai.inference import fingerprint
from mrh_monai.network import MRHNet
from mrh_monai.subjects import Subject


@pytest.fixture
def case(rng):
    """A volume whose mask touches its edges, factors and a network."""
    torch.manual_seed(0)
    image = rng.integers(0, 999, (7, 4, 6, 3)).astype(np.int16)
    mask = rng.random((7, 4, 6)) > 0.3
    gain, offset = rng.uniform(0.001, 0.002, 3).astype(np.float32), rng.normal(0, 1, 3).astype(np.float32)
    return image, mask, gain, offset, MRHNet(3, 8, 2, initialisation="he").eval()


@pytest.fixture
def cohort(tmp_path):
    """Three subjects on disk, a folder for their predictions, and the fingerprint of some weights."""
    subjects = []
    for name in "abc":
        paths = [write_nifti(tmp_path / f"{name}_{kind}.nii", np.ones((3, 3, 3, count))) for kind, count in (("image", 3), ("mask", 1))]
        subjects.append(Subject(name, (paths[0],), paths[1]))
    for name in ("model.pt", "model.json"):
        (tmp_path / name).write_bytes(name.encode())
    return subjects, tmp_path / "out", fingerprint(tmp_path / "model.pt", precision="float32", nan=None)
