"""Charts as pictures: curves are cut where the dashboard's are."""

from __future__ import annotations

import numpy as np

from crild_tui.charts.figure import Line
from crild_tui.charts.image import _with_gaps
from crild_tui.charts.traces import trace


def line(breaks: tuple[float, ...] = (), hidden: frozenset[int] = frozenset()) -> Line:
    steps = np.arange(1.0, 7.0)
    return Line("total", trace(steps, steps * 10), 0, "o", breaks=breaks, hidden=hidden)


def test_points_on_both_sides_of_a_break_are_not_joined() -> None:
    x, y = _with_gaps(line(breaks=(2.0, 4.0)))
    assert x.tolist() == [1, 2, 3, 3, 4, 5, 5, 6]
    assert np.isnan(y).tolist() == [False, False, True, False, False, True, False, False]
    assert y[~np.isnan(y)].tolist() == [10, 20, 30, 40, 50, 60]


def test_a_part_that_is_not_drawn_is_left_out() -> None:
    _, y = _with_gaps(line(breaks=(2.0, 4.0), hidden=frozenset([1])))
    assert y[~np.isnan(y)].tolist() == [10, 20, 50, 60]
    assert len(_with_gaps(line())[0]) == 6
