from dataclasses import replace

import numpy as np
import torch

from helpers.known_errors import CHANNELS, SHAPE, patches_of
from mrh_monai.intervals.interval_data import draw_interval_data, drawn_centres
from mrh_monai.patch_geometry import CORONAL_PATCH
from mrh_monai.patches import sample_centres


def test_voxels_are_drawn_from_the_subjects_of_their_part(fitted):
    _, subjects, _, data, _, _ = fitted
    voxels = int(np.prod(SHAPE))
    assert set(data.fitting.subject.tolist()) == {0, 1}
    assert len(data.fitting) == 2 * voxels
    assert (len(data.held["m3"]), set(data.held["m3"].subject.tolist())) == (voxels, {0})
    place = sample_centres(subjects[2:], None, 0)[:5]
    found = data.held["m3"].around(place).batch(torch.arange(5))["label"][:, 0, 1, 1].numpy()
    np.testing.assert_array_equal(found, subjects[2].target[tuple(place[:, 1:].T)])


def test_another_kind_of_network_gets_no_intervals(fitted):
    assert fitted[3].fit(torch.nn.Conv2d(CHANNELS, 1, 3, padding=1)) is None


def test_voxels_that_train_are_drawn_only_where_there_are_no_others(fitted):
    subjects = fitted[1][:2]
    used = sample_centres(subjects, 12_000, 0)
    few, many = (drawn_centres(subjects, count, 1, CORONAL_PATCH, used) for count in (800, 1000))
    taken = {tuple(row) for row in used.tolist()}
    assert (len(few), len(many)) == (800, 1000)
    assert len({tuple(row) for row in many.tolist()}) == 1000
    assert not taken & {tuple(row) for row in few.tolist()}
    assert len(taken & {tuple(row) for row in many.tolist()}) == 200


def test_a_subject_without_whole_tissue_is_left_out(fitted):
    subjects = fitted[1]
    torn = replace(subjects[2], name="torn", target_mask=np.zeros(SHAPE, bool))
    held = patches_of(subjects[1:], sample_centres(subjects[1:], 50, 0))
    data = draw_interval_data(held, subjects[:2], np.zeros((0, 4), np.int64), held, [torn, subjects[2]], 0, CORONAL_PATCH)
    assert list(data.held) == ["m3"]
    assert set(data.held["m3"].subject.tolist()) == {1}


def test_too_few_voxels_give_no_intervals(fitted):
    network, subjects, _, data, _, _ = fitted
    few = patches_of(subjects[:1], sample_centres(subjects[:1], 199, 0))
    assert replace(data, fitting=few).fit(network) is None
