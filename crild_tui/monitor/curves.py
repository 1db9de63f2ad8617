"""The curves of a run as columns of numbers, and pure functions that cut, thin and smooth them for a chart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crild_tui.runs.smoothing import smoothed

Floats = NDArray[np.floating[Any]]
"""A column of numbers: places along an axis with 64 bits, values with 32, since seven digits of them are written."""
Axis = Literal["step", "epoch", "time"]
AXES: tuple[Axis, ...] = ("step", "epoch", "time")
"""What can stand below a chart."""


def _empty() -> Floats:
    return np.empty(0)


@dataclass(frozen=True, eq=False)
class Table:
    """Figures at rising moments of a run. All columns have one length; NaN stands where a figure is not known.

    A table equals only itself: columns are not compared, and a watcher hands out the same table while nothing is new.

    step: optimiser steps, the stages laid end to end. epoch: passes over the data, likewise. time: seconds of work;
    what lies between two attempts is left out.
    """

    step: Floats = field(default_factory=_empty)
    epoch: Floats = field(default_factory=_empty)
    time: Floats = field(default_factory=_empty)
    values: Mapping[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.step)

    def axis(self, name: Axis) -> Floats:
        """The column below the chart."""
        return {"step": self.step, "epoch": self.epoch, "time": self.time}[name]


@dataclass(frozen=True)
class Border:
    """Where a stage begins, on each axis."""

    stage: str
    step: float
    epoch: float
    time: float

    def at(self, axis: Axis) -> float:
        """Its place on an axis."""
        return {"step": self.step, "epoch": self.epoch, "time": self.time}[axis]


@dataclass(frozen=True)
class Curves:
    """All curves of one run.

    steps: columns `loss`, `consistency`, `weight` (of the consistency), `learning rate`, `gradient norm`,
    `examples/s`, `memory`, and one `term: <name>` for each objective.
    evaluations: by model (`student`, `self-teacher`, `teacher`, `baseline`; a second dev set as `student (mismatched)`),
    a column for each metric, and `loss`.
    complete: False while only a sample of a long run has been read.
    """

    steps: Table = field(default_factory=Table)
    evaluations: Mapping[str, Table] = field(default_factory=dict)
    borders: tuple[Border, ...] = ()
    complete: bool = True


# -- what a chart draws. `x` always rises (equal neighbours are allowed) and is finite; `y` may hold NaN, which is a gap.

TYPICAL = 1000
"""Points for which a smoothing weight means what it says: TensorBoard, whose habit it is, keeps no more of a curve."""
_NEARLY_ALL = math.nextafter(1.0, 0.0)
_BACK = 4096
"""Points that `value_at` looks at in one go."""


class Buckets(NamedTuple):
    """A curve cut into pieces, none of them empty: the mean place of each one's points, and what their values are.

    All three values are NaN where a piece holds nothing but gaps.
    """

    x: Floats
    lowest: Floats
    highest: Floats
    mean: Floats


def window(x: Floats, y: Floats, low: float, high: float) -> tuple[Floats, Floats]:
    """The points from `low` to `high`, and one neighbour on each side, so that a line runs on to the edge."""
    first, last = _range(x, low, high)
    return x[first:last], y[first:last]


def buckets(x: Floats, y: Floats, low: float, high: float, count: int) -> Buckets:
    """The points from `low` to `high` in at most `count` pieces of one width, and one neighbour on each side.

    Where there are no more points than pieces, each point is a piece of its own. A piece whose points are known only in
    part is that part. Raises ValueError when `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    first, last = _range(x, low, high)
    x, y = x[first:last], y[first:last]
    if len(x) <= count + 2:
        known = _finite(y)
        return Buckets(x, known, known, known)
    low = low if math.isfinite(low) else float(x[0])
    high = high if math.isfinite(high) else float(x[-1])
    edges = low + (high - low) * np.arange(1, count) / count
    inner = np.concatenate(([np.searchsorted(x, low, "left")], np.searchsorted(x, edges, "left")))
    starts = np.unique(np.concatenate(([0], inner, [np.searchsorted(x, high, "right")])))
    starts = starts[starts < len(x)]
    return _reduced(x, y, starts)


def smooth(x: Floats, y: Floats, weight: float, most: int = 4000) -> tuple[Floats, Floats]:
    """The exponential moving average of a curve, debiased at its start as TensorBoard's; NaN stays a gap.

    `weight` (0 up to, not including, 1) is the share that the past keeps from one point to the next when the curve has
    `TYPICAL` points or fewer. Of more points each one counts for less, so that a curve looks as smooth with a million
    points as with a thousand; and where there are more than `most`, means of equally many neighbours stand for them.
    Raises ValueError for another weight.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"weight must be at least 0 and below 1, not {weight}")
    total = len(x)
    if total > most:
        starts = np.unique(np.arange(most) * total // most)
        reduced = _reduced(x, y, starts)
        x, y = reduced.x, reduced.mean
    if weight == 0 or not total:
        return x, y
    adapted = weight ** (min(total, TYPICAL) / total * (total / len(x)))
    return x, np.array(smoothed(y.tolist(), min(adapted, _NEARLY_ALL)))


def value_at(x: Floats, y: Floats, at: float) -> float | None:
    """The newest known value at or before a place; None when there is none."""
    end = int(np.searchsorted(x, at, "right"))
    while end > 0:
        start = max(0, end - _BACK)
        known = np.flatnonzero(np.isfinite(y[start:end]))
        if len(known):
            return float(y[start + known[-1]])
        end = start
    return None


def extent(*columns: Floats) -> tuple[float, float] | None:
    """The least and the greatest finite value of all columns together; None when there is none."""
    found = []
    for column in columns:
        known = _finite(column)
        if len(known) and not np.isnan(lowest := np.fmin.reduce(known)):
            found += [float(lowest), float(np.fmax.reduce(known))]
    return (min(found), max(found)) if found else None


def _range(x: Floats, low: float, high: float) -> tuple[int, int]:
    """Where the points in view and their neighbours begin and end."""
    first = int(np.searchsorted(x, low, "left")) - 1
    last = int(np.searchsorted(x, high, "right")) + 1
    return max(0, first), min(len(x), last)


def _finite(y: Floats) -> Floats:
    """The values, NaN for those that are not finite; a copy only where that changes something."""
    if not len(y) or (np.isfinite(np.fmin.reduce(y)) and np.isfinite(np.fmax.reduce(y))):
        return y
    return np.where(np.isfinite(y), y, np.nan)


def _reduced(x: Floats, y: Floats, starts: NDArray[np.intp]) -> Buckets:
    """The pieces that begin at `starts`, the first of which is 0."""
    known = _finite(y)
    missing = np.isnan(known)
    sizes = np.diff(starts, append=len(x))
    if missing.any():
        counts = sizes - np.add.reduceat(missing.astype(np.intp), starts)
        sums = np.add.reduceat(np.where(missing, 0.0, known), starts, dtype=np.float64)
        mean = np.divide(sums, counts, out=np.full(len(starts), np.nan), where=counts > 0)
    else:
        mean = np.add.reduceat(known, starts, dtype=np.float64) / sizes
    middle = np.add.reduceat(x, starts) / sizes
    return Buckets(middle, np.fmin.reduceat(known, starts), np.fmax.reduceat(known, starts), mean)
