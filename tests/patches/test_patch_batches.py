import pytest
import torch

from helpers.patch_sets import random_patches
from mrh_monai.errors import OptionError
from mrh_monai.patches.augmentation import Augmentation
from mrh_monai.patches.patch_batches import PatchBatches


def test_batches_are_shuffled_by_seed_and_epoch_alone(loaded, rng):
    dataset, _ = random_patches(loaded, rng)

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
    dataset, _ = random_patches(loaded, rng)
    assert [len(b["image"]) for b in PatchBatches(dataset, 16)] == [16, 16, 16, 2]
    assert [len(b["image"]) for b in PatchBatches(dataset, 64, shuffle=True)] == [50]
    with pytest.raises(OptionError, match="batch_size: expected at least 1, found 0"):
        PatchBatches(dataset, 0)


def test_few_patches_are_passed_over_in_new_orders_until_an_epoch_is_long_enough(loaded, rng):
    dataset, _ = random_patches(loaded, rng, count=10)
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


def test_batches_are_augmented_by_seed_and_epoch_alone(loaded, rng):
    dataset, _ = random_patches(loaded, rng, count=20)

    def images(epoch, **options):
        batches = PatchBatches(dataset, 8, shuffle=True, seed=1, **options)
        batches.epoch = epoch
        return torch.cat([batch["image"] for batch in batches])

    mixing = {"augmentation": Augmentation(True, 0.4)}
    assert torch.equal(images(2, **mixing), images(2, **mixing))
    assert not torch.equal(images(2, **mixing), images(2))
    assert not torch.equal(images(2, **mixing), images(3, **mixing))


@pytest.mark.parametrize("shuffle", [True, False])
def test_shares_together_are_what_one_process_has(loaded, rng, shuffle):
    dataset, _ = random_patches(loaded, rng, 26)
    whole, *shares = (
        [batch["image"] for batch in PatchBatches(dataset, 6, shuffle, share=share)] for share in ((0, 1), (0, 3), (1, 3), (2, 3))
    )
    if shuffle:
        assert all(torch.equal(torch.cat(parts), one) for one, *parts in zip(whole, *shares, strict=True))
    else:
        assert torch.equal(torch.cat([batch for share in shares for batch in share]), torch.cat(whole))
    assert PatchBatches(dataset, 6, True, share=(1, 3)).process_batch_size == 2
    with pytest.raises(OptionError, match="batch_size: expected a multiple of the 3 processes that share it, found 7; give --batch_size 6"):
        PatchBatches(dataset, 7, True, share=(0, 3))
