from dataclasses import replace

import numpy as np
import pytest

from mrh_monai.alignment import align_stains
from mrh_monai.alignment.brain_edge import at_edge, edge_distance_mm
from mrh_monai.errors import SubjectError
from mrh_monai.studies.random_displacement import misregistered

pytestmark = pytest.mark.training


def difference(subjects, truth):
    return np.mean([np.abs(a.target - b.target)[b.mask].mean() for a, b in zip(subjects, truth, strict=True)])


def test_stains_return_to_their_place(brains, scaling):
    moved = [misregistered(brain, 0.1, seed) for seed, brain in enumerate(brains)]
    alignment = align_stains(moved, scaling)
    assert difference(alignment.subjects, brains) < 0.22 * difference(moved, brains)
    # Background that a displaced stain brings into the mask does not draw it outwards. Interpolation alone blurs the rim by 0.1.
    for aligned, brain in zip(alignment.subjects, brains, strict=True):
        rim = at_edge(brain, edge_distance_mm(brain)) & brain.mask
        assert 1 - aligned.target[rim].mean() / brain.target[rim].mean() < 0.2
    assert min(np.subtract(alignment.after, alignment.before)) > 0.05
    for size, displacement, brain in zip(alignment.sizes_mm, alignment.displacements, brains, strict=True):
        assert displacement.shape == (2, *brain.mask.shape)
        assert displacement.dtype == np.float32
        assert 0.06 < size < 0.16
    again = align_stains(moved, scaling)
    for one, other in zip(alignment.displacements, again.displacements, strict=True):
        np.testing.assert_array_equal(one, other)


def test_aligned_stains_hardly_move(brains, scaling):
    alignment = align_stains(brains, scaling)
    assert max(alignment.sizes_mm) < 0.015
    assert not alignment.is_large


def test_torn_tissue_and_other_slices_have_no_part(brains, scaling):
    intact = np.ones(brains[0].mask.shape, bool)
    intact[28:, :, :12] = False
    first = misregistered(brains[0], 0.1, 1)
    mask = first.mask.copy()
    mask[:, 4:] = False
    spoiled = np.where(intact, first.target, np.nan)
    spoiled[:, 4:] = 1e5
    spoiled[3, 4] = np.inf
    results = []
    for target in (first.target, spoiled):
        limited = replace(first, target=target, target_mask=intact, mask=mask, whole_mask=brains[0].mask)
        results.append(align_stains([limited, brains[1]], scaling))
    for one, other in zip(results[0].displacements, results[1].displacements, strict=True):
        np.testing.assert_array_equal(one, other)
    seen = results[0].subjects[0].scored
    assert np.isfinite(results[1].subjects[0].target[seen]).all()
    np.testing.assert_allclose(results[1].subjects[0].target[seen], results[0].subjects[0].target[seen], atol=0.5)
    assert not results[1].subjects[0].target_mask.all()


def test_without_a_stain_there_is_nothing_to_align(brains, scaling):
    with pytest.raises(SubjectError, match=r"brain1: expected a volume with a target, to align, found no target; leave it out"):
        align_stains([brains[0], replace(brains[1], target=None)], scaling)
    with pytest.raises(SubjectError, match="found a patch file"):
        align_stains([replace(brains[0], largest=3.0)], scaling)


def test_without_subjects_there_is_nothing_to_align(scaling):
    with pytest.raises(SubjectError, match="expected at least one subject, found no subject; give the training subjects"):
        align_stains([], scaling)
