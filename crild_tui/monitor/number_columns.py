"""Columns of numbers that grow at their end, and how figures from outside become numbers."""

from __future__ import annotations

import math
import mmap
from array import array
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from crild_tui.monitor.curves import Floats, Table

Axes = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""New places: steps, epochs, seconds."""

MOST_COLUMNS = 64
"""A table has no more; what would be one more was not written by crild."""
LARGEST = 1e37
"""A greater figure counts as unknown: no chart could scale it, and nothing that was measured is as large."""
_LARGE = 2**16
"""Bytes of a column from which on it is kept outside the heap, where many that grow would leave holes."""
_OWN = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
_PLAIN = frozenset({float, type(None)})
_Kind = TypeVar("_Kind", bound=np.generic)
_AXES = ("step", "epoch", "time")


def number(value: object) -> float:
    """A figure as it came from outside; NaN for what is none, or too large to be true."""
    return float(value) if isinstance(value, int | float) and abs(value) <= LARGEST else math.nan


def column(values: Sequence[object]) -> NDArray[np.float64]:
    """Figures as they came from outside, as `number` takes them."""
    try:
        found = np.array(array("d", cast("Sequence[float]", values)))  # fastest by far, but takes nothing but numbers
    except (TypeError, OverflowError):
        if not _PLAIN.issuperset(map(type, values)):
            return np.array([number(value) for value in values], dtype=np.float64)
        found = np.array(values, dtype=np.float64)
    found[~(np.abs(found) <= LARGEST)] = np.nan
    return found


class Columns:
    """Rows that are only added at the end, so that a table which was handed out stays valid and costs nothing.

    Taking rows back makes fresh copies of what is left. The rows are cut into spans, one for each stage in its order.
    """

    def __init__(self) -> None:
        self._count = 0
        self._capacity = 0
        self._axes: dict[str, NDArray[np.float64]] = {name: np.empty(0) for name in _AXES}
        self._values: dict[str, NDArray[np.float32]] = {}
        self._spans: list[tuple[str, int]] = []
        self._table: Table | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def stages(self) -> list[str]:
        """The stages that have rows, in order."""
        return [stage for stage, _ in self._spans]

    @property
    def last(self) -> tuple[float, float, float]:
        """Step, epoch and seconds of the last row, counted over all stages; (-1, 0, 0) when there is none."""
        if not self._count:
            return -1.0, 0.0, 0.0
        step, epoch, time = (float(self._axes[name][self._count - 1]) for name in _AXES)
        return step, epoch, time

    def append(self, stage: str, axes: Axes, values: Mapping[str, NDArray[np.float64]]) -> None:
        """Add rows of one stage; columns that are new or not named hold NaN where they say nothing."""
        start, end = self._count, self._count + len(axes[0])
        self._reserve(end)
        for name, new in zip(_AXES, axes, strict=True):
            self._axes[name][start:end] = new
        for name in values:
            if name not in self._values and len(self._values) < MOST_COLUMNS:
                fresh = _room(self._capacity, np.float32)
                fresh[:start] = np.nan
                self._values[name] = fresh
        for name, column_ in self._values.items():
            column_[start:end] = values.get(name, np.nan)
        if not self._spans or self._spans[-1][0] != stage:
            self._spans.append((stage, start))
        self._count = end
        self._table = None

    def cut(self, stage: str, later: Sequence[str], step: float, *, keep_step: bool) -> bool:
        """Take back the rows of the stages `later`, and those of `stage` after (or from) a step; whether there were any.

        `step` counts over all stages.
        """
        count = self._count
        ends = [*(start for _, start in self._spans), self._count][1:]
        for (name, start), end in zip(self._spans, ends, strict=True):
            if name in later:
                count = min(count, start)
            elif name == stage:
                inside = self._axes["step"][start:end]
                count = min(count, start + int(np.searchsorted(inside, step, "right" if keep_step else "left")))
        if count == self._count:
            return False
        self._capacity = self._count = count
        self._axes = {name: buffer[:count].copy() for name, buffer in self._axes.items()}
        self._values = {name: buffer[:count].copy() for name, buffer in self._values.items()}
        self._spans = [span for span in self._spans if span[1] < count]
        self._table = None
        return True

    def table(self) -> Table:
        """What is there by now, read-only."""
        if self._table is None:
            step, epoch, time = (self._seen(self._axes[name]) for name in _AXES)
            values = {name: self._seen(buffer) for name, buffer in self._values.items()}
            self._table = Table(step, epoch, time, values)
        return self._table

    def _seen(self, buffer: Floats) -> Floats:
        view = buffer[: self._count]
        view.flags.writeable = False
        return view

    def _reserve(self, rows: int) -> None:
        """Room for so many rows; twice as much as before, of which the system gives only what is used."""
        if rows <= self._capacity:
            return
        self._capacity = max(rows, 2 * self._capacity, 256)
        self._axes = {name: self._grown(buffer) for name, buffer in self._axes.items()}
        self._values = {name: self._grown(buffer) for name, buffer in self._values.items()}

    def _grown(self, buffer: NDArray[_Kind]) -> NDArray[_Kind]:
        fresh = _room(self._capacity, buffer.dtype.type)
        fresh[: self._count] = buffer[: self._count]
        return fresh


def _room(rows: int, kind: type[_Kind]) -> NDArray[_Kind]:
    """A column of so many rows, not filled. A large one is a mapping of its own, so that the system has it back whole."""
    size = rows * np.dtype(kind).itemsize
    return np.empty(rows, kind) if size < _LARGE else np.frombuffer(mmap.mmap(-1, size, flags=_OWN), kind)


def rising(steps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of several steps stay when each takes back those before it that are not smaller; NaN never stays."""
    known = np.where(np.isnan(steps), np.inf, steps)
    after = np.append(np.minimum.accumulate(known[::-1])[::-1][1:], np.inf)
    return (known < after) & ~np.isnan(steps)


def in_order(wanted: Sequence[str], names: Sequence[str]) -> bool:
    """Whether `names` holds all that is wanted, in the same order."""
    places = [names.index(name) if name in names else -1 for name in wanted]
    return -1 not in places and all(one < other for one, other in pairwise(places))
