from dataclasses import replace

import numpy as np
import pytest

from helpers.scaled_subjects import subject_of
from mrh_monai.alignment.brain_edge import EDGE_VOXELS, SURROUNDINGS_MM, at_edge, edge_distance_mm, with_surroundings

EDGES = (0.125, 0.5, 0.25)


@pytest.fixture
def subject(rng):
    """A brain of two slices that differ, voxels of three different edges, and a stain that goes on beyond the brain."""
    mask = np.zeros((16, 4, 12), bool)
    mask[6:11, 1, 4:8], mask[5:9, 2, 5:7] = True, True
    made = subject_of(np.ones((*mask.shape, 2), np.float32), mask, rng.random(mask.shape, dtype=np.float32))
    made.affine[:3, :3] = np.diag(EDGES)
    return made


def widened(subject):
    return with_surroundings(subject, edge_distance_mm(subject))


def edge(subject):
    return at_edge(subject, edge_distance_mm(subject))


def distance_to_other_side(mask, voxel):
    """The distance in mm within the coronal slice to the nearest voxel on the other side of the outline."""
    x, y, z = voxel
    others = np.argwhere(mask[:, y] != mask[voxel])
    return np.inf if len(others) == 0 else np.hypot(*((others - [x, z]) * [EDGES[0], EDGES[2]]).T).min()


def test_the_surroundings_reach_half_a_millimetre_within_a_slice(subject):
    outside = [tuple(voxel) for voxel in np.argwhere(~subject.mask)]
    around = {voxel for voxel in outside if distance_to_other_side(subject.mask, voxel) < SURROUNDINGS_MM}
    wider = widened(subject).mask
    assert {tuple(voxel) for voxel in np.argwhere(wider & ~subject.mask)} == around
    assert wider[subject.mask].all()
    assert not wider[:, [0, 3]].any()


def test_the_edge_lies_on_both_sides_of_the_outline(subject):
    width = EDGE_VOXELS * min(EDGES[0], EDGES[2])
    near = {v for v in np.ndindex(*subject.mask.shape) if distance_to_other_side(subject.mask, v) <= width}
    assert {tuple(voxel) for voxel in np.argwhere(edge(subject))} == near
    assert 0 < len(near) < subject.mask.sum() * 2


def test_slices_that_are_left_out_stay_so(subject):
    first = np.arange(4)[:, None] == 1
    limited = widened(replace(subject, mask=subject.mask & first, whole_mask=subject.mask))
    np.testing.assert_array_equal(limited.mask, widened(subject).mask & first)
    np.testing.assert_array_equal(limited.brain, widened(subject).mask)


def test_a_stain_that_was_cut_along_the_mask_has_no_surroundings(subject):
    cut = replace(subject, target=np.where(subject.mask, subject.target, np.float32(7)))
    assert widened(cut) is cut
    beside = subject.target.copy()
    beside[:, 1] = np.where(subject.mask[:, 1], beside[:, 1], 7)
    limited = replace(cut, target=beside, mask=subject.mask & (np.arange(4)[:, None] == 1), whole_mask=subject.mask)
    assert widened(limited) is limited  # slices that are not in use do not decide it


def test_only_intact_tissue_decides_whether_a_stain_was_cut(subject):
    torn = replace(subject, target=np.where(subject.mask, subject.target, np.nan), target_mask=subject.mask)
    assert widened(torn) is torn


def test_a_brain_that_fills_its_volume_has_no_edge(subject):
    whole = replace(subject, mask=np.ones_like(subject.mask))
    assert widened(whole) is whole
    assert not edge(whole).any()
