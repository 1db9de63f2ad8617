"""Curves cut to what one chart can show: a column of dots for each sliver of the axis, with its least and largest value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crild_tui.curves import Floats
from crild_tui.series import smoothed

Ints = NDArray[np.int64]

BLOCK = 64
"""Points of a block."""
LONG = 40_000
"""From so many points on, a view is read from blocks: each is then much narrower than a column of dots."""
BEFORE = 200
"""Points at the left of a view that its smoothing begins with, so that it does not start anew at the edge."""
FAR = 1e7


def _none() -> Floats:
    return np.empty(0)


@dataclass(frozen=True, eq=False)
class Blocks:
    """Points, or blocks of neighbouring points: place, least, largest and mean value; NaN where there is no number."""

    x: Floats = field(default_factory=_none)
    low: Floats = field(default_factory=_none)
    high: Floats = field(default_factory=_none)
    mean: Floats = field(default_factory=_none)


@dataclass(frozen=True, eq=False)
class Trace:
    """A curve's points by rising place, NaN where there is no number, and their blocks when they are many."""

    x: Floats
    y: Floats
    blocks: Blocks | None = None


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


def _blocks(x: Floats, y: Floats) -> Blocks:
    starts = np.arange(0, len(x), BLOCK)
    return Blocks(x[starts], *_reduced(y, y, y, starts))


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
    """The columns of dots that have points, from left to right; some lie outside the view, for joining and smoothing.

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


def columns(curve: Trace, low: float, high: float, count: int, breaks: Sequence[float] = ()) -> Columns:
    """The curve from `low` to `high` in `count` columns of dots, and what is needed of its surroundings."""
    first, last = _span(curve.x, low, high)
    if curve.blocks is not None and last - first > LONG:
        points = curve.blocks
        first, last = _span(points.x, low, high)
    else:
        points = Blocks(curve.x, curve.y, curve.y, curve.y)
    first = max(min(first - BEFORE, int(np.searchsorted(points.x, low - (high - low)))), 0)
    cut = slice(first, last + 1)
    x = points.x[cut]
    if not len(x):
        none = np.empty(0, np.int64)
        return Columns(none, _none(), _none(), _none(), none)
    # Halves keep the difference of two huge numbers finite.
    at = np.floor(np.clip((x / 2 - low / 2) / (high / 2 - low / 2) * count, -FAR, FAR)).astype(np.int64)
    at[(at == count) & (x <= high)] = count - 1
    part = np.searchsorted(np.asarray(breaks, np.float64), x, side="left").astype(np.int64)
    fresh = np.flatnonzero((np.diff(at) != 0) | (np.diff(part) != 0)) + 1
    starts = np.concatenate((np.zeros(1, np.int64), fresh))
    return Columns(at[starts], *_reduced(points.low[cut], points.high[cut], points.mean[cut], starts), part[starts])


def _span(x: Floats, low: float, high: float) -> tuple[int, int]:
    return int(np.searchsorted(x, low, side="left")), int(np.searchsorted(x, high, side="right"))


def smooth_columns(cut: Columns, weight: float) -> Columns:
    """The exponential moving average over columns (over points, where those are fewer), anew after each break."""
    if not weight or not len(cut.at):
        return cut
    edges = np.flatnonzero(np.diff(cut.part)) + 1
    pieces = [smoothed(piece.tolist(), weight) for piece in np.split(cut.mean, edges)]
    mean = np.array([value for piece in pieces for value in piece])
    return Columns(cut.at, mean, mean, mean, cut.part)


def logarithms(cut: Columns) -> Columns:
    """The same on a log10 scale, NaN where a value is not positive."""
    return Columns(cut.at, log10(cut.low), log10(cut.high), log10(cut.mean), cut.part)


def log10(values: Floats) -> Floats:
    """log10, NaN where a value is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(values > 0, np.log10(values), np.nan)


def not_positive(curve: Trace, low: float, high: float) -> int:
    """How many values of a view a log scale cannot show."""
    first, last = _span(curve.x, low, high)
    return int(np.count_nonzero(curve.y[first:last] <= 0))


def not_numbers(curve: Trace, low: float, high: float) -> int:
    """How many points of a view have no number."""
    first, last = _span(curve.x, low, high)
    return int(np.count_nonzero(np.isnan(curve.y[first:last])))


def value_before(cut: Columns, column: int) -> float | None:
    """The value that the columns show at `column`, or last before it; None before the first."""
    place = int(np.searchsorted(cut.at, column, side="right")) - 1
    return None if place < 0 else float(cut.mean[place])
