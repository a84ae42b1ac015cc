import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mrh_monai.data.subject import find_subjects
from mrh_monai.data.subject_voxels import load_subjects
from mrh_monai.errors import OptionError
from mrh_monai.patches.augmentation import Augmentation
from mrh_monai.patches.patch_dataset import PatchBatches, PatchDataset, PatchSource
from mrh_monai.protocol.mr_protocol import MRH_NET


def oracle(volume, centre, axes, radius):
    """One patch by plain slicing of a zero-padded copy: (C, ...)."""
    padded = np.pad(volume, [(radius, radius)] * 3 + [(0, 0)])
    index = [slice(c, c + 2 * radius + 1) if axis in axes else c + radius for axis, c in enumerate(centre)]
    return np.moveaxis(padded[tuple(index)], -1, 0)


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize(("radius", "margin"), [(1, 1), (1, 2), (2, 2)])
def test_gather_equals_slicing(rng, axes, radius, margin):
    volumes = [rng.integers(-99, 99, (*shape, 5)).astype(np.int16) for shape in ((7, 6, 5), (4, 8, 6))]
    source = PatchSource([np.pad(v, [(margin, margin)] * 3 + [(0, 0)]) for v in volumes], margin, axes, radius)
    centres = np.concatenate(
        [np.column_stack([np.full(v[..., 0].size, i), np.argwhere(np.ones(v.shape[:3]))]) for i, v in enumerate(volumes)]
    )
    centres = rng.permutation(centres)
    patches = source.gather(source.locate(centres))
    assert patches.shape == (len(centres), 5, *(2 * radius + 1,) * len(axes))
    assert patches.dtype == torch.int16
    for patch, (index, *centre) in zip(patches.numpy(), centres, strict=True):
        np.testing.assert_array_equal(patch, oracle(volumes[index], centre, axes, radius))


def test_impossible_geometry_is_refused(rng):
    volume = np.zeros((5, 5, 5, 1))
    for axes in ((0,), (0, 0), (2, 0), (0, 3)):
        with pytest.raises(OptionError, match="patch_axes"):
            PatchSource([volume], 1, axes)
    with pytest.raises(OptionError, match="patch_radius: expected at least 1, found 0"):
        PatchSource([volume], 1, radius=0)
    for centre in ([0, 0, 0, 0], [0, 2, 1, 2]):
        with pytest.raises(OptionError, match="expected patches within the volume and its margin of 1, found patches that reach beyond"):
            PatchSource([volume], 1, radius=2).locate(np.array([centre]))
    assert len(PatchSource([volume], 1, radius=2).locate(np.array([[0, 1, 1, 1]])))


@pytest.fixture
def loaded(study):
    return load_subjects(find_subjects(study, target="targets/AF.img"), MRH_NET, need_target=True)


def make(loaded, rng, count=50):
    centres = np.concatenate([np.column_stack([np.full(s.mask.sum(), i), np.argwhere(s.mask)]) for i, s in enumerate(loaded)])
    factors = [(rng.uniform(0.1, 1, 67).astype(np.float32), rng.normal(0, 1, 67).astype(np.float32)) for _ in loaded]
    return PatchDataset(loaded, rng.permutation(centres)[:count], factors, target_max=250.0), factors


def test_dataset_scales_each_subject_by_its_own_factors(loaded, rng):
    dataset, factors = make(loaded, rng)
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
        expected = oracle(loaded[subject].image, centre, (0, 2), 1) * gain + offset
        np.testing.assert_allclose(batch["image"][n], expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(batch["label"][n, 0], oracle(loaded[subject].target[..., None], centre, (0, 2), 1)[0] / 250, rtol=1e-6)


def test_one_by_one_equals_the_batch(loaded, rng):
    dataset, _ = make(loaded, rng)
    batch = dataset.batch(torch.arange(len(dataset)))
    for key in ("image", "label"):
        torch.testing.assert_close(torch.stack([dataset[n][key] for n in range(len(dataset))]), batch[key], rtol=0, atol=0)
    with pytest.raises(IndexError):
        dataset[50]


def test_volumes_are_in_memory_once(loaded, rng):
    dataset, _ = make(loaded, rng)
    assert dataset.images.memory.data_ptr() == loaded[0].padded.base.__array_interface__["data"][0]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_read_the_parents_volumes(loaded, rng, context):
    dataset, _ = make(loaded, rng)
    batches = list(DataLoader(dataset, batch_size=16, num_workers=2, multiprocessing_context=context))
    image = torch.cat([batch["image"] for batch in batches])
    torch.testing.assert_close(image, dataset.batch(torch.arange(50))["image"], rtol=0, atol=0)
    # A spawned worker maps torch's shared memory: the parent's tensor lies there too.
    assert context == "fork" or dataset.images.memory.is_shared()


def test_batches_are_shuffled_by_seed_and_epoch_alone(loaded, rng):
    dataset, _ = make(loaded, rng)

    def labels(batches):
        return torch.cat([batch["label"].flatten(1).sum(1) for batch in batches])

    batches = PatchBatches(dataset, 16, shuffle=True, seed=1)
    assert (len(batches), [len(b["image"]) for b in batches]) == (3, [16, 16, 16])
    first = labels(batches)
    batches.epoch = 2
    second = labels(batches)
    assert not torch.equal(first, second)
    again = PatchBatches(dataset, 16, shuffle=True, seed=1)
    again.epoch = 2
    torch.testing.assert_close(labels(again), second, rtol=0, atol=0)
    assert not torch.equal(labels(PatchBatches(dataset, 16, shuffle=True, seed=2)), first)


def test_unshuffled_batches_keep_every_patch(loaded, rng):
    dataset, _ = make(loaded, rng)
    assert [len(b["image"]) for b in PatchBatches(dataset, 16)] == [16, 16, 16, 2]
    assert [len(b["image"]) for b in PatchBatches(dataset, 64, shuffle=True)] == [50]
    with pytest.raises(OptionError, match="batch_size: expected at least 1, found 0"):
        PatchBatches(dataset, 0)


def test_few_patches_are_passed_over_in_new_orders_until_an_epoch_is_long_enough(loaded, rng):
    dataset, _ = make(loaded, rng, count=10)
    everything = dataset.batch(torch.arange(10))["image"]

    def order(batches):
        return [[int((everything == image).flatten(1).all(1).nonzero()[0, 0]) for image in batch["image"]] for batch in batches]

    batches = PatchBatches(dataset, 4, shuffle=True, seed=3, least=7)
    assert len(batches) == 7
    first = order(batches)
    assert [len(batch) for batch in first] == [4] * 7
    flat = [n for batch in first for n in batch]
    assert sorted(flat[:10]) == sorted(flat[10:20]) == list(range(10))
    assert flat[:10] != flat[10:20]
    assert order(batches) == first
    shrunk = PatchBatches(dataset, 64, shuffle=True, least=3)
    assert [len(batch["image"]) for batch in shrunk] == [10, 10, 10]
    assert len(PatchBatches(dataset, 4, least=7)) == 3  # validation sees each patch once


def test_a_typed_batch_size_that_is_too_large_is_refused(loaded, rng):
    dataset, _ = make(loaded, rng, count=10)
    with pytest.raises(OptionError, match="batch_size: expected at most the 10 patches that there are, found 11"):
        PatchBatches(dataset, 11, shuffle=True, strict=True)
    assert len(PatchBatches(dataset, 10, shuffle=True, strict=True)) == 1


def test_batches_are_augmented_by_seed_and_epoch_alone(loaded, rng):
    dataset, _ = make(loaded, rng, count=20)

    def images(epoch, **options):
        batches = PatchBatches(dataset, 8, shuffle=True, seed=1, **options)
        batches.epoch = epoch
        return torch.cat([batch["image"] for batch in batches])

    mixing = {"augmentation": Augmentation(True, 0.4)}
    assert torch.equal(images(2, **mixing), images(2, **mixing))
    assert not torch.equal(images(2, **mixing), images(2))
    assert not torch.equal(images(2, **mixing), images(3, **mixing))


def test_patches_on_another_device_are_the_same(loaded, rng, monkeypatch):
    """The meta device stands in for one with memory of its own: shapes and places, no numbers."""
    dataset, _ = make(loaded, rng, 2)
    assert dataset.to("cpu") is dataset
    moved = dataset.to("meta")
    batch = moved.batch(torch.tensor([1, 0]))
    assert {key: (value.device.type, value.shape) for key, value in batch.items()} == {
        "image": ("meta", (2, 67, 3, 3)), "label": ("meta", (2, 1, 3, 3)),
    }  # fmt: skip
    monkeypatch.setattr("mrh_monai.patches.patch_dataset._free_memory", lambda device: 100.0)
    assert dataset.to("meta") is dataset


@pytest.mark.parametrize("shuffle", [True, False])
def test_shares_together_are_what_one_process_has(loaded, rng, shuffle):
    dataset, _ = make(loaded, rng, 26)
    whole, *shares = (
        [batch["image"] for batch in PatchBatches(dataset, 6, shuffle, share=share)] for share in ((0, 1), (0, 3), (1, 3), (2, 3))
    )
    if shuffle:
        assert all(torch.equal(torch.cat(parts), one) for one, *parts in zip(whole, *shares, strict=True))
    else:
        assert torch.equal(torch.cat([batch for share in shares for batch in share]), torch.cat(whole))
    with pytest.raises(OptionError, match="batch_size: expected a multiple of the 3 processes that share it, found 7; give --batch_size 6"):
        PatchBatches(dataset, 7, True, share=(0, 3))
