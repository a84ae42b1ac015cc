"""Networks that are trained again on the most important images only, and the scan time that this saves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mrh_monai.errors import OptionError
from mrh_monai.progress import progress_bar
from mrh_monai.protocol import MRProtocol
from mrh_monai.studies import StudyData, TrainingEffort, score_study_network, train_study_network


def scan_minutes(protocol: MRProtocol, chosen: Sequence[int]) -> float | None:
    """Return the minutes that it takes to scan some images; None where the protocol does not say it for every image.

    Args:
        protocol: Channels with their ``minutes``; for MRH-Net's they are known (TR x averages x shots of each scan).
        chosen: Indices of the channels.

    Example:
        >>> from mrh_monai.protocol import MRH_NET
        >>> scan_minutes(MRH_NET, [64, 65])
        124.8
    """
    minutes = [protocol.channels[index].minutes for index in chosen]
    return None if None in minutes else float(sum(value for value in minutes if value is not None))


def check_counts(counts: Sequence[int], channels: int) -> None:
    """Refuse impossible numbers of images.

    Raises:
        OptionError: A number is below 1 or above the number of images.
    """
    wrong = next((count for count in counts if not 1 <= count <= channels), None)
    if wrong is not None:
        raise OptionError("retrain_top", f"numbers from 1 to {channels}, the number of images", f"{wrong}", "give other numbers")


def retrain_on_best_images(
    data: StudyData, ranking: Sequence[int], counts: Sequence[int], effort: TrainingEffort, progress: bool = False
) -> list[dict[str, Any]]:
    """Train networks from scratch on the most important images, and on all images, each for the same steps on the same voxels.

    Args:
        data: Subjects with all images.
        ranking: Indices of the channels, most important first.
        counts: Number of images of each network.
        effort: How each network is trained.
        progress: Whether to show a progress bar on a terminal.

    Returns:
        Rows of ``images``, the headline scores on the test subjects (``r2``, ``rmse``, ``auc``), and ``minutes`` and ``minutes_saved`` of
        scanning, which are None where the protocol does not say them.

    Raises:
        OptionError: A number is below 1 or above the number of images.
    """
    check_counts(counts, len(data.protocol))
    everything = range(len(data.protocol))
    whole = scan_minutes(data.protocol, everything)
    rows = []
    for count in progress_bar(sorted({*counts, len(everything)}), "image", progress):
        chosen = sorted(ranking[:count]) if count < len(everything) else everything
        subset = data.with_channels(chosen) if count < len(everything) else data
        scores = score_study_network(train_study_network(subset.training, subset.protocol, effort), subset.test)
        minutes = scan_minutes(data.protocol, chosen)
        saved = None if minutes is None or whole is None else whole - minutes
        rows.append({"images": count, **scores, "minutes": minutes, "minutes_saved": saved})
    return rows
