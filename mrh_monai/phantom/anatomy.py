"""Anatomy of the digital mouse brain: maps of tissue densities and fibre directions, painted one region over another.

Places and proportions follow the mouse brain in outline only. The brain is an aid for tests and demonstrations, not an atlas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrh_monai.phantom.coordinates import Place, Value

CORTEX_THICKNESS = 0.34
# Cortical layers I to VI: relative depths, and the densities of cells, axons and myelin at these depths.
LAYER_DEPTH = (0.0, 0.10, 0.15, 0.36, 0.41, 0.50, 0.56, 0.70, 0.76, 1.0)
LAYER_CELLS = (0.10, 0.14, 0.52, 0.46, 0.72, 0.68, 0.30, 0.34, 0.56, 0.48)
LAYER_AXON = (0.16, 0.14, 0.08, 0.12, 0.16, 0.18, 0.26, 0.24, 0.22, 0.34)
LAYER_MYELIN = (0.20, 0.16, 0.05, 0.08, 0.14, 0.18, 0.22, 0.20, 0.20, 0.36)
MAP_NAMES = ("axon", "myelin", "cells", "fluid", "iron")


@dataclass
class Tissue:
    """Latent maps of the voxels inside a brain.

    Attributes:
        maps: One map for each of `MAP_NAMES`, (N,) float32 in [0, 1]: relative densities of axons, myelin and cell bodies, volume
            fraction of free fluid, and relative iron content.
        direction: Fibre axes (3, N), float32, unit vectors (x, y, z) whose sign has no meaning.
    """

    maps: dict[str, np.ndarray]
    direction: np.ndarray

    def paint(self, weight: np.ndarray, direction: tuple[Value, Value, Value] | None = None, **values: Value) -> None:
        """Mix one region over the maps as they are: map <- map + weight (value - map).

        Args:
            weight: (N,) in [0, 1], the region's share of each voxel.
            direction: Components x, y, z of the region's fibre axis, scalars or (N,); None leaves the axes as they are.
            **values: Value of each map in the region, scalar or (N,). A map without a value goes to 0; only iron then stays as it is.
        """
        for name, old in self.maps.items():
            if name in values or name != "iron":
                old += weight * (values.get(name, 0.0) - old)
        if direction is not None:
            for old, new in zip(self.direction, direction, strict=True):
                old += weight * (new - old)


def make_tissue(place: Place) -> Tissue:
    """Paint all regions of the brain at the given places. A later region covers the earlier ones.

    Args:
        place: Coordinates of N voxels.

    Returns:
        Maps and fibre axes of the N voxels.
    """
    count = len(place.x)
    # Densities of the hypothalamus, and of every place that no region covers.
    start = {
        "axon": 0.22,
        "myelin": 0.20,
        "cells": 0.40,
        "fluid": 0.0,
        "iron": 0.2,
    }
    tissue = Tissue(
        {name: np.full(count, value, np.float32) for name, value in start.items()},
        np.tile(np.array([[0.2], [0.9], [0.3]], np.float32), (1, count)),
    )
    for region in (_paint_forebrain, _paint_tracts, _paint_cortex, _paint_hippocampus, _paint_hindbrain, _paint_bulb, _paint_ventricles):
        region(tissue, place)
    tissue.direction /= np.maximum(np.sqrt((tissue.direction**2).sum(0)), np.float32(1e-6))
    return tissue


def _paint_forebrain(tissue: Tissue, place: Place) -> None:
    """Striatum with its pencil fibres, septum, thalamus with its nuclei, midbrain, and the piriform rim."""
    side, x, z = np.sign(place.x), place.lateral, place.z
    rim = place.above(-0.45, place.angle, 0.1) * place.slices(0.14, 0.76)
    cells = 0.35 + 0.5 * place.between(place.depth, 0.08, 0.16)
    tissue.paint(rim * place.above(0.26, place.depth), (side * x, 0, z), axon=0.10, myelin=0.06, cells=cells)
    pencils = place.above(np.sin(21 * x + 5 * z) * np.sin(17 * z - 6 * x + 9 * place.a), 0.45, 0.2)
    striatum = place.disc(0.62, 0.0, 0.52, 0.46) * place.slices(0.15, 0.48)
    tissue.paint(striatum, (0, 1, 0.2), axon=0.16 + 0.36 * pencils, myelin=0.10 + 0.45 * pencils, cells=0.62 - 0.3 * pencils, iron=0.5)
    tissue.paint(place.disc(0, 0.1, 0.2, 0.42) * place.slices(0.2, 0.40), (0, 0.2, 1), axon=0.2, myelin=0.22, cells=0.46)
    thalamus = place.disc(0.32, -0.08, 0.46, 0.36) * place.slices(0.42, 0.68)
    nuclei = place.above(np.sin(9 * x + 2) * np.cos(10 * z - 6 * place.a), 0.0, 0.3)
    tissue.paint(
        thalamus, (side * 0.8, 0.3, 0.5), axon=0.26 + 0.14 * nuclei, myelin=0.28 + 0.2 * (1 - nuclei), cells=0.36 + 0.22 * nuclei, iron=0.3
    )
    midbrain = place.slices(0.67, 0.80) * place.above(0.9, place.radius, 0.05)
    # The superior colliculus has layers; the texture below it is coarse.
    layers = 0.5 + 0.5 * np.where(z > 0, np.cos(24 * place.depth), np.cos(6 * x) * np.cos(24 * place.depth)) * np.clip(0.4 + z, 0.2, 1)
    tissue.paint(midbrain, (side * 0.5, 0.6, 0.5), axon=0.28 + 0.1 * layers, myelin=0.26 + 0.25 * layers, cells=0.52 - 0.24 * layers)
    tissue.paint(place.disc(0.55, -0.5, 0.22, 0.09) * place.slices(0.64, 0.76), axon=0.2, myelin=0.15, cells=0.6, iron=1.0)


def _paint_tracts(tissue: Tissue, place: Place) -> None:
    """Anterior commissure, internal capsule into peduncle, optic tract, fornix, fimbria, mammillothalamic tract."""
    side, white = np.sign(place.x), {"axon": 0.60, "myelin": 0.72, "cells": 0.16}
    # Internal capsule: a slanted sheet from the external capsule down to the peduncle.
    along, across = (0.47, -0.88), (0.88, 0.47)
    point_x, point_z = place.lateral - 0.68, place.z + 0.08
    offset = across[0] * point_x + across[1] * point_z + 0.12 * (point_x * along[0] + point_z * along[1]) ** 2
    run = -along[1] * -point_z + along[0] * -point_x
    capsule = place.between(offset, -0.055, 0.055) * place.between(run, -0.62, 0.42) * place.slices(0.36, 0.66)
    tissue.paint(capsule, (-side * along[0], 0.45, -along[1]), **white)
    commissure = place.disc(0.42 - 0.9 * np.clip(place.a - 0.24, 0, 0.4), -0.36, 0.11, 0.10) * place.slices(0.13, 0.36)
    tissue.paint(commissure, (side * 0.3, 1, 0), axon=0.68, myelin=0.50, cells=0.12)
    tissue.paint(place.between(place.z, -0.42, -0.33) * place.above(0.5, place.lateral) * place.slices(0.33, 0.38), (1, 0, 0), **white)
    tissue.paint(place.disc(0.62, -0.68, 0.20, 0.07) * place.slices(0.50, 0.82), (side * 0.2, 1, 0.1), **white)
    tissue.paint(place.disc(0.95, -0.40, 0.09, 0.16) * place.slices(0.44, 0.60), (side * 0.5, 0.5, 0.7), axon=0.64, myelin=0.85, cells=0.14)
    tissue.paint(place.disc(0.13, -0.38, 0.06, 0.07) * place.slices(0.36, 0.56), (0, 0.6, 0.8), axon=0.58, myelin=0.48, cells=0.18)
    tissue.paint(place.disc(0.24, -0.30, 0.06, 0.06) * place.slices(0.50, 0.64), (0, 0.3, 0.95), **white)


def _paint_cortex(tissue: Tissue, place: Place) -> None:
    """Layered cortex, corpus callosum with external capsule below it, and the cingulum."""
    x, z = place.x, place.z
    layer = place.depth / np.float32(CORTEX_THICKNESS)
    extent = place.above(place.angle, -0.45, 0.06) * place.slices(0.12, 0.78)
    axon, myelin, cells = (np.interp(layer, LAYER_DEPTH, row).astype(np.float32) for row in (LAYER_AXON, LAYER_MYELIN, LAYER_CELLS))
    # Motor cortex in front has few cells in layer IV, sensory cortex behind and to the side is packed there.
    packed = place.above(place.a, 0.34, 0.1) * place.above(1.2, place.angle, 0.15)
    cells = cells * (1 + 0.3 * packed * np.exp(-(((layer - 0.45) / 0.08) ** 2)))
    tissue.paint(extent * place.above(1.0, layer, place.edge / CORTEX_THICKNESS), (x, 0, z), axon=axon, myelin=myelin, cells=cells)
    thickness = 0.075 + 0.09 * place.above(place.angle, 0.9, 0.2)
    below = place.depth - np.float32(CORTEX_THICKNESS)
    callosum = place.between(below, 0.0, thickness) * extent * place.slices(0.16, 0.74)
    core = np.exp(-(((place.a - 0.45) / 0.2) ** 2))
    tissue.paint(callosum, (z, 0.12 * np.sign(x), -x), axon=0.62 + 0.08 * core, myelin=0.62 + 0.14 * core, cells=0.15)
    cingulum = place.disc(0.16, 0.52, 0.08, 0.05) * place.slices(0.22, 0.70)
    tissue.paint(cingulum, (0, 1, 0), axon=0.56, myelin=0.6, cells=0.2)


def _paint_hippocampus(tissue: Tissue, place: Place) -> None:
    """Ammon's horn with its pyramidal layer, the dentate gyrus, and the fimbria; it sweeps sideways and down towards the back."""
    sweep = place.above(place.a, 0.60, 0.035)
    centre_x, centre_z = 0.46 + 0.30 * sweep, 0.30 - 0.16 * sweep
    side, extent = np.sign(place.x), place.slices(0.42, 0.74)
    horn = place.ellipse(centre_x, centre_z, 0.44, 0.21)
    bent = centre_z + 0.35 * np.clip(place.lateral - centre_x, 0, None) ** 2
    body = place.above(1.0, horn, 0.1) * extent
    pyramidal = place.between(place.ellipse(centre_x, bent, 0.32, 0.125), 0.86, 1.14, 0.12) * place.above(place.z, centre_z - 0.06)
    tissue.paint(body, (side * 0.3, 0.4, 0.9), axon=0.14, myelin=0.14, cells=0.20 + 0.7 * pyramidal)
    dentate = place.ellipse(centre_x - 0.08, centre_z - 0.05, 0.20, 0.085)
    granule = place.between(dentate, 0.72, 1.2, 0.2) * place.above(0.14, place.lateral - centre_x)
    tissue.paint(body * granule, axon=0.08, myelin=0.05, cells=0.95)
    fimbria = place.disc(centre_x + 0.40, centre_z - 0.12, 0.12, 0.07) * place.slices(0.40, 0.62)
    tissue.paint(fimbria, (side, 0.6, -0.3), axon=0.66, myelin=0.46, cells=0.12)


def _paint_hindbrain(tissue: Tissue, place: Place) -> None:
    """Brainstem with its long tracts, and the folia of the cerebellum around their arbor of white matter."""
    side, hind = np.sign(place.x), place.above(place.a, 0.79, 0.02)
    mesh = place.above(np.sin(13 * place.lateral + 4 * place.z) * np.sin(11 * place.z + 7 * place.a), 0.0, 0.4)
    tissue.paint(hind, (side * 0.3, 0.9, 0.2), axon=0.30 + 0.2 * mesh, myelin=0.34 + 0.26 * mesh, cells=0.42 - 0.22 * mesh)
    tissue.paint(hind * place.disc(0.13, -0.62, 0.10, 0.06), (0, 1, 0), axon=0.66, myelin=0.74, cells=0.1)
    tissue.paint(hind * place.disc(0.72, -0.22, 0.09, 0.16), (0, 1, 0.2), axon=0.6, myelin=0.85, cells=0.14)
    # The fissures are rays from below, of uneven depth. The distance to the folded pial surface decides on the layer.
    centre = -0.30
    ray = np.arctan2(place.z - centre, place.x)
    beat = ray * np.float32(13 / np.pi) + 0.5 * np.sin(7 * place.a) + 0.25 * np.sin(3 * ray)
    fissure = np.abs(beat - np.round(beat)) * np.float32(np.pi / 13) * np.hypot(place.x, place.z - centre)
    folded = np.minimum(place.depth, np.hypot(fissure, np.maximum(place.depth - 0.36 - 0.10 * np.cos(np.round(beat) * 2.4), 0)))
    cerebellum = hind * place.above(place.z, 0.08)
    molecular, granular = place.above(0.055, folded), place.between(folded, 0.055, 0.13)
    arbor = 1 - molecular - granular
    tissue.paint(
        cerebellum,
        (place.x, 0.3 * side, place.z - centre),
        axon=0.12 * molecular + 0.12 * granular + 0.56 * arbor,
        myelin=0.04 * molecular + 0.12 * granular + 0.64 * arbor,
        cells=0.16 * molecular + 0.95 * granular + 0.22 * arbor,
    )
    tissue.paint(cerebellum * place.disc(0.34, 0.16, 0.16, 0.06), axon=0.34, myelin=0.4, cells=0.45, iron=0.6)


def _paint_bulb(tissue: Tissue, place: Place) -> None:
    """Olfactory bulb: glomeruli, plexiform layer, mitral cells, granule cells around the anterior commissure's limb."""
    rows = {
        "axon": (0.30, 0.26, 0.10, 0.16, 0.14, 0.12, 0.18),
        "myelin": (0.10, 0.10, 0.06, 0.25, 0.2, 0.16, 0.3),
        "cells": (0.2, 0.6, 0.2, 0.7, 0.35, 0.9, 0.8),
    }
    at = (0.0, 0.08, 0.14, 0.20, 0.23, 0.28, 0.5)
    values = {name: np.interp(place.depth, at, row).astype(np.float32) for name, row in rows.items()}
    tissue.paint(place.above(0.11, place.a, 0.015), (place.x, 0.3, place.z), **values)


def _paint_ventricles(tissue: Tissue, place: Place) -> None:
    """Lateral, third and fourth ventricles and the aqueduct, filled with fluid."""
    under = place.depth - np.float32(CORTEX_THICKNESS + 0.16)
    lateral = place.between(under, -0.01, 0.09) * place.between(place.lateral, 0.12, 0.52)
    lateral = lateral * place.above(place.z, 0.0) * place.slices(0.22, 0.46)
    third = place.disc(0, -0.42, 0.045, 0.34) * place.slices(0.38, 0.62)
    aqueduct = place.disc(0, 0.02, 0.06, 0.09) * place.slices(0.62, 0.81)
    fourth = place.disc(0, 0.06, 0.34, 0.06) * place.slices(0.81, 0.97)
    tissue.paint(1 - (1 - lateral) * (1 - third) * (1 - aqueduct) * (1 - fourth), fluid=1.0)
