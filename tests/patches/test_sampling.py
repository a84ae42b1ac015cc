from dataclasses import replace

import numpy as np
import pytest

from helpers.subjects import write_mrh_subject
from mrh_monai.data.checked_voxels import ReadingOptions
from mrh_monai.data.input_kinds import load_subject
from mrh_monai.data.subject_in_memory import SubjectInMemory
from mrh_monai.errors import MRHWarning, OptionError, SubjectError
from mrh_monai.patch_geometry import PatchGeometry
from mrh_monai.patches.sampling import hold_out, published_candidates, sample_centres, whole_patches
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.subjects.subject_search import find_subject


def make(rng, shape=(60, 3, 50), fa_high=2):
    fa = np.zeros(shape, np.uint8)
    fa[:, :fa_high] = 150
    target = rng.integers(0, 255, shape).astype(np.uint8) * (rng.random(shape) > 0.6)
    mask = rng.random(shape) > 0.2
    return SubjectInMemory("s", np.zeros((*shape, 1)), 0, mask, target.astype(np.uint8), fa, np.eye(4))


def oracle(s):
    """The released script's rules, a voxel at a time."""
    allowed = np.zeros(s.mask.shape, bool)
    for y in range(s.mask.shape[1]):
        stride = 6 if (s.fa[:, y] > 102).sum() > 1000 else 8
        for x in range(1, s.mask.shape[0] - 1, stride):
            for z in range(1, s.mask.shape[2] - 1, stride):
                label = s.target[x - 1 : x + 2, y, z - 1 : z + 2].astype(float)
                allowed[x, y, z] = s.mask[x, y, z] and (label != 0).sum() >= 4 and label.sum() >= 30
    return allowed


def test_published_rules_match_the_loop(rng):
    s = make(rng)
    expected = oracle(s)
    assert 0 < expected[:, 2].sum() < expected[:, 0].sum()
    np.testing.assert_array_equal(published_candidates(s), expected)


def test_label_rules_bite(rng):
    s = make(rng)
    dark = SubjectInMemory("s", s.padded, 0, s.mask, np.ones_like(s.target), s.fa, np.eye(4))
    sparse = np.zeros_like(s.target)
    sparse[::3, :, ::3] = 255
    assert not published_candidates(dark).any()
    assert not published_candidates(SubjectInMemory("s", s.padded, 0, s.mask, sparse, s.fa, np.eye(4))).any()


def test_random_centres_are_in_the_masks_without_repeats_and_by_seed(rng):
    pair = [make(rng), make(rng)]
    centres = sample_centres(pair, 500, seed=3)
    assert centres.shape == (500, 4)
    assert len({tuple(row) for row in centres}) == 500
    assert all(pair[i].mask[x, y, z] for i, x, y, z in centres)
    assert set(centres[:, 0]) == {0, 1}
    np.testing.assert_array_equal(centres, sample_centres(pair, 500, seed=3))
    assert not np.array_equal(centres, sample_centres(pair, 500, seed=4))


def test_all_candidates_and_too_few(rng):
    s = make(rng)
    assert len(sample_centres([s], None, 0)) == s.mask.sum()
    with pytest.warns(MRHWarning, match=r"1000000 patches were asked for, but only 7\d\d\d voxels fit the rules"):
        assert len(sample_centres([s], 1_000_000, 0)) == s.mask.sum()


def test_slices_of_a_subject_bind_its_patches(tmp_path):
    from dataclasses import replace

    found = replace(find_subject(write_mrh_subject(tmp_path / "a")), slices=((1, 2), (4, 6)))
    centres = sample_centres([load_subject(found, MRH_NET)], None, 0)
    assert set(centres[:, 2]) == {1, 4, 5}


def test_wrong_requests_are_refused(rng):
    s = make(rng)
    with pytest.raises(OptionError, match="sampling: expected random or published, found 'grid'"):
        sample_centres([s], 5, 0, "grid")
    with pytest.raises(OptionError, match="patches: expected at least 1, found 0"):
        sample_centres([s], 0, 0)
    without = SubjectInMemory("s", s.padded, 0, s.mask, s.target, None, np.eye(4))
    with pytest.raises(SubjectError, match="an FA map for published sampling"):
        sample_centres([without], 5, 0, "published")
    empty = SubjectInMemory("s", s.padded, 0, s.mask, np.zeros_like(s.target), s.fa, np.eye(4))
    with pytest.raises(SubjectError, match="voxels at which patches can be drawn, found no voxel that fits the rules"):
        sample_centres([empty], 5, 0, "published")


def test_held_out_patches_are_disjoint(rng):
    centres = sample_centres([make(rng)], 300, 0)
    train, val = hold_out(centres, 100, 0)
    assert (len(train), len(val)) == (200, 100)
    assert not {tuple(row) for row in train} & {tuple(row) for row in val}


@pytest.mark.parametrize(("axes", "radius"), [((0, 2), 1), ((0, 2), 2), ((0, 1, 2), 1)])
def test_a_patch_is_sound_where_all_its_voxels_are(rng, axes, radius):
    sound = rng.random((9, 6, 8)) > 0.05
    found = whole_patches(sound, PatchGeometry(axes, radius))
    padded = np.pad(sound, radius, constant_values=True)
    for voxel in np.ndindex(sound.shape):
        patch = tuple(slice(c, c + 2 * radius + 1) if axis in axes else c + radius for axis, c in enumerate(voxel))
        assert found[voxel] == padded[patch].all()


@pytest.mark.parametrize("method", ["random", "published"])
def test_no_patch_is_drawn_that_touches_torn_tissue(study, method):
    loaded = load_subject(
        find_subject(study / "subject01", target="targets/AF.img"), MRH_NET, ReadingOptions(need_target=True, need_fa=True)
    )
    sound = np.ones(loaded.mask.shape, bool)
    sound[1:8] = False
    torn = replace(loaded, target_mask=sound)
    drawn = sample_centres([torn], None, 0, method)
    whole = sample_centres([loaded], None, 0, method)
    kept = [tuple(c) for c in whole if sound[c[1] - 1 : c[1] + 2, c[2], c[3] - 1 : c[3] + 2].all()]
    assert 0 < len(drawn) < len(whole)
    assert {tuple(c) for c in drawn} == set(kept)
