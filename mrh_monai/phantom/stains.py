"""Stains of the digital mouse brain: AF, NF and MBP as functions of the latent maps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

STAIN_FILES = {"af": "AllenPathology2P60", "nf": "NF", "mbp": "MBP"}


def stain_intensities(maps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the three stains of voxels with the given tissue densities.

    Autofluorescence is masked by myelin. It is highest at a middling density of cells, and lower in layers without cells and in densely
    packed ones, so that a weighted sum of images follows it poorly. Neurofilament saturates with axons and is weaker between cells. MBP is
    a Hill curve of myelin, weighted by the axons that the myelin wraps.

    Args:
        maps: ``axon``, ``myelin``, ``cells`` and ``fluid``, all of one shape, in [0, 1]; see `Tissue`.

    Returns:
        ``af``, ``nf`` and ``mbp``, each of the maps' shape, float32 in [0, 1].

    Source:
        The functions are chosen by hand. They are not measured.

    Example:
        >>> white, fluid = (0.7, 0.8, 0.1, 0.0), (0.0, 0.0, 0.0, 1.0)
        >>> maps = dict(zip(("axon", "myelin", "cells", "fluid"), np.array([white, fluid]).T))
        >>> {name: [f"{value:.2f}" for value in values] for name, values in stain_intensities(maps).items()}
        {'af': ['0.05', '0.00'], 'nf': ['0.84', '0.00'], 'mbp': ['0.77', '0.00']}
    """
    axon, myelin, cells, fluid = (maps[name] for name in ("axon", "myelin", "cells", "fluid"))
    hump = np.exp(-(((cells - 0.60) / 0.42) ** 2))
    af = (1 - fluid) * (0.12 + 0.80 * hump * (1 - 0.3 * axon)) / (1 + (myelin / 0.40) ** 2)
    nf = (1 - fluid) * axon / (axon + 0.25) * (1 - 0.5 * cells) * 1.2
    mbp = (1 - fluid) * myelin**2 / (myelin**2 + 0.35**2) * (0.5 + 0.6 * axon)
    return {name: np.clip(value, 0, 1).astype(np.float32) for name, value in (("af", af), ("nf", nf), ("mbp", mbp))}
