import pytest

from mrh_monai.errors import OptionError
from mrh_monai.protocol.channel import Channel, shells_of


def shells_by_loops(b_values):
    """Shells by comparing every pair of images: two are in one shell if a chain of steps of at most a tenth joins them."""
    weighted = [index for index, b in enumerate(b_values) if b >= 100]
    shells = []
    for index in weighted:
        near = [s for s in shells if any(max(b_values[index], b_values[i]) <= 1.1 * min(b_values[index], b_values[i]) for i in s)]
        shells = [s for s in shells if s not in near] + [sorted([index, *(i for s in near for i in s)])]
    return sorted(shells, key=lambda shell: min(b_values[i] for i in shell))


def test_rows_and_channels_are_inverse():
    channel = Channel("dwi", 1000.0, (0.0, 0.6, 0.8), 3.5, "pgse")
    row = channel.to_row()
    assert row == {"name": "dwi", "b_value": 1000.0, "direction": (0.0, 0.6, 0.8), "minutes": 3.5, "contrast": "pgse"}
    assert Channel.from_row({**row, "direction": [0.0, 0.6, 0.8]}) == channel
    assert Channel("qa").to_row() == {"name": "qa"}
    assert Channel.from_row({"name": "qa"}) == Channel("qa")


def test_an_image_is_unweighted_below_100():
    assert [Channel("c", b).is_unweighted for b in (None, 0, 43.5, 99.9, 100, 1900)] == [False, True, True, True, False, False]


def test_descriptions_name_the_b_value():
    assert [Channel("c", b).description for b in (None, 43.5, 1000)] == ["c", "c, b = 43.5 s/mm^2", "c, b = 1000 s/mm^2"]


def test_shells_equal_those_of_pairwise_comparison(rng):
    for _ in range(50):
        b_values = rng.choice([0.0, 40, 99, 100, 110, 121, 130, 400, 430, 1900, 2050, 2300, 4800], rng.integers(1, 9)).tolist()
        found = shells_of(b_values)
        assert [sorted(shell) for shell in found.values()] == shells_by_loops(b_values), b_values


def test_shells_are_named_after_their_mean_to_the_nearest_100():
    assert shells_of([0, 5000, 1010, 43, 960, 4890]) == {1000: [4, 2], 4900: [5, 1]}
    assert shells_of([0, 99.9]) == {}
    assert shells_of([]) == {}


def test_two_shells_that_round_to_the_same_value_are_both_kept():
    """The second one is named after its own mean."""
    assert shells_of([110, 130]) == {100: [0], 130: [1]}
    assert shells_of([0, 140, 115, 110]) == {100: [3, 2], 140: [1]}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": ""}, "channel '', name: expected one line of text without quotes, found ''"),
        ({"name": "a\nb"}, "name: expected one line of text"),
        ({"name": "x" * 81}, "name: expected one line of text"),
        ({"b_value": True}, "channel 'c', b_value: expected a number of s/mm.2, 0 or more, found True; correct `b_value`"),
        ({"b_value": float("inf")}, "b_value: .* found inf"),
        ({"minutes": float("nan")}, "minutes: expected a number above 0, found nan"),
        ({"minutes": "3"}, "minutes: expected a number above 0, found '3'"),
        ({"direction": (0.0, 0.0, 0.0005)}, "direction: expected three numbers that form a vector longer than 0.001"),
        ({"direction": (0.0, 0.0)}, "direction: expected three numbers, found"),
        ({"contrast": ""}, "contrast: expected one line of text"),
    ],
)
def test_impossible_values_are_refused(values, message):
    with pytest.raises(OptionError, match=message):
        Channel(**{"name": "c", **values})


@pytest.mark.parametrize("length", [0.002, 0.5, 0.985, 1.0, 2.0, 45.0])
def test_a_direction_may_have_any_length(length):
    assert Channel("a", 1000.0, (0.0, 0.6 * length, 0.8 * length)).direction == pytest.approx((0.0, 0.6, 0.8))


@pytest.mark.parametrize("b_value", [0.0, 43.5, 99.0])
def test_an_image_without_weighting_has_no_direction(b_value):
    assert Channel("b0", b_value, (1.0, 0.0, 0.0)) == Channel("b0", b_value)
