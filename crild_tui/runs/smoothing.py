"""Pure functions over curves: smoothing, speed, and the time that is left."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Point = tuple[float, float]
"""A moment in seconds and how much was done by then."""


def smoothed(values: Iterable[float], weight: float) -> list[float]:
    """The exponential moving average of `values`, without the usual pull towards nothing at the start.

    `weight` (0 up to, not including, 1) is the share that the past keeps; 0 gives the values back. Values that are not
    finite stay in their places as they are and don't enter the average.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"weight must be at least 0 and below 1, not {weight}")
    out: list[float] = []
    average, mass = 0.0, 0.0
    for value in values:
        if not math.isfinite(value):
            out.append(value)
            continue
        average = weight * average + (1 - weight) * value
        mass = weight * mass + (1 - weight)
        out.append(average / mass)
    return out


def recent(points: Sequence[Point], window: float) -> Sequence[Point]:
    """The last points, from the newest that is at least `window` seconds old on; all of them when none is."""
    if not points:
        return points
    newest = points[-1][0]
    for at in range(len(points) - 1, -1, -1):
        if newest - points[at][0] >= window:
            return points[at:]
    return points


def speed(points: Sequence[Point], window: float = 30.0) -> float | None:
    """How much is done in a second, over the last `window` seconds; None when nothing can be said yet.

    What was done before a step back (a resumed run that repeats steps) does not count.
    """
    points = recent(points, window)
    start = 0
    for at in range(1, len(points)):
        if points[at][1] < points[at - 1][1]:
            start = at
    points = points[start:]
    if len(points) < 2:
        return None
    seconds = points[-1][0] - points[0][0]
    amount = points[-1][1] - points[0][1]
    return amount / seconds if seconds > 0 and amount > 0 else None


def time_left(points: Sequence[Point], total: float, window: float = 30.0) -> float | None:
    """Seconds until `total` is reached at the speed of the last `window` seconds; None when nothing can be said yet."""
    if not points:
        return None
    left = total - points[-1][1]
    if left <= 0:
        return 0.0
    pace = speed(points, window)
    return None if pace is None else left / pace
