"""Subjects in memory made of plain arrays."""

import numpy as np

from mrh_monai.data import SubjectInMemory


def subject_of(image, mask=None, target=None, name="s", **more) -> SubjectInMemory:
    """A subject without margin; all voxels are in the mask where there is none."""
    mask = np.ones(image.shape[:3], bool) if mask is None else mask
    return SubjectInMemory(name, image, 0, mask, target, None, np.eye(4), **more)
