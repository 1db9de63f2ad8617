"""Speed and remaining time from progress over time. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, float]
"""A time in seconds and how much was done by then."""


def recent(points: Sequence[Point], window: float) -> Sequence[Point]:
    """The last points, starting with the newest that is at least `window` seconds old; all of them if none is."""
    if not points:
        return points
    newest = points[-1][0]
    for index in range(len(points) - 1, -1, -1):
        if newest - points[index][0] >= window:
            return points[index:]
    return points


def speed(points: Sequence[Point], window: float) -> float | None:
    """The amount done per second over the last `window` seconds; None if there is too little to tell.

    Points before a step back (a resumed run repeats steps) don't count.
    """
    points = recent(points, window)
    start = 0
    for index in range(1, len(points)):
        if points[index][1] < points[index - 1][1]:
            start = index
    points = points[start:]
    if len(points) < 2:
        return None
    seconds = points[-1][0] - points[0][0]
    amount = points[-1][1] - points[0][1]
    return amount / seconds if seconds > 0 and amount > 0 else None


def time_left(points: Sequence[Point], total: float, window: float) -> float | None:
    """Seconds until `total` at the speed of the last `window` seconds; None if there is too little to tell."""
    if not points:
        return None
    left = total - points[-1][1]
    if left <= 0:
        return 0.0
    current_speed = speed(points, window)
    return None if current_speed is None else left / current_speed
