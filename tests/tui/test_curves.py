from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from crild_tui.monitor.curves import Border, Curves, Table, buckets, extent, smooth, value_at, window
from crild_tui.runs.smoothing import smoothed

Column = NDArray[np.float64]
NAN = math.nan

values = st.one_of(st.floats(-1e30, 1e30), st.just(NAN), st.just(math.inf), st.just(-math.inf))
points = st.lists(st.tuples(st.floats(0, 1e6), values), max_size=200)


def columns(pairs: list[tuple[float, float]]) -> tuple[Column, Column]:
    return np.array(sorted(x for x, _ in pairs)), np.array([y for _, y in pairs])


def same(found: Any, expected: Any) -> bool:
    return bool(np.array_equal(np.asarray(found, float), np.asarray(expected, float), equal_nan=True))


# -- what is in view


def test_a_window_has_the_points_in_view_and_one_neighbour_on_each_side() -> None:
    x = np.arange(10.0)
    assert window(x, x * 2, 3, 5)[0].tolist() == [2, 3, 4, 5, 6]
    assert window(x, x * 2, 3.5, 3.6)[1].tolist() == [6, 8]
    assert window(x, x, -5, 50)[0].tolist() == x.tolist()
    assert window(x, x, 20, 30)[0].tolist() == [9]
    assert window(x, x, -9, -3)[0].tolist() == [0]
    assert len(window(np.empty(0), np.empty(0), 0, 1)[0]) == 0


def test_a_window_shares_memory_with_the_curve() -> None:
    x = np.arange(1000.0)
    assert np.shares_memory(window(x, x, 100, 200)[1], x)


# -- buckets


def test_each_bucket_knows_its_least_greatest_and_mean_value() -> None:
    x, y = np.arange(8.0), np.array([1.0, 3, 2, 8, 0, 4, 5, 5])
    found = buckets(x, y, 0, 8, 2)
    assert found.lowest.tolist() == [1, 0]
    assert found.highest.tolist() == [8, 5]
    assert found.mean.tolist() == [3.5, 3.5]
    assert found.x.tolist() == [1.5, 5.5]


def test_as_few_points_as_buckets_stay_as_they_are() -> None:
    x, y = np.array([1.0, 2.0, 50.0]), np.array([5.0, NAN, 7.0])
    found = buckets(x, y, 0, 60, 10)
    assert found.x.tolist() == [1, 2, 50]
    assert same(found.mean, [5, NAN, 7])
    assert same(found.lowest, [5, NAN, 7])


def test_a_bucket_of_gaps_is_a_gap_and_one_that_is_known_in_part_is_that_part() -> None:
    x = np.arange(12.0)
    y = np.array([1, NAN, 3, NAN, NAN, NAN, NAN, NAN, NAN, 4, 5, math.inf])
    found = buckets(x, y, 0, 12, 4)
    assert same(found.mean, [2, NAN, NAN, 4.5])
    assert same(found.highest, [3, NAN, NAN, 5])


def test_places_without_points_make_no_bucket() -> None:
    x = np.concatenate([np.arange(10.0), np.arange(90.0, 100.0)])
    found = buckets(x, x, 0, 100, 10)
    assert found.x.tolist() == [4.5, 94.5]


def test_the_neighbours_of_the_view_are_buckets_of_their_own() -> None:
    x = np.arange(100.0)
    found = buckets(x, x, 20, 39.5, 2)
    assert found.x.tolist() == [19, 24.5, 34.5, 40]


def test_a_view_without_bounds_is_the_whole_curve() -> None:
    x = np.arange(100.0)
    found = buckets(x, x, -math.inf, math.inf, 4)
    assert (found.lowest[0], found.highest[-1]) == (0, 99)
    assert len(found.x) <= 6


def test_no_bucket_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        buckets(np.empty(0), np.empty(0), 0, 1, 0)


@given(points, st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 40))
def test_buckets_hold_what_the_window_holds(
    pairs: list[tuple[float, float]], one: float, other: float, count: int
) -> None:
    x, y = columns(pairs)
    low, high = min(one, other), max(one, other)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = buckets(x, y, low, high, count)
    inside = window(x, y, low, high)[1]
    known = inside[np.isfinite(inside)]
    assert len(found.x) <= count + 2
    assert (np.diff(found.x) >= 0).all()
    assert extent(found.lowest, found.highest) == extent(inside)
    if len(known):
        good = ~np.isnan(found.mean)
        slack = 1e-9 * (1 + abs(known).max())
        assert (found.lowest[good] <= found.mean[good] + slack).all()
        assert (found.mean[good] <= found.highest[good] + slack).all()


# -- smoothing


def test_smoothing_of_few_points_is_the_moving_average_without_its_usual_pull() -> None:
    x, y = np.arange(50.0), np.sin(np.arange(50.0))
    found_x, found = smooth(x, y, 0.9)
    assert found_x.tolist() == x.tolist()
    assert found.tolist() == pytest.approx(smoothed(y.tolist(), 0.9))
    assert smooth(x, np.full(50, 3.0), 0.99)[1].tolist() == pytest.approx([3.0] * 50)


def test_smoothing_keeps_gaps_and_does_not_let_them_into_the_average() -> None:
    found = smooth(np.arange(4.0), np.array([1.0, NAN, 1.0, NAN]), 0.5)[1]
    assert same(found, [1, NAN, 1, NAN])


def test_no_weight_leaves_the_curve() -> None:
    x = np.arange(5.0)
    assert smooth(x, x, 0)[1].tolist() == x.tolist()
    assert len(smooth(np.empty(0), np.empty(0), 0.9)[1]) == 0


@pytest.mark.parametrize("weight", [-0.1, 1.0, NAN])
def test_a_weight_that_is_none_is_an_error(weight: float) -> None:
    with pytest.raises(ValueError, match="weight"):
        smooth(np.arange(3.0), np.arange(3.0), weight)


def test_the_largest_weight_can_be_used() -> None:
    assert np.isfinite(smooth(np.arange(9000.0), np.ones(9000), math.nextafter(1, 0))[1]).all()


@pytest.mark.parametrize("count", [1_000, 3_000, 10_000, 200_000])
def test_a_curve_looks_as_smooth_with_many_points_as_with_few(count: int) -> None:
    """A step from 0 to 1 in the middle: a tenth of the way on, the average has come as far whatever the count."""
    x = np.linspace(0, 1, count, endpoint=False)
    xs, ys = smooth(x, (x >= 0.5).astype(float), 0.99)
    reached = value_at(xs, ys, 0.6)
    assert reached == pytest.approx(1 - 0.99**100, abs=0.02)
    assert len(xs) <= 4000


def test_smoothing_many_points_keeps_wide_gaps() -> None:
    x, y = np.arange(100_000.0), np.ones(100_000)
    y[40_000:60_000] = NAN
    xs, ys = smooth(x, y, 0.9)
    assert np.isnan(ys[(xs > 41_000) & (xs < 59_000)]).all()
    assert np.isfinite(ys[xs < 39_000]).all()


# -- single values


def test_the_value_at_a_place_is_the_newest_known_one() -> None:
    x, y = np.array([0.0, 10, 20, 30]), np.array([1.0, 2, NAN, NAN])
    assert value_at(x, y, -1) is None
    assert value_at(x, y, 0) == 1
    assert value_at(x, y, 9.9) == 1
    assert value_at(x, y, 1e9) == 2
    assert value_at(x, np.full(4, NAN), 30) is None
    assert value_at(np.empty(0), np.empty(0), 3) is None


def test_a_value_is_found_behind_a_very_long_gap() -> None:
    y = np.full(50_000, NAN)
    y[3] = 7
    assert value_at(np.arange(50_000.0), y, 49_999) == 7


def test_the_extent_is_that_of_what_is_finite() -> None:
    assert extent(np.array([3.0, NAN, math.inf]), np.array([-1.0])) == (-1, 3)
    assert extent(np.array([NAN, -math.inf]), np.empty(0)) is None
    assert extent() is None


def test_tables_and_borders_know_their_axes() -> None:
    table = Table(np.array([1.0]), np.array([0.5]), np.array([9.0]), {"loss": np.array([2.0])})
    border = Border("kd", 1, 0.5, 9)
    for axis, expected in (("step", 1), ("epoch", 0.5), ("time", 9)):
        assert table.axis(axis).tolist() == [expected]  # type: ignore[arg-type]
        assert border.at(axis) == expected  # type: ignore[arg-type]
    assert len(table) == 1
    assert len(Table()) == 0


def test_tables_are_compared_without_looking_into_them() -> None:
    """A screen may compare snapshots: that neither fails nor takes long."""
    one, other = Table(np.arange(3.0)), Table(np.arange(3.0))
    assert Curves(one) == Curves(one)
    assert Curves(one) != Curves(other)
