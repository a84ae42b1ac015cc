"""The fit of an interval head to the errors of a network."""

from __future__ import annotations

import copy

import torch

from mrh_monai.network import IntervalHead, MRHNet
from mrh_monai.patches import PatchBatches, PatchDataset

BATCH, EPOCHS, LEARNING_RATE, WEIGHT_DECAY = 512, 20, 0.003, 0.1
CHECKED = 0.1  # share of the voxels on which the best epoch is chosen
FEATURE_BATCH = 4096


def fit_interval_head(network: MRHNet, patches: PatchDataset, seed: int = 0) -> IntervalHead:
    """Fit an interval head to the errors of a network, which stays as it is.

    The logarithm of the expected error is fitted by the likelihood of Laplace's distribution, so that a few large errors do not rule it.

    Args:
        network: Trained network.
        patches: Patches of training subjects, best of voxels that the network was not trained on; a tenth chooses the best epoch.
        seed: Random seed of the weights and of the order of the patches.

    Returns:
        The head, on the CPU.
    """
    by_position, errors = features_and_errors(network, patches)
    head, features = IntervalHead(*by_position.shape[1:]), by_position.flatten(1)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in (head.first, head.last):
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            torch.nn.init.zeros_(layer.bias)
        torch.nn.init.zeros_(head.last.weight)
    head.mean.copy_(features.mean(0))
    head.deviation.copy_(features.std(0).clamp_min(1e-6) + 1e-3 * features.std())
    head.median_error.copy_(errors.abs().median().clamp_min(1e-6))
    order = torch.randperm(len(errors), generator=generator)
    count = int(CHECKED * len(order))
    checked, used = order[:count], order[count:]
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = EPOCHS * -(-len(used) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps + 1, pct_start=0.2)
    best, best_state = float("inf"), copy.deepcopy(head.state_dict())
    for _ in range(EPOCHS):
        shuffled = used[torch.randperm(len(used), generator=generator)]
        for start in range(0, len(used), BATCH):
            chosen = shuffled[start : start + BATCH]
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(_unlikelihood(head(features[chosen]), errors[chosen]))
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            found = float(_unlikelihood(head(features[checked]), errors[checked]))
        if found < best:
            best, best_state = found, copy.deepcopy(head.state_dict())
    head.load_state_dict(best_state)
    return head.eval()


@torch.no_grad()
def features_and_errors(network: MRHNet, patches: PatchDataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the last features (V, 9, F) around the V centre voxels, and prediction minus stain (V,), both scaled, on the CPU."""
    device = next(network.parameters()).device
    network.eval()
    found = []
    for batch in PatchBatches(patches, FEATURE_BATCH):
        features = network.last_features(network.conv1(batch["image"].to(device)))
        stain, label = network.conv5(features).flatten(1), batch["label"].flatten(1).to(device)
        error = stain[:, stain.shape[1] // 2] - label[:, stain.shape[1] // 2]
        found.append((features.flatten(2).transpose(1, 2).cpu(), error.cpu()))
    return torch.cat([features for features, _ in found]), torch.cat([errors for _, errors in found])


def _unlikelihood(expected: torch.Tensor, errors: torch.Tensor) -> torch.Tensor:
    """Return the mean negative logarithm of the likelihood of errors, if they follow Laplace's distribution of the expected size."""
    return (errors.abs() / expected + expected.log()).mean()
