"""The parts of training that the published recipes need and PyTorch does not have: loss, optimizer and learning-rate schedules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, StepLR

from mrh_monai.errors import OptionError, one_of

OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("drop", "one_cycle")


@dataclass(frozen=True)
class OptimizerOptions:
    """How weights are changed from step to step.

    Attributes:
        name: ``adamw`` or ``sgd``.
        learning_rate: Highest learning rate of the schedule, above 0.
        weight_decay: Decay of the weights: decoupled for AdamW, an L2 term of the gradient for SGD. Biases do not decay.
        momentum: Momentum of SGD; AdamW does not use it.
        clip_norm: Largest l2 norm of each parameter's gradient, for SGD; None for no limit.
        head_factor: Number by which the learning rate is multiplied for the parameters that are new.

    Raises:
        OptionError: The name is unknown, or the learning rate is not positive.
    """

    name: str
    learning_rate: float
    weight_decay: float = 0.0
    momentum: float = 0.9
    clip_norm: float | None = None
    head_factor: float = 1.0

    def __post_init__(self) -> None:
        one_of("optimizer", self.name, OPTIMIZERS)
        if not self.learning_rate > 0:
            raise OptionError("learning_rate", "a positive number", f"{self.learning_rate}", "give a larger learning rate")


class KnownLabels(nn.Module):
    """A loss that leaves out the voxels of a patch whose label is not known, which is NaN: torn tissue, and slices of another section.

    Such a voxel counts as one that is predicted without an error, and no gradient comes from it.

    Args:
        loss: Function from predictions and labels (B, 1, 3, 3) to the loss.

    Example:
        >>> label = torch.tensor([[[[1.0, float("nan")]]]])
        >>> float(KnownLabels(nn.L1Loss(reduction="sum"))(torch.tensor([[[[3.0, 7.0]]]]), label))
        2.0
    """

    def __init__(self, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]):
        super().__init__()
        self.loss = loss

    def forward(self, prediction: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Return the loss, a scalar, of two tensors (B, 1, 3, 3)."""
        known = ~label.isnan()
        return self.loss(torch.where(known, prediction, 0.0), torch.where(known, label, 0.0))


class HalfSquaredError(nn.Module):
    """Half the squared error, summed over a patch, mean over the batch: MATLAB's `regressionLayer`, which the released code uses.

    Example:
        >>> float(HalfSquaredError()(torch.ones(2, 1, 3, 3), torch.zeros(2, 1, 3, 3)))
        4.5
    """

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss, a scalar, of two tensors (B, 1, 3, 3)."""
        return 0.5 * (prediction - target).square().sum() / len(prediction)


class ClippedSGD(torch.optim.SGD):
    """SGD that clips the gradient of each parameter tensor to an l2 norm, after the weight decay, as MATLAB's `trainNetwork` does.

    Args:
        params: Parameter groups, see `torch.optim.SGD`; each has its own ``weight_decay``.
        clip_norm: Largest norm of each parameter's gradient (``GradientThreshold`` with the method ``l2norm``).
        options: Options of `torch.optim.SGD`.
    """

    def __init__(self, params: Iterable[Any], clip_norm: float, **options: Any):
        self.clip_norm = clip_norm
        super().__init__(params, **options)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; the gradients are changed in place."""
        for group in self.param_groups:
            decay, group["weight_decay"] = group["weight_decay"], 0
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.add_(parameter, alpha=decay)
                    norm = parameter.grad.norm()
                    parameter.grad.mul_(torch.clamp(self.clip_norm / (norm + 1e-12), max=1))
            group["decay"] = decay
        result = super().step(closure)
        for group in self.param_groups:
            group["weight_decay"] = group.pop("decay")
        return cast("float | None", result)


def weights_and_biases(network: nn.Module, weight_decay: float, head: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Divide the trainable parameters of a network into groups: only weights decay, as in MATLAB's L2 regularisation.

    Args:
        network: The network.
        weight_decay: Decay of the weights.
        head: Names of parameters that learn at another rate.

    Returns:
        Groups with ``params``, ``weight_decay`` and ``is_head``; empty groups are left out.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name in head, name.endswith("bias")), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": 0.0 if is_bias else weight_decay, "is_head": is_head}
        for (is_head, is_bias), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def make_optimizer(network: nn.Module, options: OptimizerOptions, head: Sequence[str] = ()) -> torch.optim.Optimizer:
    """Return an optimizer of all trainable parameters of a network.

    Args:
        network: The network.
        options: Kind of the optimizer, its learning rate and so on.
        head: Names of the parameters that learn at ``options.head_factor`` times the learning rate.

    Example:
        >>> optimizer = make_optimizer(nn.Linear(3, 1), OptimizerOptions("adamw", 0.002, weight_decay=1.0))
        >>> [group["weight_decay"] for group in optimizer.param_groups]
        [1.0, 0.0]
    """
    rate = options.learning_rate
    groups = weights_and_biases(network, options.weight_decay, head)
    for group in groups:
        group["lr"] = rate * (options.head_factor if group.pop("is_head") else 1)
    if options.name == "adamw":
        return torch.optim.AdamW(groups, lr=rate)
    if options.clip_norm is not None:
        return ClippedSGD(groups, options.clip_norm, lr=rate, momentum=options.momentum)
    return torch.optim.SGD(groups, lr=rate, momentum=options.momentum)


def make_schedule(optimizer: torch.optim.Optimizer, name: str, epochs: int, steps_per_epoch: int) -> LRScheduler:
    """Return a learning-rate schedule that is stepped once an iteration.

    Args:
        optimizer: The optimizer whose learning rate changes.
        name: ``drop``: x0.1 every 10 epochs, as published; ``one_cycle``: up over the first quarter of the training, then down to nearly 0.
        epochs: Number of epochs of the whole training.
        steps_per_epoch: Number of iterations of an epoch.

    Raises:
        OptionError: The name is unknown.
    """
    one_of("schedule", name, SCHEDULES)
    if name == "drop":
        return StepLR(optimizer, step_size=10 * steps_per_epoch, gamma=0.1)
    highest = [group["lr"] for group in optimizer.param_groups]
    # One step more than the training has, because MONAI's handler steps once more after the last iteration. At least 8 steps, because
    # PyTorch divides by the length of the rise.
    return OneCycleLR(optimizer, highest, total_steps=max(epochs * steps_per_epoch + 1, 8), pct_start=0.25)
