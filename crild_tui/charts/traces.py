"""Curves reduced to what one chart can show: for each column of dots the smallest and the largest value."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crild_tui.monitor.curves import Floats

Ints = NDArray[np.int64]

BLOCK = 64
"""Points of a block."""
LONG = 40_000
"""Points from which a view is drawn from blocks: each is then much narrower than a column of dots."""
FAR = 1e7
"""DotColumns outside the view; a neighbour further away is drawn as if it were there."""
_STRIDE = 4096
"""Points searched at once for a known value."""


class Blocks(NamedTuple):
    """A curve in pieces of `BLOCK` points: where each begins, and its values; NaN where a piece has no number."""

    x: Floats
    lowest: Floats
    highest: Floats
    mean: Floats


@dataclass(frozen=True, eq=False)
class Trace:
    """A curve's points by rising, finite x; NaN is a gap. Long curves have blocks too."""

    x: Floats
    y: Floats
    blocks: Blocks | None = None

    def within(self, low: float, high: float) -> Floats:
        """The values from `low` to `high`."""
        return self.y[np.searchsorted(self.x, low, side="left") : np.searchsorted(self.x, high, side="right")]

    def newest(self, until: float = np.inf, since: float = -np.inf) -> float | None:
        """The newest known value at or before `until` and after `since`; None if there is none."""
        first, end = (int(np.searchsorted(self.x, x, "right")) for x in (since, until))
        while end > first:
            start = max(first, end - _STRIDE)
            known = np.flatnonzero(np.isfinite(self.y[start:end]))
            if len(known):
                return float(self.y[start + known[-1]])
            end = start
        return None


def trace(x: Floats, y: Floats) -> Trace:
    """The points in order: those without an x are left out, and infinite values are gaps.

    Costs about 10 ms for a million points, so long curves are prepared outside the event loop, and cached.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    placed = np.isfinite(x)
    if not placed.all():
        x, y = x[placed], y[placed]
    if len(x) > 1 and (x[1:] < x[:-1]).any():
        order = np.argsort(x, kind="stable")
        x, y = x[order], y[order]
    if np.isinf(y).any():
        y = np.where(np.isinf(y), np.nan, y)
    if len(x) <= LONG:
        return Trace(x, y)
    starts = np.arange(0, len(x), BLOCK)
    return Trace(x, y, Blocks(x[starts], *reduced(y, y, y, starts)))


def reduced(low: Floats, high: Floats, mean: Floats, starts: Ints) -> tuple[Floats, Floats, Floats]:
    """Smallest, largest and mean value from each start to the next; NaN where a part has no number."""
    known = ~np.isnan(mean)
    if known.all():
        counts = np.diff(starts, append=len(mean)).astype(np.float64)
        with np.errstate(over="ignore"):
            means = np.add.reduceat(mean, starts) / counts
        lows, highs = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
    else:
        counts = np.add.reduceat(known, starts, dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            means = np.add.reduceat(np.where(known, mean, 0.0), starts) / counts
        lows, highs = np.fmin.reduceat(low, starts), np.fmax.reduceat(high, starts)
    if np.isinf(means).any():  # a sum beyond what a float holds
        means = np.where(np.isinf(means), lows / 2 + highs / 2, means)
    return lows, highs, means


@dataclass(frozen=True, eq=False)
class DotColumns:
    """The columns of dots that have points, from left to right, with a neighbour outside the view on each side.

    index: of the column; 0 is the first in view. low, high, mean: NaN where there is no number. part: index of the
    stretch between two breaks that the points belong to.
    """

    index: Ints
    low: Floats
    high: Floats
    mean: Floats
    part: Ints

    def inside(self, count: int) -> NDArray[np.bool_]:
        """Which of them are in a view of `count` columns and have a number."""
        return (self.index >= 0) & (self.index < count) & ~np.isnan(self.mean)

    def without(self, parts: Set[int]) -> DotColumns:
        """The same without the numbers of some stretches between two breaks."""
        if not parts:
            return self
        hidden = np.isin(self.part, list(parts))
        low, high, mean = (np.where(hidden, np.nan, column) for column in (self.low, self.high, self.mean))
        return DotColumns(self.index, low, high, mean, self.part)


def columns(curve: Trace, low: float, high: float, count: int, breaks: Sequence[float] = ()) -> DotColumns:
    """The curve from `low` to `high` in `count` columns of dots, and a neighbour on each side."""
    points = Blocks(curve.x, curve.y, curve.y, curve.y)
    first, last = _span(points.x, low, high)
    if curve.blocks is not None and last - first > LONG:
        points = curve.blocks
        first, last = _span(points.x, low, high)
    cut = slice(max(first - 1, 0), last + 1)
    x = points.x[cut]
    if not len(x):
        none, indices = np.empty(0), np.empty(0, np.int64)
        return DotColumns(indices, none, none, none, indices)
    # Halves keep the difference of two huge numbers finite.
    with np.errstate(over="ignore"):
        share = (x / 2 - low / 2) / (high / 2 - low / 2) * count
    index = np.floor(np.clip(share, -FAR, FAR)).astype(np.int64)
    index[(index == count) & (x <= high)] = count - 1
    # A point on a break is the last one before it: each stage counts its steps from 1.
    part = np.searchsorted(np.asarray(breaks, np.float64), x, side="left").astype(np.int64)
    fresh = np.flatnonzero((np.diff(index) != 0) | (np.diff(part) != 0)) + 1
    starts = np.concatenate((np.zeros(1, np.int64), fresh))
    return DotColumns(
        index[starts], *reduced(points.lowest[cut], points.highest[cut], points.mean[cut], starts), part[starts]
    )


def _span(x: Floats, low: float, high: float) -> tuple[int, int]:
    return int(np.searchsorted(x, low, side="left")), int(np.searchsorted(x, high, side="right"))


def logarithms(cut: DotColumns) -> DotColumns:
    """The same on a log10 scale; NaN where a value isn't positive."""
    return DotColumns(cut.index, log10(cut.low), log10(cut.high), log10(cut.mean), cut.part)


def log10(values: Floats) -> Floats:
    """log10; NaN where a value isn't positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(values > 0, np.log10(values), np.nan)
