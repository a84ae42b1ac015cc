"""Voxel-wise prediction by the obvious loop, which the fast ways must equal."""

import numpy as np
import torch

from mrh_monai.data.slabs import PaddedImage


def oracle(image, mask, gain, offset, network, axes=(0, 2), radius=1):
    """Patch by patch, voxel by voxel; keep the centre."""
    padded = np.pad(image.astype(np.float32), [(radius, radius)] * 3 + [(0, 0)])
    out = np.zeros(mask.shape, np.float32)
    for voxel in np.argwhere(mask):
        index = tuple(slice(c, c + 2 * radius + 1) if axis in axes else c + radius for axis, c in enumerate(voxel))
        patch = torch.from_numpy(np.moveaxis(padded[index] * gain + offset, -1, 0).copy())
        with torch.no_grad():
            out[tuple(voxel)] = network(patch[None])[(0, 0, *(radius,) * len(axes))]
    return out


def pad(image, margin=1):
    return PaddedImage(np.pad(image, [(margin, margin)] * 3 + [(0, 0)]), margin)
