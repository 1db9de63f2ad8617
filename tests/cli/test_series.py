from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crild_tui.runs.smoothing import recent, smoothed, speed, time_left

values = st.lists(st.floats(-1e6, 1e6), max_size=30)


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


def test_recent_points_reach_back_over_the_window() -> None:
    points = [(float(second), 0.0) for second in range(10)]
    assert recent(points, 3.0) == points[6:]
    assert recent(points, 100.0) == points
    assert recent([], 3.0) == []


def test_speed_is_what_was_done_in_the_window() -> None:
    assert speed([(0.0, 0.0), (10.0, 5.0), (20.0, 25.0)], window=10.0) == pytest.approx(2.0)
    assert speed([(0.0, 0.0)]) is None
    assert speed([(0.0, 3.0), (1.0, 3.0)]) is None


def test_a_run_that_repeats_steps_is_judged_from_there() -> None:
    assert speed([(0.0, 90.0), (1.0, 100.0), (5.0, 10.0), (6.0, 14.0)]) == pytest.approx(4.0)


def test_the_time_left_follows_from_the_speed() -> None:
    assert time_left([(0.0, 0.0), (10.0, 20.0)], 100.0) == pytest.approx(40.0)
    assert time_left([(0.0, 0.0), (10.0, 100.0)], 100.0) == 0.0
    assert time_left([(0.0, 0.0)], 100.0) is None
    assert time_left([], 100.0) is None
