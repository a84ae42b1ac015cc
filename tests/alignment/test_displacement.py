import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from helpers.b_splines import plain_spline
from mrh_monai.alignment.displacement import ControlGrid, bending_energy, displaced, inverse, sampled

SHAPE, SPACING = (9, 4, 7), (0.2, 0.4, 0.3)


def test_a_displacement_is_a_sum_of_b_splines_around_its_control_points():
    grid = ControlGrid(SHAPE, SPACING, distance_mm=0.5)
    control = torch.randn(2, *grid.shape, generator=torch.Generator().manual_seed(0))
    dense = grid.dense(control)
    coordinates = [np.arange(count) * edge / 0.5 for count, edge in zip(SHAPE, SPACING, strict=True)]
    for along, points in zip(dense, control, strict=True):
        np.testing.assert_allclose(along, plain_spline(points.numpy(), coordinates), atol=1e-5)
    lattice = (slice(1, None, 3), slice(None), slice(None, None, 2))
    torch.testing.assert_close(grid.dense(control, lattice), dense[(slice(None), *lattice)])


def test_bending_costs_and_a_shift_a_turn_and_a_stretch_do_not():
    points = torch.stack(torch.meshgrid(torch.arange(5.0), torch.arange(4.0), torch.arange(6.0), indexing="ij"))
    plain = torch.stack([1 + 2 * points[0] - points[2], 3 - points[1] + 0.5 * points[2]])
    assert float(bending_energy(plain)) == pytest.approx(0, abs=1e-8)
    bent = plain.clone()
    bent[0] += points[0] ** 2  # second difference 2 at 3 x 4 x 6 places
    assert float(bending_energy(bent)) == pytest.approx(4 * 3 * 4 * 6)
    twisted = plain.clone()
    twisted[1] += points[0] * points[2]  # mixed difference 1 at 4 x 4 x 5 places, counted twice
    assert float(bending_energy(twisted)) == pytest.approx(2 * 4 * 4 * 5)


def test_samples_are_those_of_scipy(rng):
    volumes = rng.normal(size=(2, 5, 1, 6)).astype(np.float32)
    places = np.stack([rng.uniform(-1, 6, 20_000), np.zeros(20_000), rng.uniform(-1, 7, 20_000)]).astype(np.float32)
    found = sampled(torch.from_numpy(volumes), torch.from_numpy(places))
    expected = [map_coordinates(volume, places, order=1, mode="nearest") for volume in volumes]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_places_move_within_the_coronal_plane_by_mm():
    moved = displaced(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[0.1], [-0.6]]), SPACING)
    assert moved[:, 0].tolist() == pytest.approx([1.5, 2.0, 1.0])


def test_the_inverse_leads_back():
    grid = ControlGrid((40, 3, 40), (0.1, 0.1, 0.1), distance_mm=1.0)
    field = grid.dense(0.3 * torch.randn(2, *grid.shape, generator=torch.Generator().manual_seed(1)))
    back = inverse(field, (0.1, 0.1, 0.1))
    voxels = torch.stack(torch.meshgrid(torch.arange(40.0), torch.arange(3.0), torch.arange(40.0), indexing="ij")).flatten(1)
    there = sampled(field, displaced(voxels, back.flatten(1), (0.1, 0.1, 0.1)))
    rest = (back.flatten(1) + there).view(2, 40, 3, 40)[:, 6:-6, :, 6:-6]
    assert float(field.abs().max()) > 0.2
    assert float(rest.abs().max()) < 0.002
