from dataclasses import replace

import numpy as np
import pytest

from mrh_monai.alignment.rounds import Rounds
from mrh_monai.errors import SubjectError
from mrh_monai.studies.random_displacement import misregistered

pytestmark = pytest.mark.training


def taken(rounds, smoothings=(2.0, 1.0)):
    rounds.train(50)
    for smoothing in smoothings:
        rounds.make_round(smoothing)
    return rounds


def test_what_is_hidden_has_no_part(brains, scaling):
    """The stain of hidden voxels may be anything, and the result is the same to the bit."""
    hidden = [np.zeros(brain.mask.shape, bool) for brain in brains]
    hidden[0][16:30, :, 8:20] = True
    moved = [misregistered(brain, 0.1, seed) for seed, brain in enumerate(brains)]
    spoiled = [replace(moved[0], target=np.where(hidden[0], 1e5, moved[0].target)), *moved[1:]]
    one, other = (taken(Rounds(subjects, scaling, 0, hidden)) for subjects in (moved, spoiled))
    for first, second in zip(one.registrations, other.registrations, strict=True):
        np.testing.assert_array_equal(first.found, second.found)
        assert first.size_mm > 0.01
    np.testing.assert_array_equal(one.predictions()[0], other.predictions()[0])
    seen = taken(Rounds(spoiled, scaling, 0))
    assert not np.array_equal(seen.predictions()[0], one.predictions()[0])


def test_the_predictor_never_learns_at_hidden_voxels(brains, scaling, monkeypatch):
    """Also where the stain of a hidden voxel was moved there from a place that is not hidden."""
    hidden = [np.zeros(brain.mask.shape, bool) for brain in brains]
    hidden[0][16:30, :, 8:20] = True
    rounds = Rounds(brains, scaling, 0, hidden)
    rounds.registrations[0].found[0] = 0.5  # half a millimetre along x
    learned = []
    monkeypatch.setattr(rounds.predictor, "train", lambda stains, known, steps: learned.extend(known))
    rounds.train(1, smoothing=0.7)
    where = np.zeros(brains[0].mask.shape, bool)
    where[rounds.subjects[0].mask] = learned[0]
    assert not where[hidden[0]].any()  # the predictor's place
    assert not where[8:22, :, 8:20].any()  # eight voxels of 0.0625 mm away, where the hidden stain would be moved to
    assert where[30:36, :, 8:20].any()


def test_a_state_can_be_taken_by_other_turns(brains, scaling):
    moved = [misregistered(brain, 0.1, seed) for seed, brain in enumerate(brains)]
    rounds = taken(Rounds(moved, scaling, 0))
    state, expected = rounds.state(), rounds.predictions()
    rounds.make_round(0.7)
    other = Rounds(moved, scaling, 5)
    other.restore(state)
    np.testing.assert_array_equal(other.predictions(), expected)
    assert [each.expected_mm for each in other.registrations] == [expected_mm for _, _, expected_mm in state["fields"]]
    assert not np.array_equal(rounds.predictions(), expected)


def test_a_mask_of_outline_alone_is_refused(brains, scaling):
    thin = np.zeros(brains[0].mask.shape, bool)
    thin[20:22, :, 8:26] = True
    with pytest.raises(
        SubjectError, match=r"brain0: expected a mask with voxels away from its outline.*give a larger mask, or --align off"
    ):
        Rounds([replace(brains[0], mask=thin), brains[1]], scaling, 0)
