"""Zoom, pan and limit the part of the x axis in view. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crild_tui.charts.figure import View
from crild_tui.monitor.curves import Axis, Table

CLOSEST = 1e-6
"""The narrowest view, as a share of the whole axis."""
SMOOTHING = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99)


def limited(view: View, whole: View) -> View | None:
    """The view moved and cut into the whole axis; None if it is all of it."""
    span = whole.high - whole.low
    width = max(view.high - view.low, span * CLOSEST)
    if width >= span * (1 - 1e-9):
        return None
    low = min(max(view.low, whole.low), whole.high - width)
    return View(low, low + width)


def zoomed(view: View, center: float, factor: float) -> View:
    """`factor` times as wide, with `center` where it is."""
    return View(center - (center - view.low) * factor, center + (view.high - center) * factor)


def panned(view: View, share: float) -> View:
    """Moved by a share of its width."""
    by = (view.high - view.low) * share
    return View(view.low + by, view.high + by)


def ending_at(view: View, high: float) -> View:
    """As wide, with its right end at `high`."""
    return View(high - (view.high - view.low), high)


def at_end(view: View, whole: View) -> bool:
    """Whether the newest point is in view."""
    return view.high >= whole.high - (whole.high - whole.low) * 1e-9


def next_level(present: float, by: int) -> float:
    """The next stronger (1) or weaker (-1) smoothing."""
    if by > 0:
        return min((level for level in SMOOTHING if level > present + 1e-9), default=present)
    return max((level for level in SMOOTHING if level < present - 1e-9), default=present)


def translated(tables: Sequence[Table], old: Axis, new: Axis, x: float) -> float:
    """The same moment on another axis, by the first table that has points."""
    for table in tables:
        if len(table):
            return float(np.interp(x, table.axis(old), table.axis(new)))
    return x
