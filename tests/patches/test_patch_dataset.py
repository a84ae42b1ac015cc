import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from helpers.patch_sets import random_patches, sliced_patch
from mrh_monai.data import SubjectInMemory
from mrh_monai.patch_geometry import PatchGeometry
from mrh_monai.patches.patch_dataset import PatchDataset
from mrh_monai.scaling import Coefficients


def test_dataset_scales_each_subject_by_its_own_factors(loaded, rng):
    dataset, factors = random_patches(loaded, rng)
    batch = dataset.batch(torch.arange(50))
    assert batch["image"].shape == (50, 67, 3, 3)
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert batch["label"].shape == (50, 1, 3, 3)
    assert (batch["image"].dtype, batch["label"].dtype) == (torch.float32, torch.float32)
    for n in range(50):
        subject = int(dataset.subject[n])
        flat = int(dataset.image_strips[n, 1])
        gain, offset = (values[:, None, None] for values in factors[subject])
        centre = next(c for c in np.argwhere(loaded[subject].mask) if int(dataset.images.locate(np.array([[subject, *c]]))[0, 1]) == flat)
        expected = sliced_patch(loaded[subject].image, centre, (0, 2), 1) * gain + offset
        np.testing.assert_allclose(batch["image"][n], expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            batch["label"][n, 0], sliced_patch(loaded[subject].target[..., None], centre, (0, 2), 1)[0] / 250, rtol=1e-6
        )


def test_one_by_one_equals_the_batch(loaded, rng):
    dataset, _ = random_patches(loaded, rng)
    batch = dataset.batch(torch.arange(len(dataset)))
    for key in ("image", "label"):
        torch.testing.assert_close(torch.stack([dataset[n][key] for n in range(len(dataset))]), batch[key], rtol=0, atol=0)
    with pytest.raises(IndexError):
        dataset[50]


NEEDS_FORK = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork a process")


@pytest.mark.parametrize("context", [pytest.param("fork", marks=NEEDS_FORK), "spawn"])
def test_workers_read_the_parents_volumes(loaded, rng, context):
    dataset, _ = random_patches(loaded, rng)
    batches = list(DataLoader(dataset, batch_size=16, num_workers=2, multiprocessing_context=context))
    image = torch.cat([batch["image"] for batch in batches])
    torch.testing.assert_close(image, dataset.batch(torch.arange(50))["image"], rtol=0, atol=0)
    # A spawned worker maps torch's shared memory: the parent's tensor lies there too.
    assert context == "fork" or dataset.images.memory.is_shared()


def test_patches_on_another_device_are_the_same(loaded, rng, monkeypatch):
    """The meta device stands in for one with memory of its own: shapes and places, no numbers."""
    dataset, _ = random_patches(loaded, rng, 2)
    assert dataset.to("cpu") is dataset
    moved = dataset.to("meta")
    batch = moved.batch(torch.tensor([1, 0]))
    assert {key: (value.device.type, value.shape) for key, value in batch.items()} == {
        "image": ("meta", (2, 67, 3, 3)), "label": ("meta", (2, 1, 3, 3)),
    }  # fmt: skip
    monkeypatch.setattr("mrh_monai.patches.patch_dataset._free_memory", lambda device: 100.0)
    assert dataset.to("meta") is dataset


def restricted(rng, torn=True):
    """A subject of two channels, restricted to slices 2 to 4 of 7, with torn tissue; its stain says its slice."""
    image = rng.uniform(1, 2, (8, 7, 9, 2)).astype(np.float32)
    whole = np.zeros((8, 7, 9), bool)
    whole[1:-1, :, 1:-1] = True
    mask = whole.copy()
    mask[:, [0, 1, 5, 6]] = False
    target = np.broadcast_to(10.0 + np.arange(7)[None, :, None], (8, 7, 9)).astype(np.uint8)
    intact = rng.random((8, 7, 9)) > 0.2 if torn else None
    return SubjectInMemory("s", np.pad(image, [(1, 1)] * 3 + [(0, 0)]), 1, mask, target, None, np.eye(4), intact, whole_mask=whole)


@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize("axes", [(0, 2), (0, 1, 2), (0, 1)])
@pytest.mark.parametrize("target_min", [0.0, 8.0])
def test_no_label_comes_from_torn_tissue_or_from_other_slices(rng, axes, target_min, torn):
    """A voxel at a time: labels of the slices and of intact tissue are there, and no others."""
    subject = restricted(rng, torn)
    centres = np.array([[0, *voxel] for voxel in np.argwhere(subject.scored)])
    gain, offset = np.ones(2, np.float32), np.zeros(2, np.float32)
    dataset = PatchDataset([subject], centres, [Coefficients(gain, offset)], 20.0, PatchGeometry(axes), target_min)
    labels = dataset.batch(torch.arange(len(centres)))["label"].numpy()[:, 0]
    unknown = 0
    for label, centre in zip(labels, centres[:, 1:], strict=True):
        for step in np.ndindex(*label.shape):
            voxel = centre.copy()
            voxel[list(axes)] += np.array(step) - 1
            known = 2 <= voxel[1] <= 4 if 1 in axes else True
            known = known and (not torn or not subject.brain[tuple(voxel)] or subject.target_mask[tuple(voxel)])
            outside = bool(target_min) and not subject.scored[tuple(voxel)]
            expected = np.nan if not known else 0.0 if outside else (subject.target[tuple(voxel)] - target_min) / (20 - target_min)
            np.testing.assert_allclose(label[step], expected, rtol=1e-6)
            unknown += not known
    assert bool(unknown) == (torn or 1 in axes)
    assert np.isfinite(labels[(slice(None), *(1,) * len(axes))]).all()
