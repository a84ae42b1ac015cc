from dataclasses import replace

import numpy as np
import pytest

from mrh_monai.alignment.registration import Registration, agreement, smoothed
from mrh_monai.studies.random_displacement import displacement_field, misregistered

ROUNDS = (4.0, 3.0, 2.0, 1.5, 1.0, 0.7)


def true_displacement(brain, rms_mm, seed):
    """Where the stain of each voxel lies after `misregistered`: the inverse of its field, by a fixed point of single steps."""
    field = displacement_field(brain.mask.shape, brain.spacing, rms_mm, np.random.default_rng(seed)).numpy() / brain.spacing[0]
    back = -field
    for _ in range(20):
        x, y, z = np.indices(brain.mask.shape)
        nearest = (np.clip(np.rint(x + back[0]), 0, x.max()).astype(int), y, np.clip(np.rint(z + back[1]), 0, z.max()).astype(int))
        back = -field[(slice(None), *nearest)]
    return back * brain.spacing[0]


def error_mm(registration, brain, truth):
    return float(np.sqrt(((registration.found.numpy() - truth) ** 2).sum(0)[brain.mask].mean()))


def registered(subject, prediction, rounds=ROUNDS, expected_mm=0.1):
    registration = Registration(subject, expected_mm)
    for smoothing in rounds:
        registration.refine(prediction, smoothing)
    return registration


def test_it_finds_most_of_a_displacement(brains):
    errors, sizes = [], []
    for seed in range(1, 5):
        truth = true_displacement(brains[0], 0.12, seed)
        found = registered(misregistered(brains[0], 0.12, seed), brains[0].target)
        errors.append(error_mm(found, brains[0], truth))
        sizes.append(float(np.sqrt((truth**2).sum(0)[brains[0].mask].mean())))
    # In one of the four, the stain at the edge of the brain is displaced out of it, and most of the error lies there.
    assert np.mean(errors) < 0.3 * np.mean(sizes)
    assert max(np.divide(errors, sizes)) < 0.5


def test_an_aligned_stain_stays(brains, rng):
    brain = brains[0]
    noisy = (brain.target + rng.normal(0, 8, brain.target.shape)).astype(np.float32) * brain.mask
    assert registered(brain, noisy, (2.0, 1.5, 1.0), expected_mm=0.06).size_mm < 0.01


def test_gain_and_offset_of_the_prediction_do_not_matter(brains):
    moved = misregistered(brains[0], 0.1, 3)
    plain = registered(moved, brains[0].target)
    for prediction in (40 + 3 * brains[0].target, 700 - 0.3 * brains[0].target):
        np.testing.assert_allclose(registered(moved, prediction).found, plain.found, atol=0.004)


def test_torn_tissue_and_other_slices_have_no_part(brains):
    """Values where the stain is not intact, and in slices of which the subject is not made, change nothing, to the bit."""
    brain = brains[0]
    intact = np.ones(brain.mask.shape, bool)
    intact[28:, :, :12] = False
    mask = brain.mask.copy()
    mask[:, 4:] = False
    limited = replace(misregistered(brain, 0.1, 3), target_mask=intact, mask=mask, whole_mask=brain.mask)
    spoiled = limited.target.copy()
    spoiled[~intact] = 1e4
    spoiled[:, 4:] = np.nan
    one, other = (registered(subject, brain.target, (2.0, 1.0)) for subject in (limited, replace(limited, target=spoiled)))
    np.testing.assert_array_equal(one.control, other.control)
    assert one.size_mm > 0.02


def test_means_are_over_the_voxels_of_the_mask(rng):
    values, mask = rng.normal(size=(9, 5, 8)).astype(np.float32), rng.random((9, 5, 8)) > 0.4
    means, share = smoothed(values, mask, (1.0, 0.0, 0.5))
    x, z = np.arange(9)[:, None] - 4, np.arange(8)[None] - 3
    kernel = np.exp(-(x**2) / 2) * (abs(x) <= 3) * np.exp(-(z**2) / 0.5) * (abs(z) <= 2)
    kernel = kernel[:, None] / kernel.sum()
    weights = [kernel * mask[:, y : y + 1] for y in (1, 2)]
    assert share.max() == 1
    assert share[4, 2, 3] / share[4, 1, 3] == pytest.approx(weights[1].sum() / weights[0].sum(), rel=1e-4)
    assert means[4, 2, 3] == pytest.approx((weights[1] * values[:, 2:3]).sum() / weights[1].sum(), rel=1e-4)


def test_a_single_section_is_registered_too(brains):
    """A window of several slices reaches far beyond a section, at the coarsest smoothing too."""
    whole = misregistered(brains[0], 0.12, 1)
    names = ("mask", "target", "padded", *([] if whole.target_mask is None else ["target_mask"]))
    section = replace(whole, **{name: getattr(whole, name)[:, 2:3] for name in names})
    found = registered(section, brains[0].target[:, 2:3], (5.0, *ROUNDS))
    truth = true_displacement(brains[0], 0.12, 1)[:, :, 2:3]
    size = float(np.sqrt((truth**2).sum(0)[section.mask].mean()))
    error = float(np.sqrt(((found.found.numpy() - truth) ** 2).sum(0)[section.mask].mean()))
    assert error < 0.45 * size


@pytest.mark.parametrize("slices", [[3], [1, 3, 5, 7, 9, 11, 13]])
def test_slices_between_those_of_the_lattice_are_registered(brains, slices):
    """Smoothed volumes are compared in every second or third slice only; the slices in use may lie between these."""
    thick = {
        name: np.tile(getattr(brains[0], name), (1, 3, 1, *[1] * (getattr(brains[0], name).ndim - 3)))
        for name in ("padded", "target", "mask")
    }
    whole = replace(brains[0], **thick)
    mask = np.zeros_like(whole.mask)
    mask[:, slices] = whole.mask[:, slices]
    limited = replace(misregistered(whole, 0.12, 1), mask=mask, whole_mask=whole.mask)
    found = registered(limited, whole.target, (5.0, *ROUNDS))
    truth = true_displacement(whole, 0.12, 1)
    size, error = (float(np.sqrt((field**2).sum(0)[mask].mean())) for field in (truth, found.found.numpy() - truth))
    assert error < 0.6 * size


def test_agreement_is_that_of_fine_structure(brains):
    brain = brains[0]
    assert agreement(5 - 2 * brain.target, brain.target, brain.mask, brain) == pytest.approx(1)
    noise = np.random.default_rng(99).normal(size=brain.target.shape).astype(np.float32)
    assert agreement(noise, brain.target, brain.mask, brain) < 0.05
    slope = np.broadcast_to(4 * np.arange(44, dtype=np.float32)[:, None, None], brain.target.shape)
    assert np.corrcoef((brain.target + slope)[brain.mask], (slope + noise)[brain.mask])[0, 1] ** 2 > 0.6
    assert agreement(slope + noise, brain.target + slope, brain.mask, brain) < 0.12
    assert agreement(noise, np.ones_like(noise), brain.mask, brain) == 0
