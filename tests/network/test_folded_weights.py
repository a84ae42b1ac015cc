import pytest
import torch
import torch.nn.functional as F

from mrh_monai.network.folded_weights import INPUTS, OUTPUTS, TAPS, matrix_weights, product_weights


def test_four_products_are_the_convolution_of_three_numbers():
    """Of every tap and every input, what each output gets: 1 where the tap leads from the one to the other, 0 elsewhere."""
    found = torch.einsum("po,pi,pt->oit", OUTPUTS, INPUTS, TAPS)
    expected = torch.tensor([[[float(tap == i - o + 1) for tap in range(3)] for i in range(3)] for o in range(3)], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dims", [2, 3])
def test_folded_weights_are_the_convolution_with_zero_padding(dims):
    weight, x = torch.randn(4, 6, *(3,) * dims, dtype=torch.float64), torch.randn(7, 6, *(3,) * dims, dtype=torch.float64)
    expected = (F.conv2d if dims == 2 else F.conv3d)(x, weight, padding=1)
    rows = x.movedim(1, -1).reshape(7, -1)
    found = (rows @ matrix_weights(weight)).view(7, *(3,) * dims, 4).movedim(-1, 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert product_weights(weight).shape == (4**dims, 4, 6)


def test_a_matrix_is_zero_where_no_tap_leads():
    """32 of the 81 blocks: between opposite edges and corners of a patch."""
    blocks = matrix_weights(torch.ones(1, 1, 3, 3))
    assert (blocks == 0).sum() == 32
