import numpy as np
import pytest
import torch

from mrh_monai.errors import OptionError
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.training.optimisation import HalfSquaredError, KnownLabels, OptimizerOptions, make_optimizer, make_schedule


def test_loss_is_half_the_square_summed_over_the_patch_mean_over_the_batch():
    p, t = torch.randn(4, 1, 3, 3), torch.randn(4, 1, 3, 3)
    expected = np.mean(
        [0.5 * sum((float(a) - float(b)) ** 2 for a, b in zip(x.ravel(), y.ravel(), strict=True)) for x, y in zip(p, t, strict=True)]
    )
    assert float(HalfSquaredError()(p, t)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [torch.nn.L1Loss(), torch.nn.HuberLoss(), HalfSquaredError()])
def test_a_label_that_is_not_known_has_no_part_in_the_loss(loss):
    prediction, label = torch.randn(4, 1, 3, 3, requires_grad=True), torch.randn(4, 1, 3, 3)
    assert KnownLabels(loss)(prediction, label).equal(loss(prediction, label))
    hidden = torch.rand(4, 1, 3, 3) < 0.3
    found = KnownLabels(loss)(prediction, torch.where(hidden, torch.nan, label))
    torch.testing.assert_close(found, loss(prediction, torch.where(hidden, prediction.detach(), label)))
    (gradient,) = torch.autograd.grad(found, prediction)
    assert hidden.any()
    assert (gradient[hidden] == 0).all()
    assert gradient.isfinite().all()


def test_clipped_sgd_follows_matlab_step_by_step():
    torch.manual_seed(0)
    network = MRHNet(2, 3, 1, initialisation="he").double()
    optimizer = make_optimizer(network, OptimizerOptions("sgd", 0.1, weight_decay=1e-2, clip_norm=0.01))
    expected = {name: p.detach().clone() for name, p in network.named_parameters()}
    velocity = {name: torch.zeros_like(p) for name, p in expected.items()}
    for _ in range(3):
        loss = network(torch.randn(5, 2, 3, 3, dtype=torch.float64)).square().sum()
        optimizer.zero_grad()
        loss.backward()
        for name, p in network.named_parameters():
            gradient = p.grad + (0 if name.endswith("bias") else 1e-2) * expected[name]
            gradient = gradient * min(1, 0.01 / float(gradient.norm()))
            velocity[name] = 0.9 * velocity[name] + gradient
            expected[name] = expected[name] - 0.1 * velocity[name]
        optimizer.step()
        for name, p in network.named_parameters():
            torch.testing.assert_close(p.detach(), expected[name], rtol=1e-9, atol=1e-12)


def test_only_weights_decay():
    for name in ("adamw", "sgd"):
        weights, biases = make_optimizer(MRHNet(2, 3, 1), OptimizerOptions(name, 0.1, weight_decay=0.5)).param_groups
        assert (weights["weight_decay"], biases["weight_decay"]) == (0.5, 0)
        assert all(p.ndim == 1 for p in biases["params"])


def rates(name, epochs, steps):
    optimizer = make_optimizer(MRHNet(2, 3, 0), OptimizerOptions("sgd", 0.1))
    schedule = make_schedule(optimizer, name, epochs, steps)
    found = []
    for _ in range(epochs * steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return np.array(found).reshape(epochs, steps)


def test_drop_is_a_tenth_every_ten_epochs():
    np.testing.assert_allclose(rates("drop", 25, 3), np.repeat([0.1, 0.01, 0.001], [10, 10, 5])[:, None] * np.ones(3))


def test_one_cycle_rises_for_a_quarter_and_ends_near_zero():
    found = rates("one_cycle", 4, 25).ravel()
    assert 24 <= found.argmax() <= 26
    assert found.max() == pytest.approx(0.1, rel=1e-2)
    assert found[-1] < 1e-4


@pytest.mark.parametrize("steps", range(1, 9))
def test_one_cycle_of_any_length(steps):
    assert (rates("one_cycle", 1, steps) > 0).all()


def test_unknown_names_are_refused():
    with pytest.raises(OptionError, match="optimizer: expected adamw or sgd, found 'adam'"):
        OptimizerOptions("adam", 0.1)
    with pytest.raises(OptionError, match="schedule: expected drop or one_cycle, found 'cosine'"):
        make_schedule(make_optimizer(MRHNet(2, 3, 0), OptimizerOptions("sgd", 0.1)), "cosine", 1, 1)
    with pytest.raises(OptionError, match="learning_rate: expected a positive number, found 0"):
        OptimizerOptions("sgd", 0)
