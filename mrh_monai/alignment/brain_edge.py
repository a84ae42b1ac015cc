"""The edge of the brain, which a displaced stain crosses: voxels beyond the mask, and those along its outline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import distance_transform_edt

from mrh_monai.alignment.displacement import PLANE
from mrh_monai.alignment.moved_stain import whole_stain
from mrh_monai.data import SubjectInMemory

SURROUNDINGS_MM = 0.5
FAR_MM = 1e6
EDGE_VOXELS = 1.5  # half the width of the edge; its voxels touch the outline of the mask, also at a corner


def edge_distance_mm(subject: SubjectInMemory) -> np.ndarray:
    """Return the distance (X, Y, Z) of each voxel to the nearest voxel across the outline of the brain, in its coronal slice.

    It is negative outside the brain, and infinite if the brain fills its volume.
    """
    if subject.brain.all():
        return np.full(subject.brain.shape, np.inf)
    # Slices are set so far apart that the nearest voxel always lies in the same slice.
    edges = [subject.spacing[axis] if axis in PLANE else FAR_MM for axis in range(3)]
    return np.asarray(distance_transform_edt(subject.brain, edges) - distance_transform_edt(~subject.brain, edges))


def with_surroundings(subject: SubjectInMemory, distance: np.ndarray) -> SubjectInMemory:
    """Return a subject whose mask reaches 0.5 mm beyond the brain, within each coronal slice.

    A stain that is displaced out of the mask on one side leaves background inside the mask on the other. Seen from inside alone, the edge
    of the brain would look too dark on all sides, and every stain would be moved outwards.

    If the stain ends exactly with the mask, it was cut along the mask. Its edge then does not say how far it is displaced, and the subject
    is returned unchanged.

    Args:
        subject: Subject with a target.
        distance: (X, Y, Z), its `edge_distance_mm`.
    """
    whole = distance > -SURROUNDINGS_MM
    mask = whole if subject.left_out is None else whole & ~subject.left_out[:, None]
    wider = replace(subject, mask=mask, whole_mask=None if subject.whole_mask is None else whole)
    return subject if _is_cut(whole_stain(subject)[wider.scored & (distance < 0)]) else wider


def at_edge(subject: SubjectInMemory, distance: np.ndarray) -> np.ndarray:
    """Return (X, Y, Z) bool: the voxels on both sides of the outline of the brain, from the subject's `edge_distance_mm`."""
    return np.asarray(np.abs(distance) <= EDGE_VOXELS * min(subject.spacing[axis] for axis in PLANE))


def _is_cut(stain_around: np.ndarray) -> bool:
    """Return whether the stain around the brain is the same everywhere, as only an edited one is."""
    return not len(stain_around) or bool((stain_around == stain_around[0]).all())
