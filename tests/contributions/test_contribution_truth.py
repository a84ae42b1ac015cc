"""On digital brains it is known which image carries nothing of the stain."""

import numpy as np
import pytest

from mrh_monai.contributions.image_contribution import NoiseOptions, perturb_images, rician, single_images
from mrh_monai.data.subject_in_memory import SubjectInMemory
from mrh_monai.network.sidecar import Sidecar
from mrh_monai.phantom.digital_brain import make_subject
from mrh_monai.protocol.mr_protocol import MRProtocol
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.studies.study_networks import TrainingEffort, score_study_network, train_study_network

CHOSEN = [0, 2, 6, 11, 34, 40, 50, 64, 65, 66]
PROTOCOL = MRProtocol(tuple(MRH_NET.channels[index] for index in CHOSEN))

pytestmark = pytest.mark.analysis


def brain(index, empty):
    """A digital brain with ten images, of which one is the noise of a scanner without a sample."""
    made = make_subject(index, (40, 5, 40), seed=3)
    image, mask = made.image[..., CHOSEN].astype(np.float32), made.mask > 0
    level = image[mask][:, empty].mean() / 1.25
    image[..., empty] = rician(np.zeros(mask.shape, np.float32), level, np.random.default_rng([9, index]))
    return SubjectInMemory(made.name, np.pad(image, [(1, 1)] * 3 + [(0, 0)]), 1, mask, made.stains["af"], None, np.eye(4))


@pytest.mark.parametrize("name", ["t2", "dwi2000_dir_01"])
def test_an_image_of_noise_alone_comes_last(name):
    brains = [brain(index, PROTOCOL.names.index(name)) for index in range(3)]
    trained = train_study_network(brains[:2], PROTOCOL, TrainingEffort(patches=None, steps=300, residual_blocks=1))
    assert score_study_network(trained, brains[2:])["r2"] > 0.6
    sidecar = Sidecar("af", "u", PROTOCOL.names, 1, 64, [0, 2], 1, trained.scaling)
    rows = perturb_images(trained.network, sidecar, brains[2], single_images(PROTOCOL), NoiseOptions(voxels=2000)).rows()
    assert rows[-1]["image"] == name
    assert rows[-1]["share"] < 0.05
    assert {row["image"] for row in rows[:2]} == {"mt_on", "mt_off"}
