"""Curves cut to what one chart can show: a column of dots for each sliver of the axis, with its least and largest value."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crild_tui.monitor.curves import Buckets, Floats, smooth

Ints = NDArray[np.int64]

BLOCK = 64
"""Points of a block."""
LONG = 40_000
"""From so many points on, a view is read from blocks: each is then much narrower than a column of dots."""
FAR = 1e7
"""Columns from the view at which a neighbour may as well stand."""


@dataclass(frozen=True, eq=False)
class Trace:
    """A curve's points by rising place, NaN where there is no number, and their blocks when they are many."""

    x: Floats
    y: Floats
    blocks: Buckets | None = None

    def within(self, low: float, high: float) -> Floats:
        """The values from `low` to `high`."""
        return self.y[np.searchsorted(self.x, low, side="left") : np.searchsorted(self.x, high, side="right")]


def trace(x: Floats, y: Floats) -> Trace:
    """The points in order: those without a place are left out, and infinite values are no numbers.

    Costs about 10 ms for a million points, so long curves are prepared outside the event loop, and kept.
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
    return Trace(x, y, _blocks(x, y) if len(x) > LONG else None)


def _blocks(x: Floats, y: Floats) -> Buckets:
    starts = np.arange(0, len(x), BLOCK)
    return Buckets(x[starts], *_reduced(y, y, y, starts))


def smooth_trace(curve: Trace, weight: float, breaks: Sequence[float] = ()) -> Trace:
    """The exponential moving average of a curve, anew after each break; a few thousand points at most."""
    x, y = (curve.x, curve.y) if curve.blocks is None else (curve.blocks.x, curve.blocks.mean)
    edges = np.searchsorted(x, np.asarray(breaks, np.float64), side="right")
    parts = [
        smooth(part_x, part_y, weight)
        for part_x, part_y in zip(np.split(x, edges), np.split(y, edges), strict=True)
        if len(part_x)
    ]
    if not parts:
        return Trace(x, y)
    return Trace(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))


def _reduced(low: Floats, high: Floats, mean: Floats, starts: Ints) -> tuple[Floats, Floats, Floats]:
    """Least, largest and mean value from each start to the next; NaN where a part has no number at all."""
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
class Columns:
    """The columns of dots that have points, from left to right; a neighbour lies outside the view on each side.

    at: the column, 0 is the view's first. low, high, mean: NaN where there is no number. part: which stretch between
    two breaks the points belong to.
    """

    at: Ints
    low: Floats
    high: Floats
    mean: Floats
    part: Ints

    def inside(self, count: int) -> NDArray[np.bool_]:
        """Which of them lie in a view of `count` columns and have a number."""
        return (self.at >= 0) & (self.at < count) & ~np.isnan(self.mean)

    def without(self, parts: Set[int]) -> Columns:
        """The same without any number in some of the stretches between two breaks."""
        if not parts:
            return self
        gone = np.isin(self.part, list(parts))
        low, high, mean = (np.where(gone, np.nan, column) for column in (self.low, self.high, self.mean))
        return Columns(self.at, low, high, mean, self.part)


def columns(curve: Trace, low: float, high: float, count: int, breaks: Sequence[float] = ()) -> Columns:
    """The curve from `low` to `high` in `count` columns of dots, and a neighbour on each side."""
    points = Buckets(curve.x, curve.y, curve.y, curve.y)
    first, last = _span(points.x, low, high)
    if curve.blocks is not None and last - first > LONG:
        points = curve.blocks
        first, last = _span(points.x, low, high)
    cut = slice(max(first - 1, 0), last + 1)
    x = points.x[cut]
    none = np.empty(0)
    if not len(x):
        return Columns(none.astype(np.int64), none, none, none, none.astype(np.int64))
    # Halves keep the difference of two huge numbers finite.
    with np.errstate(over="ignore"):
        share = (x / 2 - low / 2) / (high / 2 - low / 2) * count
    at = np.floor(np.clip(share, -FAR, FAR)).astype(np.int64)
    at[(at == count) & (x <= high)] = count - 1
    # A point on a break is the last one before it: steps are counted from 1 in each stage.
    part = np.searchsorted(np.asarray(breaks, np.float64), x, side="left").astype(np.int64)
    fresh = np.flatnonzero((np.diff(at) != 0) | (np.diff(part) != 0)) + 1
    starts = np.concatenate((np.zeros(1, np.int64), fresh))
    return Columns(
        at[starts], *_reduced(points.lowest[cut], points.highest[cut], points.mean[cut], starts), part[starts]
    )


def _span(x: Floats, low: float, high: float) -> tuple[int, int]:
    return int(np.searchsorted(x, low, side="left")), int(np.searchsorted(x, high, side="right"))


def logarithms(cut: Columns) -> Columns:
    """The same on a log10 scale, NaN where a value is not positive."""
    return Columns(cut.at, log10(cut.low), log10(cut.high), log10(cut.mean), cut.part)


def log10(values: Floats) -> Floats:
    """log10, NaN where a value is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(values > 0, np.log10(values), np.nan)
