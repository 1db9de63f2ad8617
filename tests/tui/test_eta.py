from __future__ import annotations

import pytest

from crild_tui.runs.eta import recent, speed, time_left


def test_recent_points_reach_back_over_the_window() -> None:
    points = [(float(second), 0.0) for second in range(10)]
    assert recent(points, 3.0) == points[6:]
    assert recent(points, 100.0) == points
    assert recent([], 3.0) == []


def test_speed_is_what_was_done_in_the_window() -> None:
    assert speed([(0.0, 0.0), (10.0, 5.0), (20.0, 25.0)], window=10.0) == pytest.approx(2.0)
    assert speed([(0.0, 0.0)], 30.0) is None
    assert speed([(0.0, 3.0), (1.0, 3.0)], 30.0) is None


def test_a_run_that_repeats_steps_is_judged_from_there() -> None:
    assert speed([(0.0, 90.0), (1.0, 100.0), (5.0, 10.0), (6.0, 14.0)], 30.0) == pytest.approx(4.0)


def test_the_time_left_follows_from_the_speed() -> None:
    assert time_left([(0.0, 0.0), (10.0, 20.0)], 100.0, 30.0) == pytest.approx(40.0)
    assert time_left([(0.0, 0.0), (10.0, 100.0)], 100.0, 30.0) == 0.0
    assert time_left([(0.0, 0.0)], 100.0, 30.0) is None
    assert time_left([], 100.0, 30.0) is None
