"""Watches one run: its status and its events, read while they grow."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from crild_tui.monitor.alarms import Alarm, alarms
from crild_tui.monitor.event_reducer import Gatherer
from crild_tui.monitor.snapshots import RunSnapshot, Said
from crild_tui.runs.summary import with_status
from engine.record.event_sample import events_size, sample_events
from engine.record.events import Event, EventTail
from engine.record.files import cause
from engine.record.paths import event_files
from engine.record.run import read_run

SLICE = 2000
"""Events that are taken in at once: some milliseconds of work, after which the screen has its turn."""
PAUSE = 0.001
"""Seconds between two such slices."""
LONG = 4 * 2**20
"""Bytes of events from which on a sample is shown first."""


class RunWatcher:
    """A thread that follows a run and hands out a snapshot whenever something changed, at most every `every` seconds.

    Of a long run a sample comes first, with `curves.complete` false. `tell` is called in the thread. Whatever happens
    to the run's files, the thread goes on, and says in `alarms` what it met.
    """

    def __init__(self, run_dir: Path, tell: Callable[[RunSnapshot], object], *, every: float = 0.5) -> None:
        self._run_dir, self._tell, self._every = run_dir, tell, every
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"run {run_dir.name}", daemon=True)
        self._tail = EventTail(run_dir)
        self._generation = self._tail.generation
        self._gathered = Gatherer()
        self._sample: Gatherer | None = None
        self._started = False
        self._trouble: str | None = None  # with the folder
        self._fault: str | None = None  # of this code; told once, and again if it comes again
        self._since: dict[str, float] = {}
        self._last: RunSnapshot | None = None
        self._last_count = -1
        self._told_at = -every

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; does not wait. Nothing is told afterwards, but for a snapshot that is on its way."""
        self._end.set()

    # -- in the thread

    def _watch(self) -> None:
        while not self._end.is_set():
            began = time.monotonic()
            for part in (self._look, self._show):
                try:
                    part()
                except Exception as error:  # noqa: BLE001 - whatever it is: it is told, and the watching goes on
                    self._fault = f"reading this run met an unexpected fault: {type(error).__name__}: {error}"
            self._end.wait(max(PAUSE, self._every - (time.monotonic() - began)))

    def _look(self) -> None:
        """Take in what is new; between slices others have their turn, and a snapshot is told when it is time."""
        self._trouble = unreachable(self._run_dir)
        if self._trouble is not None:
            return  # what was read is kept: the folder may come back
        if not self._started:
            self._started = True
            self._begin()
        while not self._end.is_set():
            events = self._tail.poll(SLICE)
            if self._tail.generation != self._generation:
                self._generation = self._tail.generation
                self._gathered = Gatherer()
                self._take(events)
                self._begin()
            else:
                self._take(events)
            if len(events) < SLICE:
                self._sample = None
                return
            if time.monotonic() - self._told_at >= self._every:
                self._show()
            self._end.wait(PAUSE)

    def _take(self, events: list[Event]) -> None:
        try:
            self._gathered.add(events)
        except Exception:
            self._gathered.strange += len(events)
            raise

    def _begin(self) -> None:
        """A long run is shown by a sample until it has been read."""
        self._sample = None
        if events_size(self._run_dir) > LONG:
            self._sample = Gatherer()
            for piece in sample_events(self._run_dir):
                self._sample.add(piece)
            self._show()

    def _show(self) -> None:
        """Tell a snapshot if it says anything new."""
        shown = self._gathered if self._sample is None else self._sample
        entry = read_run(self._run_dir)
        status = entry.status
        picture = replace(shown.picture, state=entry.state)
        if status is not None:
            picture = with_status(shown.picture, status, entry.state)
        curves = shown.curves(complete=self._sample is None)
        found = self._troubles(shown)
        if self._trouble is None:
            found += alarms(entry, picture, curves)
        snapshot = RunSnapshot(self._run_dir, entry, picture, curves, shown.said, self._dated(found))
        if self._last is not None and shown.count == self._last_count and _alike(snapshot, self._last):
            return
        snapshot = replace(snapshot, revision=1 if self._last is None else self._last.revision + 1)
        if not self._end.is_set():
            self._tell(snapshot)
        self._last, self._last_count, self._told_at = snapshot, shown.count, time.monotonic()
        self._fault = None

    def _troubles(self, shown: Gatherer) -> list[Alarm]:
        """What is wrong with the files."""
        found = []
        if self._trouble is not None:
            found.append(Alarm("files", "error", self._trouble))
        elif (text := unreadable(self._run_dir, nothing=shown.count == 0)) is not None:
            found.append(Alarm("events", "error", text))
        if self._fault is not None:
            found.append(Alarm("fault", "error", self._fault))
        if shown.strange:
            found.append(
                Alarm("strange", "warning", f"{shown.strange:,} events hold what crild never wrote; passed over")
            )
        return found

    def _dated(self, found: list[Alarm]) -> tuple[Said, ...]:
        """Alarms with the time at which each began."""
        now = time.time()
        self._since = {alarm.kind: self._since.get(alarm.kind, now) for alarm in found}
        return tuple(Said(self._since[alarm.kind], alarm.level, alarm.text) for alarm in found)


def _alike(one: RunSnapshot, other: RunSnapshot) -> bool:
    """Whether two snapshots of as many events say the same."""
    return (one.entry, one.alarms, one.said, one.curves.complete) == (
        other.entry,
        other.alarms,
        other.said,
        other.curves.complete,
    )


def unreachable(run_dir: Path) -> str | None:
    """Why nothing can be read below a run directory, if so."""
    try:
        os.scandir(run_dir).close()
        os.stat(run_dir / ".")  # noqa: PTH116 - as scandir; needs the right to search, which scandir does not
    except OSError as error:
        if error.errno == errno.ENOENT:
            return "the run's folder is gone: it was deleted or renamed. What is shown is what was read before"
        return f"the run's folder cannot be read: {cause(error)}. What is shown is what was read before"
    return None


def unreadable(run_dir: Path, *, nothing: bool) -> str | None:
    """Why the newest event file cannot be read, if so; `nothing` when no event was understood so far."""
    files = event_files(run_dir)
    if not files:
        return None
    newest = files[max(files)]
    try:
        handle = os.open(newest, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            beginning = os.pread(handle, 2**16, 0) if nothing else b""
        finally:
            os.close(handle)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{newest.name} cannot be read: {cause(error)}"
    if b"\n" in beginning:
        return f"{newest.name} holds no event that this crild knows: a newer one wrote it, or something else"
    return None
