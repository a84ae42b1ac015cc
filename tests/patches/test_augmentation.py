import numpy as np
import pytest
import torch

from mrh_monai.patches.augmentation import Augmentation


@pytest.fixture
def batch(rng):
    return {name: torch.from_numpy(rng.normal(0, 1, (64, count, 3, 3)).astype(np.float32)) for name, count in (("image", 5), ("label", 1))}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_nothing_is_done_unless_asked_for(batch):
    same = Augmentation()(batch, generator())
    assert all(torch.equal(same[key], batch[key]) for key in batch)


def test_mirroring_turns_images_and_stain_alike_and_keeps_the_centre(batch):
    seen = set()
    for seed in range(20):
        turned = Augmentation(mirror=True)(batch, generator(seed))
        axes = next(a for a in ((), (2,), (3,), (2, 3)) if torch.equal(turned["image"], batch["image"].flip(a)))
        assert torch.equal(turned["label"], batch["label"].flip(axes))
        assert torch.equal(turned["image"][:, :, 1, 1], batch["image"][:, :, 1, 1])
        seen.add(axes)
    assert seen == {(), (2,), (3,), (2, 3)}


def test_mixing_averages_pairs_of_patches_and_their_stains_with_one_weight(batch):
    mixed = Augmentation(mixup=0.4)(batch, generator(3))
    weights = []
    for n in range(64):
        # the partner is the one patch for which images and stain agree on a weight
        for m in range(64):
            a, b = batch["image"][n], batch["image"][m]
            if n == m:
                continue
            weight = ((mixed["image"][n] - b) * (a - b)).sum() / ((a - b) ** 2).sum()
            if torch.allclose(mixed["image"][n], torch.lerp(b, a, weight), atol=1e-5):
                torch.testing.assert_close(mixed["label"][n], torch.lerp(batch["label"][m], batch["label"][n], weight), atol=1e-4, rtol=0)
                weights.append(float(weight))
                break
    assert len(weights) > 55
    assert all(-1e-4 <= weight <= 1 + 1e-4 for weight in weights)


def test_weights_follow_the_beta_distribution():
    ones = {"image": torch.zeros(20_000, 1, 3, 3), "label": torch.zeros(20_000, 1, 3, 3)}
    ones["image"][:10_000] = 1
    mixed = Augmentation(mixup=0.4)(ones, generator())["image"][:, 0, 1, 1]
    between = mixed[(mixed > 0) & (mixed < 1)]
    assert between.mean() == pytest.approx(0.5, abs=0.02)
    assert between.var() == pytest.approx(0.25 / (2 * 0.4 + 1), rel=0.05)  # of Beta(a, a)


def test_the_same_generator_gives_the_same_batch(batch):
    one, same, other = (Augmentation(True, 0.4)(batch, generator(seed))["image"] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
