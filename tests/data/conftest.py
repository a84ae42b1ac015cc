"""A subject of other channels than MRH-Net's, as files."""

import numpy as np
import pytest

from helpers.subjects import write_nifti
from mrh_monai.subjects import Subject


@pytest.fixture
def parts(tmp_path, rng):
    """A NIfTI subject of three channels: two files, a mask and a target."""
    image = rng.uniform(1, 2, (6, 5, 4, 3)).astype(np.float32)
    image[..., 1:] = np.sort(image[..., 1:])
    write_nifti(tmp_path / "s" / "qa.nii.gz", image[..., 0])
    write_nifti(tmp_path / "s" / "mt.nii", image[..., 1:])
    mask = np.zeros((6, 5, 4), np.uint8)
    mask[1:5] = 1
    write_nifti(tmp_path / "s" / "mask.nii", mask)
    write_nifti(tmp_path / "s" / "stain.nii", image[..., 0] * 100)
    folder = tmp_path / "s"
    subject = Subject("s", (folder / "qa.nii.gz", folder / "mt.nii"), folder / "mask.nii", target=folder / "stain.nii")
    return subject, image, mask
