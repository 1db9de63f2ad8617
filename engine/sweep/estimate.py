"""Estimate how long the runs of a sweep take from those that have finished. Pure functions of statuses."""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from engine.record.run import RunEntry
from engine.record.states import STARTED
from engine.record.status import Status
from engine.sweep.record import SweepRecord

Coordinates = Mapping[str, str]
"""A cell of a sweep: the value of each axis."""


def seconds_of(status: Status | None) -> float | None:
    """Seconds that a finished run took; None unless it finished in a single attempt."""
    if status is None or status.state != "finished" or status.attempt != 1:
        return None
    if status.started is None or status.ended is None or status.ended < status.started:
        return None
    return status.ended - status.started


@dataclass(frozen=True)
class Measured:
    """Seconds that runs took, by cell without its seed, and by method and task."""

    cells: Mapping[tuple[tuple[str, str], ...], tuple[float, ...]]
    pairs: Mapping[tuple[str, str], tuple[float, ...]]

    def expected(self, coordinates: Coordinates) -> float | None:
        """Expected seconds of a cell's run: the mean over its other seeds, else over runs of its method and task."""
        pair = (coordinates.get("method", ""), coordinates.get("task", ""))
        seconds = self.cells.get(_key(coordinates)) or self.pairs.get(pair)
        return statistics.fmean(seconds) if seconds else None


def measured(entries: Iterable[RunEntry], sweep: str | None = None) -> Measured:
    """The durations of the runs of a folder.

    Runs of the sweep count by cell; other runs count by method and task, where the sweep itself has no such run.
    """
    cells: dict[tuple[tuple[str, str], ...], list[float]] = {}
    own: dict[tuple[str, str], list[float]] = {}
    others: dict[tuple[str, str], list[float]] = {}
    for entry in entries:
        status = entry.status
        seconds = seconds_of(status)
        if status is None or seconds is None:
            continue
        if sweep is not None and status.sweep == sweep and {"method", "task"} <= status.cell.keys():
            cells.setdefault(_key(status.cell), []).append(seconds)
            own.setdefault((status.cell["method"], status.cell["task"]), []).append(seconds)
        else:
            others.setdefault((status.method, status.task), []).append(seconds)
    pairs = {**others, **own}
    return Measured({k: tuple(v) for k, v in cells.items()}, {k: tuple(v) for k, v in pairs.items()})


def _key(coordinates: Coordinates) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((axis, value) for axis, value in coordinates.items() if axis != "seed"))


@dataclass(frozen=True)
class Duration:
    """Seconds on so many slots, for the runs whose length is known; `unknown` counts the others."""

    seconds: float
    known: int
    unknown: int


def duration(cells: Sequence[Coordinates], known: Measured, slots: int) -> Duration:
    """The duration of runs that have not started yet."""
    lengths = [known.expected(coordinates) for coordinates in cells]
    expected = [length for length in lengths if length is not None]
    return Duration(makespan([], expected, slots), len(expected), len(lengths) - len(expected))


def makespan(running: Sequence[float], left: Sequence[float], slots: int) -> float:
    """Seconds until the last run ends, if each of `left` in turn starts in the slot that is free first."""
    ends = list(running)
    ends += [0.0] * max(0, slots - len(ends))
    heapq.heapify(ends)
    for length in left:
        heapq.heappush(ends, heapq.heappop(ends) + length)
    return max(ends, default=0.0)


def eta(record: SweepRecord, entries: Mapping[str, RunEntry], now: float) -> float | None:
    """Seconds until a sweep is done; None until a run tells how long one takes.

    A run is expected to take as long as its other seeds, else as long as the sweep's other runs on average.
    """
    known = measured(entries.values(), record.name)
    running: list[float] = []
    started: list[tuple[float, Coordinates]] = []
    unknown: list[Coordinates] = []
    lengths = [seconds for entry in entries.values() if (seconds := seconds_of(entry.status)) is not None]
    for cell in record.cells:
        entry = entries.get(cell.run)
        state = "left" if entry is None else entry.state
        if state in ("finished", "failed", "unreadable") or (state == "stopped" and record.alive(now)):
            continue
        status = None if entry is None else entry.status
        if state in STARTED and status is not None and status.started is not None:
            elapsed = max(0.0, now - status.started)
            if status.eta is not None:
                running.append(status.eta)
                lengths.append(elapsed + status.eta)
            else:
                started.append((elapsed, cell.cell))
        else:
            unknown.append(cell.cell)
    if not lengths:
        return 0.0 if not started and not unknown else None
    mean = statistics.fmean(lengths)
    running += [max(0.0, (known.expected(coordinates) or mean) - elapsed) for elapsed, coordinates in started]
    return makespan(running, [known.expected(coordinates) or mean for coordinates in unknown], len(record.slots))
