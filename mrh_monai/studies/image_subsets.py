"""Networks that make do with the images that matter most, and the scan time that this saves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from mrh_monai.errors import OptionError
from mrh_monai.protocol import MRProtocol
from mrh_monai.studies.study_networks import StudyData, score_small, train_small


def scan_minutes(protocol: MRProtocol, chosen: Sequence[int]) -> float | None:
    """Minutes that some images take; None where the protocol does not say for one of them.

    Args:
        protocol: With ``minutes`` of its channels; of MRH-Net's they are known (TR x averages x shots of each scan).
        chosen: Indices of channels.
    """
    minutes = [protocol.channels[index].minutes for index in chosen]
    return None if None in minutes else float(sum(value for value in minutes if value is not None))


def check_counts(counts: Sequence[int], channels: int) -> None:
    """Refuse subsets that are none.

    Raises:
        OptionError: A number is below 1 or above the number of images.
    """
    wrong = next((count for count in counts if not 1 <= count <= channels), None)
    if wrong is not None:
        raise OptionError("--retrain-top", f"numbers from 1 to {channels}, the number of images", f"{wrong}", "give others")


def retrain_top(
    data: StudyData,
    ranking: Sequence[int],
    counts: Sequence[int],
    *,
    patches: int,
    steps: int,
    residual_blocks: int,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> list[dict[str, Any]]:
    """Train networks from scratch on the most important images, and on all of them, each for the same steps on the same voxels.

    Args:
        data: Subjects with all images.
        ranking: Indices of channels, most important first.
        counts: How many of them each network gets.
        patches: Patches drawn for training.
        steps: Optimiser steps.
        residual_blocks: B.
        seed: Of patches and weights.
        device: Where to compute.
        progress: Wraps the iteration over subsets.

    Returns:
        Rows of ``images``, ``r2``, ``rmse``, ``auc`` on the test subjects, and ``minutes`` and ``minutes_saved`` of scanning, None where
        unknown.

    Raises:
        OptionError: A number is below 1 or above the number of images.
    """
    check_counts(counts, len(data.protocol))
    everything = range(len(data.protocol))
    whole = scan_minutes(data.protocol, everything)
    rows = []
    for count in progress(sorted({*counts, len(everything)})):
        chosen = sorted(ranking[:count]) if count < len(everything) else everything
        subset = data.with_channels(chosen) if count < len(everything) else data
        options: dict[str, Any] = {"patches": patches, "steps": steps, "residual_blocks": residual_blocks, "seed": seed, "device": device}
        scores = score_small(train_small(subset.training, subset.protocol, **options), subset.test, device=device)
        minutes = scan_minutes(data.protocol, chosen)
        saved = None if minutes is None or whole is None else whole - minutes
        rows.append({"images": count, **scores, "minutes": minutes, "minutes_saved": saved})
    return rows
