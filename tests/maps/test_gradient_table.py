import numpy as np

from mrh_monai.maps.gradient_table import GradientTable


def test_shells_are_told_apart_by_leaps_lowest_first():
    b_values = np.array([2500.0, 0, 1060, 1000, 43.5, 2480, 1100])
    table = GradientTable(b_values, np.zeros((7, 3)), np.zeros(7, int), "t")
    assert list(table.shells) == [1100, 2500]
    np.testing.assert_array_equal(np.flatnonzero(table.shells[1100]), [2, 3, 6])
    np.testing.assert_array_equal(np.flatnonzero(table.shells[2500]), [0, 5])
    np.testing.assert_array_equal(np.flatnonzero(table.unweighted), [1, 4])


def test_no_weighted_volume_is_lost_where_two_low_shells_round_to_one():
    table = GradientTable(np.array([0.0, 110, 130]), np.zeros((3, 3)), np.zeros(3, int), "t")
    np.testing.assert_array_equal(np.any(list(table.shells.values()), 0), [False, True, True])


def test_a_shell_is_fitted_with_the_unweighted_volumes_of_its_own_scan():
    b_values, scans = np.array([0.0, 1000, 1000, 0, 2500, 4000]), np.array([0, 0, 0, 1, 1, 2])
    table = GradientTable(b_values, np.zeros((6, 3)), scans, "t")
    fitted = {b: np.flatnonzero(table.fitted_with(members)).tolist() for b, members in table.shells.items()}
    assert fitted == {1000: [0, 1, 2], 2500: [3, 4], 4000: [0, 3, 5]}
