"""Build tables of numbers that grow at their end from figures as event files hold them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from crild_tui.monitor.curves import AXES, Floats, Table

Numbers = NDArray[np.float64]
Positions = tuple[Numbers, Numbers, Numbers]
"""Steps, epochs and seconds of new rows."""

MAX_COLUMNS = 64
"""Columns of a table; crild never writes more."""
LARGEST = 1e37
"""A larger figure counts as unknown: no chart could scale it, and no measurement is as large."""
_PLAIN = frozenset({float, type(None)})
_Key = tuple[Literal["axis", "value", "term"], str]


def number(value: object) -> float:
    """A figure from an event; NaN if it isn't a number, or too large to be one."""
    return float(value) if isinstance(value, int | float) and abs(value) <= LARGEST else math.nan


def column(values: Sequence[object]) -> Numbers:
    """Figures from events, each converted as by `number`."""
    try:
        numbers = np.array(array("d", cast("Sequence[float]", values)))  # fastest by far, but accepts only numbers
    except (TypeError, OverflowError):
        if not _PLAIN.issuperset(map(type, values)):
            return np.array([number(value) for value in values], dtype=np.float64)
        numbers = np.array(values, dtype=np.float64)
    numbers[~(np.abs(numbers) <= LARGEST)] = np.nan
    return numbers


class TableBuilder:
    """Adds rows at the end only, so that tables it returned stay valid and cost no copy.

    Taking rows back copies what is left. The rows form spans, one for each stage in order.
    """

    def __init__(self) -> None:
        self._count = 0
        self._capacity = 0
        self._buffers: dict[_Key, Floats] = {("axis", name): np.empty(0) for name in AXES}
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
        """Step, epoch and seconds of the last row, counted over all stages; (-1, 0, 0) if there are no rows."""
        if not self._count:
            return -1.0, 0.0, 0.0
        step, epoch, time = (float(self._buffers["axis", name][self._count - 1]) for name in AXES)
        return step, epoch, time

    def append(
        self, stage: str, positions: Positions, values: Mapping[str, Numbers], terms: Mapping[str, Numbers]
    ) -> None:
        """Add rows of one stage. A column that is new, or missing here, holds NaN in the other rows."""
        start, end = self._count, self._count + len(positions[0])
        if end > self._capacity:
            self._capacity = max(end, 2 * self._capacity, 256)
            self._buffers = {key: self._resized(buffer) for key, buffer in self._buffers.items()}
        new: dict[_Key, Numbers] = {("axis", name): rows for name, rows in zip(AXES, positions, strict=True)}
        new |= {("value", name): rows for name, rows in values.items()}
        new |= {("term", name): rows for name, rows in terms.items()}
        for key in new.keys() - self._buffers.keys() if len(new) > len(AXES) else ():
            if len(self._buffers) < MAX_COLUMNS + len(AXES):
                self._buffers[key] = np.empty(self._capacity, np.float32)
                self._buffers[key][:start] = np.nan
        for key, buffer in self._buffers.items():
            buffer[start:end] = new.get(key, np.nan)
        if self.stages[-1:] != [stage]:
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
                inside = self._buffers["axis", "step"][start:end]
                count = min(count, start + int(np.searchsorted(inside, step, "right" if keep_step else "left")))
        if count == self._count:
            return False
        self._capacity = self._count = count
        self._buffers = {key: buffer[:count].copy() for key, buffer in self._buffers.items()}
        self._spans = [span for span in self._spans if span[1] < count]
        self._table = None
        return True

    def table(self) -> Table:
        """The rows so far, read-only."""
        if self._table is None:
            step, epoch, time = (self._view(("axis", name)) for name in AXES)
            values = {key[1]: self._view(key) for key in self._buffers if key[0] == "value"}
            terms = {key[1]: self._view(key) for key in self._buffers if key[0] == "term"}
            self._table = Table(step, epoch, time, values, terms)
        return self._table

    def _view(self, key: _Key) -> Floats:
        view = self._buffers[key][: self._count]
        view.flags.writeable = False
        return view

    def _resized(self, buffer: Floats) -> Floats:
        resized = np.empty(self._capacity, buffer.dtype)
        resized[: self._count] = buffer[: self._count]
        return resized


def rising(steps: Numbers) -> NDArray[np.bool_]:
    """Which of several steps stay if each takes back earlier ones that aren't smaller; NaN never stays."""
    known = np.where(np.isnan(steps), np.inf, steps)
    after = np.append(np.minimum.accumulate(known[::-1])[::-1][1:], np.inf)
    return (known < after) & ~np.isnan(steps)


def in_order(expected: Sequence[str], names: Sequence[str]) -> bool:
    """Whether `names` holds all expected names in the same order."""
    indices = [names.index(name) if name in names else -1 for name in expected]
    return -1 not in indices and all(one < other for one, other in pairwise(indices))
