"""What the published recipes need and torch lacks: their loss, their optimizer, their schedules by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, StepLR

from mrh_monai.errors import OptionError


class HalfSquaredError(nn.Module):
    """Half the squared error summed over a patch, mean over the batch: MATLAB's `regressionLayer`, as the released code uses it."""

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Two tensors (B, 1, 3, 3) to a scalar."""
        return 0.5 * (prediction - target).square().sum() / len(prediction)


class ClippedSGD(torch.optim.SGD):
    """SGD whose gradient is clipped to an l2 norm one parameter tensor at a time, behind the weight decay, as MATLAB's `trainNetwork` does.

    Args:
        params: As `torch.optim.SGD`.
        clip_norm: Largest norm of each parameter's gradient (``GradientThreshold`` with method ``l2norm``).
        options: As `torch.optim.SGD`; its weight decay belongs into the parameter groups.
    """

    def __init__(self, params: Iterable[Any], clip_norm: float, **options: Any):
        self.clip_norm = clip_norm
        super().__init__(params, **options)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; the gradients are changed in place."""
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
        return result


def weights_and_biases(network: nn.Module, weight_decay: float, head: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Parameter groups: weights with decay, biases without, as MATLAB's L2 regularisation has it; those of the head apart.

    Args:
        network: Whose trainable parameters.
        weight_decay: Of the weights.
        head: Names of parameters that learn at another rate.

    Returns:
        Groups with ``params``, ``weight_decay`` and ``is_head``; empty ones are left out.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name in head, name.endswith("bias")), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": 0.0 if is_bias else weight_decay, "is_head": is_head}
        for (is_head, is_bias), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def make_optimizer(
    network: nn.Module,
    name: str,
    learning_rate: float,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    clip_norm: float | None = None,
    head: Sequence[str] = (),
    head_factor: float = 1.0,
) -> torch.optim.Optimizer:
    """An optimizer over all trainable parameters; only weights decay.

    Args:
        network: Whose parameters.
        name: ``adamw`` or ``sgd``.
        learning_rate: At its highest.
        weight_decay: Decoupled for AdamW, an L2 term of the gradient for SGD.
        momentum: Of SGD.
        clip_norm: Per-parameter gradient norm for SGD; None for none.
        head: Names of parameters that learn at ``head_factor`` times the rate.
        head_factor: See ``head``.

    Raises:
        OptionError: The name is unknown, or the learning rate is not positive.
    """
    if not learning_rate > 0:
        raise OptionError("learning_rate", "a positive number", f"{learning_rate}", "give a larger one")
    groups = weights_and_biases(network, weight_decay, head)
    for group in groups:
        group["lr"] = learning_rate * (head_factor if group.pop("is_head") else 1)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=learning_rate)
    if name == "sgd" and clip_norm is not None:
        return ClippedSGD(groups, clip_norm, lr=learning_rate, momentum=momentum)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum)
    raise OptionError("optimizer", "adamw or sgd", repr(name), "choose one of the two")


def make_schedule(optimizer: torch.optim.Optimizer, name: str, epochs: int, steps_per_epoch: int) -> LRScheduler:
    """A learning-rate schedule that is stepped once an iteration.

    Args:
        optimizer: Whose learning rate.
        name: ``drop``: x0.1 every 10 epochs, as published; ``one_cycle``: up over the first quarter, then down to nearly 0.
        epochs: Epochs in all.
        steps_per_epoch: Iterations an epoch.

    Raises:
        OptionError: The name is unknown.
    """
    if name == "drop":
        return StepLR(optimizer, step_size=10 * steps_per_epoch, gamma=0.1)
    if name == "one_cycle":
        highest = [group["lr"] for group in optimizer.param_groups]
        # One step more than there are, since MONAI's handler steps once again behind the last iteration; and 8 at least, since torch
        # divides by the length of the rise.
        return OneCycleLR(optimizer, highest, total_steps=max(epochs * steps_per_epoch + 1, 8), pct_start=0.25)
    raise OptionError("schedule", "drop or one_cycle", repr(name), "choose one of the two")


def shipped_recipe(name: str) -> dict[str, Any]:
    """A recipe as the bundles' `train.yaml` has it, its loss as text.

    Args:
        name: ``fast``, ``paper`` or ``released``.
    """
    template = Path(__file__).parents[1] / "bundle" / "template" / "configs" / "train.yaml"
    return yaml.safe_load(template.read_text())["recipes"][name]
