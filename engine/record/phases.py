"""Phases: what an engine does besides optimiser steps. Those that take long report how far they are, and can be stopped.

Rooms that compute take a `Report` and call it between pieces of work; whoever calls them decides where it goes:

    def tokenise(..., report: Report = unreported):
        for start in range(0, len(texts), CHUNK):
            report("tokenising", start, len(texts), "rows")
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, TypeVar

QUIET = 2.0
"""Seconds that a phase takes before anything is reported."""
EVERY = 1.0
"""Seconds between two reports of a phase, at least."""
SHARE = 0.02
"""Of the time that a phase has taken so far: the least time between two of its reports, so that long ones write little."""

PIECE = 1000
"""Items between two reports of `counted`: some milliseconds of work."""

LARGEST = 2**53
"""No count and no duration of a phase is as large."""
LONGEST = 120
"""Characters of a phase's name that are shown."""

T = TypeVar("T")


class Report(Protocol):
    """Takes how far a phase is. Raises Stopped when the user has asked to stop."""

    def __call__(self, phase: str, done: int = 0, total: int | None = None, unit: str = "") -> None:
        """`phase` says what is being done, `done` of `total` (None: unknown) how much of it, counted in `unit`."""


def unreported(phase: str, done: int = 0, total: int | None = None, unit: str = "") -> None:
    """A `Report` to nobody."""


@dataclass(frozen=True)
class Phase:
    """A phase that takes long, at one moment."""

    name: str
    done: int
    total: int | None
    """None: unknown."""
    unit: str
    seconds: float
    """Since its beginning."""
    ended: bool = False
    at: float | None = None
    """When this was reported, in seconds since 1970; None where no event says."""

    def lasted(self, now: float | None) -> float:
        """Seconds since its beginning at a later time, in seconds since 1970; those of the report where nothing is known."""
        return self.seconds if now is None or self.at is None else self.seconds + max(0.0, now - self.at)

    @property
    def share(self) -> float | None:
        """The share that is done, from 0 to 1; None where the total is unknown."""
        return min(1.0, self.done / self.total) if self.total else None

    @property
    def rate(self) -> float | None:
        """How much is done in a second; None before anything is."""
        return self.done / self.seconds if self.done and self.seconds > 0 else None

    @property
    def left(self) -> float | None:
        """Seconds until the end at this rate; None where it cannot be known."""
        return max(0.0, self.total - self.done) / self.rate if self.total and self.rate else None

    def to_dict(self) -> dict[str, Any]:
        """The fields of a `phase` event."""
        return {
            "phase": self.name, "done": self.done, "total": self.total, "unit": self.unit,
            "seconds": round(self.seconds, 1), "ended": self.ended,
        }  # fmt: skip

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Phase | None:
        """The phase that an event reports; None if its fields make no sense."""
        name, done, total, seconds = (event.get(key) for key in ("phase", "done", "total", "seconds"))
        if not isinstance(name, str) or not _is_count(done) or not (total is None or _is_count(total)):
            return None
        if not _is_time(seconds):
            return None
        at = event.get("t")
        return cls(
            name[:LONGEST],
            done,
            total,
            str(event.get("unit") or "")[:LONGEST],
            float(seconds),
            bool(event.get("ended")),
            float(at) if _is_time(at) else None,
        )


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST


def _is_time(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LARGEST


def counted(
    items: Iterable[T], report: Report, phase: str, *, total: int | None = None, unit: str = "rows"
) -> Iterator[T]:
    """The items, with a report of how many have been taken before every `PIECE` of them."""
    for index, item in enumerate(items):
        if index % PIECE == 0:
            report(phase, index, total, unit)
        yield item


class Phases:
    """The present phase of a process, a `Report` itself. One begins where another, or none, was reported before.

    `write` takes each report that is due: none of a phase shorter than `QUIET`, then its progress while that changes, and
    its end. `check` is called at each report and may raise Stopped. Another thread calls `beat` about twice a second, so
    that a phase is reported although it never comes back from a library. With `repeats`, one that does not change is
    reported again, too: for a reader who shows its seconds and has no clock of its own.
    """

    def __init__(
        self,
        write: Callable[[Phase], object],
        check: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
        *,
        repeats: bool = False,
    ) -> None:
        self._write, self._check, self._clock, self._repeats = write, check, clock, repeats
        self._guard = threading.RLock()
        self._present: Phase | None = None
        self._since = 0.0
        self._written: Phase | None = None
        """The last report of the present phase."""

    def __call__(self, phase: str, done: int = 0, total: int | None = None, unit: str = "") -> None:
        """See `Report`."""
        self._move(Phase(phase, done, total, unit, 0.0))
        self._check()

    @contextmanager
    def open(self, phase: str) -> Iterator[Report]:
        """A phase as long as the block; what it calls may report others. None is left when the block ends."""
        try:
            self(phase)
            yield self
        finally:
            self.close()

    @contextmanager
    def writing(self, phase: str) -> Iterator[None]:
        """As `open`, for what a request to stop must wait for, such as a checkpoint."""
        try:
            self._move(Phase(phase, 0, None, "", 0.0))
            yield
        finally:
            self.close()

    def close(self) -> None:
        """End the present phase, if there is one."""
        with self._guard:
            last, self._present, written, self._written = self._present, None, self._written, None
            if last is not None and written is not None:
                self._write(self._at(last, self._clock(), ended=True))

    def beat(self) -> None:
        """Write the present phase's progress, if that is due."""
        with self._guard:
            if self._present is None:
                return
            now = self._clock()
            phase = self._at(self._present, now)
            if phase.seconds < QUIET or (self._written is not None and not self._is_due(phase, self._written)):
                return
            self._written = phase
            self._write(phase)

    def _move(self, phase: Phase) -> None:
        with self._guard:
            if self._present is None or self._present.name != phase.name:
                self.close()
                self._since = self._clock()
            self._present = phase

    def _at(self, phase: Phase, now: float, *, ended: bool = False) -> Phase:
        return Phase(phase.name, phase.done, phase.total, phase.unit, now - self._since, ended)

    def _is_due(self, phase: Phase, written: Phase) -> bool:
        moved = (phase.done, phase.total, phase.unit) != (written.done, written.total, written.unit)
        if self._repeats:
            return phase.seconds - written.seconds >= EVERY
        return moved and phase.seconds - written.seconds >= max(EVERY, SHARE * phase.seconds)
