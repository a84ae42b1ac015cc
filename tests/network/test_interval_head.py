import copy
import math

import pytest
import torch

from helpers.random_weights import random_head, random_network
from mrh_monai.network.folded_network import FoldedMRHNet, centre_predictor
from mrh_monai.network.interval_head import LEAST, MOST, FoldedIntervalHead, IntervalHead, IntervalNetwork


def patches(count, channels=5, dims=2, width=3):
    return torch.randn(count, channels, *(width,) * dims, generator=torch.Generator().manual_seed(1))


def by_hand(network, head, patch):
    """The two numbers of one patch, in float64 and voxel by voxel."""
    network, head = copy.deepcopy(network).double(), copy.deepcopy(head).double()
    with torch.no_grad():
        features = network.last_features(network.conv1(patch.double()[None]))[0]
        voxels = [features[(slice(None), *place)] for place in torch.cartesian_prod(*(torch.arange(n) for n in features.shape[1:]))]
        standard = [(value - m) / d for value, m, d in zip(torch.cat(voxels), head.mean, head.deviation, strict=True)]
        hidden = [
            max(0.0, float(sum(w * s for w, s in zip(row, standard, strict=True)) + b))
            for row, b in zip(head.first.weight, head.first.bias, strict=True)
        ]
        logarithm = float(sum(w * h for w, h in zip(head.last.weight[0], hidden, strict=True)) + head.last.bias[0])
        stain = network(patch.double()[None])[0, 0]
    return float(stain[tuple(size // 2 for size in stain.shape)]), float(head.median_error) * math.exp(
        min(max(logarithm, math.log(LEAST)), math.log(MOST))
    )


@pytest.mark.parametrize(("dims", "width"), [(2, 3), (3, 3), (2, 5)])
def test_it_computes_what_it_says(dims, width):
    network, head = random_network(5, 8, 1, dims), random_head(8, width**dims)
    both, x = IntervalNetwork(network, head), patches(4, dims=dims, width=width)
    with torch.inference_mode():
        expected = torch.tensor([by_hand(network, head, patch) for patch in x])
        assert expected[:, 1].std() > 1e-3 * expected[:, 1].mean()
        torch.testing.assert_close(both(x), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(centre_predictor(both, x.shape[2:])(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("count", [0, 1, 255, 256, 600])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_head_changes_no_bit_of_the_stain(dims, count, threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    network, x = random_network(5, 8, 2, dims), patches(count, dims=dims)
    both = IntervalNetwork(network, random_head(8, 3**dims))
    with torch.inference_mode():
        for plain in (network, FoldedMRHNet(network)):
            found = centre_predictor(IntervalNetwork(plain, both.head), x.shape[2:])(x)
            assert found.shape == (count, 2)
            assert torch.equal(found[:, 0], centre_predictor(plain, x.shape[2:])(x))
            torch.testing.assert_close(found[:, 1], both(x)[:, 1], rtol=1e-4, atol=1e-6)


def test_the_head_changes_no_bit_of_the_stain_in_bf16():
    network, head, x = random_network(5, 8, 2), random_head(8), patches(40)
    with torch.inference_mode():
        found = centre_predictor(IntervalNetwork(network, head), (3, 3), torch.bfloat16)(x)
        assert torch.equal(found[:, 0], centre_predictor(network, (3, 3), torch.bfloat16)(x))
        torch.testing.assert_close(found[:, 1], IntervalNetwork(network, head)(x)[:, 1], rtol=0.02, atol=1e-3)


def test_a_network_with_hooks_keeps_its_own_way():
    network, head, x = random_network(5, 8, 1), random_head(8), patches(6)
    network.conv5.register_forward_hook(lambda module, given, found: found + 1)
    both = IntervalNetwork(network, head)
    with torch.inference_mode():
        assert torch.equal(centre_predictor(both, (3, 3))(x), both(x))
        torch.testing.assert_close(both(x)[:, 0], network(x)[:, 0, 1, 1])


def test_expected_errors_have_limits():
    head = IntervalHead(1, 1)
    head.median_error.fill_(3.0)
    with torch.no_grad():
        assert head.expected(torch.tensor([-99.0, 0.0, 99.0])).tolist() == pytest.approx([3 * LEAST, 3.0, 3 * MOST])


def test_the_folded_head_is_folded_once():
    head, features = random_head(4), torch.rand(2, 9, 5, 4)
    folded = FoldedIntervalHead(head)
    with torch.inference_mode():
        expected = head(features.transpose(1, 2).flatten(2).flatten(0, 1))
        torch.testing.assert_close(folded(features), expected, rtol=1e-4, atol=1e-6)
        before = folded(features)
    with torch.no_grad():
        head.first.weight.zero_()
    with torch.inference_mode():
        assert torch.equal(folded(features), before)
