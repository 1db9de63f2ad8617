"""The charts of a search: what its trials reached, one after the other; or, with several aims, its front."""

from __future__ import annotations

import numpy as np

from crild_tui.charts.figure import Figure, Level, Line, Mark, View, Words
from crild_tui.charts.palette import curve_marker
from crild_tui.charts.traces import Trace, trace
from crild_tui.monitor.curves import Floats
from engine.search.declaration import LOWER
from engine.search.trials import TrialRecord, Trials

UNITS = {"latency": 1.0, "size": 1e-6}
"""What results of an aim are multiplied by on an axis: milliseconds, megabytes."""
STEPS = 2000
"""Points of a curve in steps: more than a chart has columns of dots, so that none of them is joined by a slope."""


def search_figure(trials: Trials) -> Figure:
    """The front of several aims, the second one across; else the results by trial with the best so far."""
    complete = [trial for trial in trials.trials if trial.results]
    return _front(trials, complete) if len(trials.aims) > 1 else _course(trials, complete)


def _course(trials: Trials, complete: list[TrialRecord]) -> Figure:
    """Each result at its trial's number, the best so far as a line, and the starting preset as a level."""
    aim = trials.aims[0]
    values = np.array([trial.results[0] for trial in complete]) * UNITS.get(aim, 1.0)
    numbers = np.array([float(trial.number) for trial in complete])
    best = np.minimum.accumulate(values) if aim in LOWER else np.maximum.accumulate(values)
    start = next((value for number, value in zip(numbers, values, strict=True) if number == 0), None)
    winner = [(number, value) for number, value in zip(numbers, values, strict=True) if number == trials.best]
    lines = (
        Line(
            "trials", trace(numbers, values), 1, curve_marker(1), dots=True, breaks=_between(numbers), has_value=False
        ),
        Line("best so far", _steps(numbers, best), 0, curve_marker(0)),
    )
    return Figure(
        f"{_name(aim)} by trial",
        lines if complete else (),
        () if start is None else (Level(float(start), "starting preset", "s"),),
        tuple(Mark(float(number), "best", float(value)) for number, value in winner),
        View(-0.5, max(len(trials.trials) - 0.5, 1.0)),
        across="trial",
        words=_words(aim),
        empty="no trial is complete yet",
    )


def _steps(x: Floats, y: Floats) -> Trace:
    """A curve that keeps each value until the next point."""
    if not len(x):
        return trace(x, y)
    dense = np.unique(np.concatenate([x, np.linspace(x[0], x[-1], STEPS)]))
    return trace(dense, y[np.searchsorted(x, dense, "right") - 1])


def _front(trials: Trials, complete: list[TrialRecord]) -> Figure:
    """Every trial by its first two aims; those of the front are joined."""
    first, second = trials.aims[:2]
    points = sorted(
        (trial.results[1] * UNITS.get(second, 1.0), trial.results[0] * UNITS.get(first, 1.0), trial.number)
        for trial in complete
    )
    on, off = ([one for one in points if (one[2] in trials.front) == is_on] for is_on in (True, False))
    low, high = (points[0][0], points[-1][0]) if points else (0.0, 1.0)
    margin = (high - low) * 0.05 or max(abs(high) * 0.05, 0.5)
    return Figure(
        f"{_name(first)} by {_name(second)}",
        tuple(
            Line(label, trace(*_columns(some)), color, curve_marker(color), dots=True, breaks=breaks, has_value=False)
            for label, some, color, breaks in (
                ("front", on, 0, ()),
                ("other trials", off, 1, _between(_columns(off)[0])),
            )
            if some
        ),
        view=View(low - margin, high + margin),
        axis="epoch" if high - low < 20 else "step",
        across={"latency": "ms", "size": "MB"}.get(second, ""),
        words=_words(first),
        empty="no trial is complete yet",
    )


def _columns(points: list[tuple[float, float, int]]) -> tuple[Floats, Floats]:
    return np.array([x for x, _, _ in points]), np.array([y for _, y, _ in points])


def _between(x: Floats) -> tuple[float, ...]:
    """Places between all points, so that none are joined."""
    return tuple(float(place) for place in (x[1:] + x[:-1]) / 2)


def _words(aim: str) -> Words:
    return "number" if aim in LOWER else "metric"


def _name(aim: str) -> str:
    return {"latency": "latency in ms", "size": "size in MB"}.get(aim, aim)
