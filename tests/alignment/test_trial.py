from dataclasses import replace

import numpy as np
import pytest

from mrh_monai.alignment.trial import Trial, held_out_blocks, try_alignment, upside_down
from mrh_monai.errors import SubjectError
from mrh_monai.scaling import RobustScaling
from mrh_monai.studies.random_displacement import misregistered

pytestmark = pytest.mark.training


def test_blocks_are_a_quarter_and_touch_nowhere_face_to_face(brains):
    large = np.zeros((64, 24, 48), bool)
    blocks = held_out_blocks(replace(brains[0], mask=large))
    assert blocks.mean() == 0.25
    starts = [np.diff(blocks.astype(int), axis=axis, prepend=0) == 1 for axis in range(3)]
    ends = [np.diff(blocks.astype(int), axis=axis, append=0) == -1 for axis in range(3)]
    for axis, (start, end) in enumerate(zip(starts, ends, strict=True)):
        lengths = np.nonzero(np.moveaxis(end, axis, -1))[-1] - np.nonzero(np.moveaxis(start, axis, -1))[-1] + 1
        assert set(lengths) == {8}  # 0.5 mm of 0.0625 mm


def test_blocks_of_coarse_voxels_have_four_along_each_side(brains):
    coarse = replace(brains[0], mask=np.zeros((16, 4, 16), bool), affine=np.diag([0.4, 0.8, 0.4, 1]))
    blocks = held_out_blocks(coarse)
    assert blocks[:4, 0, :4].all()
    assert blocks[4:8, 1, 4:8].all()
    assert blocks.mean() == 0.25


def test_the_decoy_is_the_prediction_upside_down():
    mask = np.zeros((3, 1, 8), bool)
    mask[1, :, 2:7] = True
    mask[0, :, 2] = True
    prediction = np.arange(24.0).reshape(3, 1, 8) * mask
    turned = upside_down(prediction, mask)
    assert turned[1, 0].tolist() == [0, 0, 14, 13, 12, 11, 10, 0]
    assert turned[0, 0, 2] == 14  # no value was turned to there, so that of the nearest voxel is taken
    assert not turned[~mask].any()


def test_misregistered_stains_pass_and_aligned_ones_do_not(brains, scaling):
    moved = [misregistered(brain, 0.1, seed) for seed, brain in enumerate(brains)]
    trial = try_alignment(moved, scaling, 0)
    assert trial.passed
    assert trial.gain > 0.5
    assert trial.decoy_gain < 0.25
    assert np.mean(trial.original) > 2 * np.mean(trial.aligned)
    assert len(trial.original) == len(trial.decoy_aligned) == len(brains)
    assert not try_alignment(brains, scaling, 0).passed


def test_a_stain_of_another_animal_does_not_pass(brains, scaling):
    """Here nothing is to be won: no displacement brings the tissue of one animal onto that of another."""
    others = [replace(brain, target=other.target) for brain, other in zip(brains, [*brains[1:], brains[0]], strict=True)]
    trial = try_alignment(others, scaling, 0)
    assert not trial.passed
    assert np.mean(trial.original) > 0.8


def test_it_passes_only_above_a_tenth_and_above_the_decoy():
    assert Trial((0.4, 0.2), (0.3, 0.2), (1.0,), (0.9,)).gain == pytest.approx(1 / 6)
    assert Trial((0.4, 0.2), (0.3, 0.2), (1.0,), (0.9,)).passed
    assert not Trial((0.4, 0.2), (0.3, 0.2), (1.0,), (0.8,)).passed
    assert not Trial((0.4, 0.2), (0.36, 0.19), (1.0,), (1.0,)).passed
    assert not Trial((0.2,), (0.4,), (1.0,), (1.0,)).passed


def test_a_brain_without_room_for_blocks_is_refused(brains):
    small = np.zeros(brains[0].mask.shape, bool)
    small[17:26, 2:3, 14:23] = True
    subject = replace(brains[0], mask=small)
    with pytest.raises(
        SubjectError, match=r"brain0: expected at least 50 voxels inside blocks of 0.5 mm.*give a larger mask, or --align off"
    ):
        try_alignment([subject], RobustScaling.fit([subject]), 0)
