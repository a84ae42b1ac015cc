import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from helpers.patch_sets import random_patches, sliced_patch


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
