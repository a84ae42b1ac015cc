"""Which maps the channels of a subject allow, and computing them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrh_monai.errors import MRHWarning, SubjectError
from mrh_monai.io import Header
from mrh_monai.maps.gradient_files import gradients_of
from mrh_monai.maps.gradient_table import GradientTable
from mrh_monai.maps.map_families import MapFamily, MeanKurtosis, T2Weighted, TensorMaps, TransferRatio, allows_kurtosis, allows_tensor
from mrh_monai.protocol import MT_OFF, MT_ON, T2, UNWEIGHTED_BELOW, MRProtocol

VOXELS_AT_ONCE = 100_000


@dataclass(frozen=True)
class MapPlan:
    """The maps that the channels of a subject allow.

    Attributes:
        families: Maps that are computed together, in the order of the results.
        gradients: Gradient table of the diffusion volumes; None without diffusion volumes.
        diffusion: Channels of the diffusion volumes.
    """

    families: tuple[MapFamily, ...]
    gradients: GradientTable | None
    diffusion: tuple[int, ...]

    @property
    def names(self) -> list[str]:
        """Names of the maps, in the order of the results: ``fa_1900`` is the FA of the shell near b = 1900 s/mm^2."""
        return [name for family in self.families for name in family.names]


def plan_maps(headers: Sequence[Header], protocol: MRProtocol | None, gradients: Sequence[Path | str] = ()) -> MapPlan:
    """Return the maps that the files of a subject allow.

    Args:
        headers: Headers of its image files, in the order of the protocol.
        protocol: Names of its channels; None where all are diffusion volumes.
        gradients: Files of gradient tables, see `gradients_of`.

    Raises:
        SubjectError: Diffusion volumes have no gradient table, or the files allow no map.
    """
    names = [] if protocol is None else protocol.names
    families: list[MapFamily] = []
    if T2 in names:
        families.append(T2Weighted(names.index(T2)))
    if MT_ON in names and MT_OFF in names:
        families.append(TransferRatio(names.index(MT_ON), names.index(MT_OFF)))
    table: GradientTable | None = None
    diffusion: list[int] = []
    if protocol is None or gradients or not families or protocol.diffusion:
        table, diffusion = gradients_of(headers, protocol, gradients)
        families += _diffusion_families(table, tuple(diffusion))
    if not families:
        found = "an unweighted volume and at least six directions of a shell"
        expected = f"a T2-weighted image, a pair with MT on and off, or {found}"
        raise SubjectError(headers[0].path, expected, "other images only", "add the scans that the map needs")
    return MapPlan(tuple(families), table, tuple(diffusion))


def _diffusion_families(table: GradientTable, channels: tuple[int, ...]) -> list[MapFamily]:
    families: list[MapFamily] = []
    if table.shells and not table.unweighted.any():
        expected = f"an unweighted volume, with b below {UNWEIGHTED_BELOW:g} s/mm^2, besides the weighted ones"
        found = f"the shells at b = {', '.join(map(str, table.shells))} only"
        raise SubjectError(table.source, expected, found, "add the unweighted volume of the scan, and its row in the gradient table")
    for shell, members in table.shells.items():
        volumes = table.fitted_with(members)
        if not (table.unweighted & np.isin(table.scans, table.scans[members])).any():
            sentence = f"{table.source}: the scan of b = {shell} s/mm^2 has no unweighted volume; those of the other scans are used."
            warnings.warn(sentence, MRHWarning, stacklevel=3)
        if allows_tensor(table, volumes):
            families.append(TensorMaps(shell, table, volumes, channels))
        else:
            sentence = f"{table.source}: the shell at b = {shell} s/mm^2 has too few directions for a tensor."
            warnings.warn(sentence, MRHWarning, stacklevel=3)
    return [*families, MeanKurtosis(table, channels)] if allows_kurtosis(table) else families


def fit_maps(signals: np.ndarray, plan: MapPlan) -> dict[str, np.ndarray]:
    """Compute the maps of some voxels.

    Args:
        signals: (N, C) raw intensities.
        plan: Result of `plan_maps`.

    Returns:
        Each map (N,) float32. `map_families.py` says what each map is, and in which units.
    """
    maps = {name: np.empty(len(signals), np.float32) for name in plan.names}
    stored = signals[:, list(plan.diffusion)]
    floor = float(stored[stored > 0].min()) if (stored > 0).any() else 1.0
    for start in range(0, len(signals), VOXELS_AT_ONCE):
        chunk = slice(start, start + VOXELS_AT_ONCE)
        for family in plan.families:
            for name, values in family.compute(signals[chunk], floor).items():
                maps[name][chunk] = values
    return maps
