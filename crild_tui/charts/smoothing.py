"""Exponential moving averages of curves. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from crild_tui.charts.traces import Trace, reduced
from crild_tui.monitor.curves import Floats

TYPICAL = 1000
"""Points up to which a weight means what it says; TensorBoard, whose convention it is, keeps no more of a curve."""
MAX_POINTS = 4000
"""Points of a smoothed curve between two breaks; where there are more, means of equally many neighbours stand for them."""
_NEARLY_ALL = math.nextafter(1.0, 0.0)


def smooth(trace: Trace, weight: float, breaks: Sequence[float] = ()) -> Trace:
    """The exponential moving average of a curve, debiased at its start as TensorBoard's, starting over at each break.

    `weight` (at least 0, below 1) is the share that the past keeps from one point to the next between breaks with
    `TYPICAL` points or fewer. Of more points each one counts for less, so that a curve looks as smooth with a million
    points as with a thousand. NaN stays a gap. Raises ValueError for another weight.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"weight must be at least 0 and below 1, not {weight}")
    x, y = (trace.x, trace.y) if trace.blocks is None else (trace.blocks.x, trace.blocks.mean)
    edges = np.searchsorted(x, np.asarray(breaks, np.float64), side="right")
    parts = [
        _smooth_part(part_x, part_y, weight)
        for part_x, part_y in zip(np.split(x, edges), np.split(y, edges), strict=True)
        if len(part_x)
    ]
    if not parts:
        return Trace(x, y)
    return Trace(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))


def _smooth_part(x: Floats, y: Floats, weight: float) -> tuple[Floats, Floats]:
    total = len(x)
    if total > MAX_POINTS:
        starts = np.arange(MAX_POINTS, dtype=np.int64) * total // MAX_POINTS
        x, (_, _, y) = np.add.reduceat(x, starts) / np.diff(starts, append=total), reduced(y, y, y, starts)
    adapted = min(weight ** (min(total, TYPICAL) / total * (total / len(x))), _NEARLY_ALL)
    average = mass = 0.0
    smoothed = y.tolist()
    for index, value in enumerate(smoothed):
        if math.isfinite(value):
            average = adapted * average + (1 - adapted) * value
            mass = adapted * mass + (1 - adapted)
            smoothed[index] = average / mass
    return x, np.array(smoothed)
