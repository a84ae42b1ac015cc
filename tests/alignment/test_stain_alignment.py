from dataclasses import replace

import numpy as np
import pytest

from mrh_monai.alignment import Alignment, Trial, align_stains
from mrh_monai.alignment.brain_edge import at_edge, edge_distance_mm
from mrh_monai.devices import limited_threads
from mrh_monai.errors import SubjectError
from mrh_monai.studies.random_displacement import misregistered

pytestmark = pytest.mark.training


def difference(subjects, truth):
    return np.mean([np.abs(a.target - b.target)[b.mask].mean() for a, b in zip(subjects, truth, strict=True)])


def test_stains_return_to_their_place(brains, scaling, four_threads):
    moved = [misregistered(brain, 0.1, seed) for seed, brain in enumerate(brains)]
    alignment = align_stains(moved, scaling)
    assert alignment.is_moved
    assert difference(alignment.subjects, brains) < 0.22 * difference(moved, brains)
    # Background that a displaced stain brings into the mask does not draw it outwards. Interpolation alone blurs the rim by 0.1.
    for aligned, brain in zip(alignment.subjects, brains, strict=True):
        rim = at_edge(brain, edge_distance_mm(brain)) & brain.mask
        assert 1 - aligned.target[rim].mean() / brain.target[rim].mean() < 0.2
    for size, displacement, brain in zip(alignment.sizes_mm, alignment.displacements, brains, strict=True):
        assert displacement.shape == (2, *brain.mask.shape)
        assert displacement.dtype == np.float32
        assert 0.06 < size < 0.16
    assert 0.05 < alignment.median_mm < 0.12
    assert alignment.doubts == []
    before, after = (1 - np.mean(shares) for shares in (alignment.trial.original, alignment.trial.aligned))
    assert alignment.summary == (
        f"training stains were moved by {alignment.median_mm:.2f} mm (median); on voxels that were held out, the agreement of "
        f"fine structure went from {before:.2f} to {after:.2f}"
    )
    with limited_threads(1):
        again = align_stains(moved, scaling)
    for one, other in zip(alignment.displacements, again.displacements, strict=True):
        np.testing.assert_array_equal(one, other)


def test_aligned_stains_are_left_where_they_are(brains, scaling):
    alignment = align_stains(brains, scaling)
    assert not alignment.is_moved
    assert alignment.subjects == tuple(brains)
    assert alignment.summary.startswith("training stains were left where they are: on voxels that were held out, moving them ")
    assert alignment.doubts == []


def test_aligned_stains_hardly_move_if_they_must(brains, scaling):
    alignment = align_stains(brains, scaling, always=True)
    assert alignment.is_moved
    assert max(alignment.sizes_mm) < 0.02
    assert any("lowers the unexplained variance by" in doubt for doubt in alignment.doubts)


def test_doubts_name_the_subjects(brains):
    """A stain shifted as a whole, one that folds, one at the limit, and one that agrees no better than before."""
    shape = brains[0].mask.shape
    shifted, folded, wide = (np.zeros((2, *shape), np.float32) for _ in range(3))
    shifted[0] = 0.1
    folded[0] = 0.02 * (-1.0) ** (np.arange(shape[0]) // 2)[:, None, None]
    folded[0, 20] = -0.2
    wide[1] = 0.4 * np.sin(np.arange(shape[0]) / 8)[:, None, None]
    trial = Trial((0.5, 0.5, 0.2), (0.1, 0.1, 0.2), (1.0,) * 3, (0.95,) * 3)
    doubts = Alignment(tuple(brains), tuple(brains), (shifted, folded, wide), (), trial, True).doubts
    assert doubts == [
        "on voxels that were held out, agreement does not rise in brain2",
        "the displacement folds the stain, so that places change their order, in brain1",
        "the displacement is larger than the alignment expects (0.25 mm) in brain2",
        "the whole stain is shifted one way, as if stain and images were not registered, in brain0",
    ]
    assert Alignment(tuple(brains), tuple(brains), (shifted, folded, wide), (), trial, False).doubts == []


def test_sections_are_aligned_too(brains, scaling):
    """One coronal slice of each brain."""
    sections = [replace(brain, **{name: getattr(brain, name)[:, 2:3] for name in ("mask", "target", "padded")}) for brain in brains]
    moved = [misregistered(section, 0.1, seed) for seed, section in enumerate(sections)]
    alignment = align_stains(moved, scaling)
    assert alignment.is_moved
    assert difference(alignment.subjects, sections) < 0.5 * difference(moved, sections)


def test_voxels_may_have_any_size(brains, scaling):
    """Thick slices, and voxels that are longer along z: what is found is the same in mm."""
    thick = [replace(brain, affine=np.diag([0.0625, 0.25, 0.0625, 1])) for brain in brains]
    for each in thick:
        each.affine[2, 2] = 0.08
    moved = [misregistered(brain, 0.1, seed) for seed, brain in enumerate(thick)]
    alignment = align_stains(moved, scaling)
    assert alignment.is_moved
    assert difference(alignment.subjects, thick) < 0.4 * difference(moved, thick)
    assert all(0.05 < size < 0.16 for size in alignment.sizes_mm)


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
        results.append(align_stains([limited, brains[1]], scaling, always=True))
    for one, other in zip(results[0].displacements, results[1].displacements, strict=True):
        np.testing.assert_array_equal(one, other)
    seen = results[0].subjects[0].scored
    assert np.isfinite(results[1].subjects[0].target[seen]).all()
    np.testing.assert_allclose(results[1].subjects[0].target[seen], results[0].subjects[0].target[seen], atol=0.5)
    assert not results[1].subjects[0].target_mask.all()


def test_without_a_stain_there_is_nothing_to_align(brains, scaling):
    with pytest.raises(
        SubjectError, match=r"brain1: expected a volume with a target, to align, found no target; leave it out, or give --align off"
    ):
        align_stains([brains[0], replace(brains[1], target=None)], scaling)
    with pytest.raises(SubjectError, match="found a patch file"):
        align_stains([replace(brains[0], largest=3.0)], scaling)


def test_without_subjects_there_is_nothing_to_align(scaling):
    with pytest.raises(SubjectError, match="expected at least one subject, found no subject; give the training subjects"):
        align_stains([], scaling)
