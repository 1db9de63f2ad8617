"""Scales: the position of values on an axis, and the range that an axis covers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from crild_tui.charts.traces import log10
from crild_tui.monitor.curves import Floats

LARGEST = 1e300
SPIKES = 0.05
"""Share of the values at either end that may be spikes."""
SAME = 1e-5
"""Relative difference below which values are drawn as one."""
MANY = 40
"""Values below which none counts as a spike."""


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`; on a log scale both are powers of ten."""

    low: float
    high: float
    log: bool = False

    def times(self, factor: float) -> Scale:
        """The same axis for values multiplied by a positive factor."""
        if self.log:
            return Scale(self.low + math.log10(factor), self.high + math.log10(factor), log=True)
        return Scale(self.low * factor, self.high * factor)

    def position(self, values: Floats) -> Floats:
        """Positions of values: 0 at the low end, 1 at the high one; NaN for values that the scale can't show."""
        if self.log:
            values = log10(values)
        return (values / 2 - self.low / 2) / (self.high / 2 - self.low / 2)


def fitted(values: Iterable[float], *, log: bool = False, pad: float = 0.05) -> Scale:
    """The scale that fits all `values` with some padding, except NaN and, on a log scale, values that aren't positive.

    A single value is in the middle; so are values that differ in the sixth digit or later, which is how one figure differs
    where it was rounded differently.
    """
    known = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
    if log:
        known = [math.log10(value) for value in known]
    if not known:
        return Scale(0.0, 1.0, log)
    low, high = (min(max(value, -LARGEST), LARGEST) for value in (min(known), max(known)))
    padding = (high / 2 - low / 2) * 2 * pad
    if high - low <= (1e-9 if log else max(max(abs(low), abs(high)) * SAME, 1e-300)):
        padding = 0.5 if log else abs(high) * 0.1 or 0.5
    return Scale(low - padding, high + padding, log)


def without_spikes(values: Floats) -> tuple[float, float]:
    """The range of many values, cut if a few reach further than four times the range of the others.

    The first steps of a stage often do, and would flatten everything after them.
    """
    ordered = np.sort(values)
    low, high = float(ordered[0]), float(ordered[-1])
    last = len(ordered) - 1
    near, far = float(ordered[math.floor(last * SPIKES)]), float(ordered[math.ceil(last * (1 - SPIKES))])
    body = far / 2 - near / 2
    if len(ordered) < MANY or body <= max(abs(near), abs(far)) * 1e-6:
        return low, high
    return (
        near - body if near / 2 - low / 2 > 4 * body else low,
        far + body if high / 2 - far / 2 > 4 * body else high,
    )
