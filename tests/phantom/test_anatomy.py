from __future__ import annotations

import numpy as np


def test_fa_is_high_in_tracts(cohort):
    brain = cohort[0]
    inside = brain.mask > 0
    axon, fa = brain.latent["axon"][inside], brain.fa[inside] / 255
    assert fa[axon > 0.55].mean() > fa[axon < 0.15].mean() + 0.3


def test_both_hemispheres_are_there_but_not_mirrored(cohort):
    brain = cohort[0]
    mirrored = brain.mask[::-1]
    assert 0.85 < np.mean(brain.mask == mirrored) < 1
    # White matter crosses the midline dorsally in the middle of the brain: the corpus callosum.
    middle = brain.latent["axon"][47:49, 10:12, 36:]
    assert middle.max() > 0.45
