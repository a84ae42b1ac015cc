import numpy as np
import torch

from mrh_monai.alignment.pointwise_predictor import PointwisePredictor


def in_mask(brains):
    return [torch.from_numpy(brain.target[brain.mask] / 255) for brain in brains]


def everywhere(brains):
    return [torch.ones(int(brain.mask.sum()), dtype=torch.bool) for brain in brains]


def predictor_of(brains, scaling, seed=0):
    return PointwisePredictor(brains, scaling.training_coefficients(brains), seed)


def test_it_learns_what_the_signals_of_a_voxel_say(brains, scaling):
    predictor = predictor_of(brains[:2], scaling)
    predictor.train(in_mask(brains[:2]), everywhere(brains[:2]), 300)
    for index in range(2):
        stain = in_mask(brains)[index]
        assert np.corrcoef(predictor.predict(index), stain)[0, 1] ** 2 > 0.9


def test_a_voxel_without_a_known_stain_has_no_part(brains, scaling):
    known = everywhere(brains)
    known[1][::2] = False
    stains = in_mask(brains)
    first = predictor_of(brains, scaling)
    first.train(stains, known, 20)
    spoiled = [stain.clone() for stain in stains]
    spoiled[1][::2] = 1e6
    second = predictor_of(brains, scaling)
    second.train(spoiled, known, 20)
    assert torch.equal(first.predict(0), second.predict(0))


def test_every_voxel_is_predicted_alone(brains, scaling):
    """The prediction of a voxel is that of its own signals, whatever its neighbours are."""
    predictor = predictor_of(brains, scaling)
    gain, offset = scaling.training_coefficients(brains)[2]
    whole = predictor.predict(2)
    x, y, z = np.nonzero(brains[2].mask)
    for place in (0, 777, len(x) - 1):
        signals = torch.from_numpy(brains[2].image[x[place], y[place], z[place]] * gain + offset)
        torch.testing.assert_close(predictor.network(signals)[0], whole[place], atol=1e-5, rtol=1e-5)


def test_the_seed_decides(brains, scaling):
    predictions = []
    for seed in (1, 1, 2):
        predictor = predictor_of(brains, scaling, seed)
        predictor.train(in_mask(brains), everywhere(brains), 5)
        predictions.append(predictor.predict(0))
    assert torch.equal(predictions[0], predictions[1])
    assert not torch.allclose(predictions[0], predictions[2])


def test_the_random_state_of_a_training_stays(brains, scaling):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    predictor = predictor_of(brains, scaling)
    predictor.train(in_mask(brains), everywhere(brains), 3)
    assert torch.equal(torch.rand(3), expected)


def test_weights_are_kept_and_restored(brains, scaling):
    predictor = predictor_of(brains, scaling)
    before, kept = predictor.predict(0), predictor.state()
    predictor.train(in_mask(brains), everywhere(brains), 5)
    assert not torch.equal(predictor.predict(0), before)
    predictor.restore(kept)
    assert torch.equal(predictor.predict(0), before)
