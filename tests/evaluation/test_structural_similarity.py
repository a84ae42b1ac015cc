import numpy as np
import pytest
from skimage.metrics import structural_similarity

from mrh_monai.evaluation.structural_similarity import ssim, ssim_map


@pytest.fixture
def pair(rng):
    target = rng.uniform(0, 255, (24, 3, 20))
    return target + rng.normal(0, 30, target.shape), target, rng.random(target.shape) > 0.3


def test_ssim_is_scikit_images_where_the_mask_is_full(pair):
    p, t, _ = pair
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True, "data_range": 255}
    full = np.ones(p.shape, bool)
    expected = np.stack([structural_similarity(p[:, y], t[:, y], **options)[1] for y in range(3)], 1)
    assert ssim(p, t, full, 255) == pytest.approx(expected.mean())
    np.testing.assert_allclose(ssim_map(p, t, full, 255), expected[full], atol=1e-6)


def test_ssim_does_not_count_the_background(pair):
    p, t, _ = pair
    mask = np.zeros(p.shape, bool)
    mask[8:16, :, 6:14] = True
    inside = ssim(p, t, mask, 255)
    assert inside < 0.97
    garbage = np.where(mask, p, 1e4)
    assert ssim(garbage, t, mask, 255) == pytest.approx(inside)
    assert ssim(t, t, mask, 255) == pytest.approx(1)
    assert np.isnan(ssim(p[8:16], t[8:16], mask[8:16], 255))


def test_ssim_of_each_voxel_is_in_the_masks_order(pair):
    p, t, mask = pair
    mask[:, 1] = False
    found = ssim_map(p, t, mask, 255)
    assert found.shape == (mask.sum(),)
    assert found.mean() == pytest.approx(ssim(p, t, mask, 255))
    p[3, 2, 4] = t[3, 2, 4] + 200
    mask[3, 2, 4] = True
    in_place = np.zeros(mask.shape)
    in_place[mask] = ssim_map(p, t, mask, 255) - ssim_map(np.where(p == p[3, 2, 4], t, p), t, mask, 255)
    assert not in_place[:, 0].any()
    assert in_place[3, 2, 4] < -0.1
