from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crild_tui.charts import smoothing
from crild_tui.charts.traces import Trace, trace
from crild_tui.monitor.curves import Border, Curves, Floats, Table

NAN = math.nan

values = st.lists(st.floats(-1e6, 1e6), max_size=30)


def same(found: Any, expected: Any) -> bool:
    return bool(np.array_equal(np.asarray(found, float), np.asarray(expected, float), equal_nan=True))


def smooth(x: Floats, y: Floats, weight: float) -> tuple[Floats, Floats]:
    smoothed = smoothing.smooth(trace(x, y), weight)
    return smoothed.x, smoothed.y


def smoothed(values: list[float], weight: float) -> list[float]:
    return list(smooth(np.arange(float(len(values))), np.array(values, float), weight)[1].tolist())


# -- smoothing


@given(values)
def test_no_smoothing_gives_the_values_back(points: list[float]) -> None:
    assert smoothed(points, 0.0) == pytest.approx(points)


@given(st.floats(-1e6, 1e6), st.floats(0, 0.99), st.integers(1, 30))
def test_a_constant_stays_what_it_is_from_the_first_value_on(value: float, weight: float, count: int) -> None:
    assert smoothed([value] * count, weight) == pytest.approx([value] * count)


@given(values, st.floats(0, 0.99))
def test_smoothing_stays_within_what_was_seen(points: list[float], weight: float) -> None:
    for at, value in enumerate(smoothed(points, weight)):
        seen = points[: at + 1]
        assert min(seen) - 1e-3 <= value <= max(seen) + 1e-3


def test_smoothing_passes_over_what_is_no_number() -> None:
    result = smoothed([1.0, math.nan, 3.0], 0.5)
    assert result[0] == 1.0
    assert math.isnan(result[1])
    assert result[2] == pytest.approx((0.5 * 0.5 * 1 + 0.5 * 3) / 0.75)


def test_smoothing_refuses_weights_that_would_never_move() -> None:
    with pytest.raises(ValueError, match="below 1"):
        smoothed([1.0], 1.0)


def test_smoothing_of_few_points_is_the_moving_average_without_its_usual_pull() -> None:
    x, y = np.arange(50.0), np.sin(np.arange(50.0))
    found_x, found = smooth(x, y, 0.9)
    assert found_x.tolist() == x.tolist()
    mass = 1 - 0.9 ** np.arange(1, 51)
    average = [sum(0.1 * 0.9 ** (last - n) * y[n] for n in range(last + 1)) for last in range(50)]
    assert found.tolist() == pytest.approx((np.array(average) / mass).tolist())
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
    reached = Trace(xs, ys).newest(0.6)
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
    assert Trace(x, y).newest(-1) is None
    assert Trace(x, y).newest(0) == 1
    assert Trace(x, y).newest(9.9) == 1
    assert Trace(x, y).newest(1e9) == 2
    assert Trace(x, np.full(4, NAN)).newest(30) is None
    assert Trace(np.empty(0), np.empty(0)).newest(3) is None


def test_a_value_is_found_behind_a_very_long_gap() -> None:
    y = np.full(50_000, NAN)
    y[3] = 7
    assert Trace(np.arange(50_000.0), y).newest(49_999) == 7


def test_tables_and_borders_know_their_axes() -> None:
    table = Table(np.array([1.0]), np.array([0.5]), np.array([9.0]), {"loss": np.array([2.0])})
    border = Border("kd", 1, 0.5, 9)
    for axis, expected in (("step", 1), ("epoch", 0.5), ("time", 9)):
        assert table.axis(axis).tolist() == [expected]  # type: ignore[arg-type]
        assert border.on(axis) == expected  # type: ignore[arg-type]
    assert len(table) == 1
    assert (len(table.after(0)), len(table.after(1))) == (1, 0)
    assert len(Table()) == 0


def test_tables_are_compared_without_looking_into_them() -> None:
    """A screen may compare snapshots: that neither fails nor takes long."""
    one, other = Table(np.arange(3.0)), Table(np.arange(3.0))
    assert Curves(one) == Curves(one)
    assert Curves(one) != Curves(other)
