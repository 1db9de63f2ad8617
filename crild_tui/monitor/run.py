"""Watch one run: its status and its events, read as they grow."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from crild_tui.monitor.alarms import Alarm, alarms
from crild_tui.monitor.curve_builder import CurveBuilder
from crild_tui.monitor.poller import Poller
from crild_tui.monitor.snapshots import RunSnapshot
from crild_tui.runs import formatting
from crild_tui.runs.summary import with_status
from engine.record.event_sample import events_size, sample_events
from engine.record.events import Event, EventTail
from engine.record.files import cause
from engine.record.paths import event_files
from engine.record.run import read_run

SLICE = 2000
"""Events added at once: a few milliseconds of work, after which other threads run."""
PAUSE = 0.001
"""Seconds between two such slices."""
LONG = 4 * 2**20
"""Bytes of events from which a sample is shown first."""


class RunWatcher(Poller[RunSnapshot]):
    """Follows a run and reports a snapshot whenever something changed, at most every `every` seconds.

    Of a long run a sample comes first, with `curves.complete` false. What is wrong with the run's files is in `alarms`.
    """

    def __init__(self, run_dir: Path, report: Callable[[RunSnapshot], object], *, every: float = 0.5) -> None:
        super().__init__(f"run {run_dir.name}", report, every)
        self._run_dir = run_dir
        self._tail = EventTail(run_dir)
        self._generation: int | None = None
        self._builder = CurveBuilder()
        self._sample: CurveBuilder | None = None
        self._unreachable: str | None = None
        self._last_count = -1
        self._reported_at = -every

    def look(self, fault: str | None) -> None:
        """Read new events and report a snapshot."""
        if fault is not None:
            self._show(fault)
        self._read()
        self._show()

    def _read(self) -> None:
        """Read new events in slices; other threads run between them, and a snapshot is reported when one is due."""
        self._unreachable = unreachable(self._run_dir)
        if self._unreachable is not None:
            return  # keep what was read: the directory may come back
        if self._generation is None:
            self._generation = self._tail.generation
            self._read_sample()
        while not self.stopped:
            events = self._tail.poll(SLICE)
            if self._tail.generation != self._generation:
                self._generation = self._tail.generation
                self._builder = CurveBuilder()
                self._add(events)
                self._read_sample()
            else:
                self._add(events)
            if len(events) < SLICE:
                self._sample = None
                return
            if time.monotonic() - self._reported_at >= self._every:
                self._show()
            self.pause(PAUSE)

    def _add(self, events: list[Event]) -> None:
        try:
            self._builder.add(events)
        except Exception:
            self._builder.malformed += len(events)
            raise

    def _read_sample(self) -> None:
        """Show a sample of a long run until all of it has been read."""
        self._sample = None
        if events_size(self._run_dir) > LONG:
            self._sample = CurveBuilder()
            for piece in sample_events(self._run_dir):
                self._sample.add(piece)
            self._show()

    def _show(self, fault: str | None = None) -> None:
        """Report a snapshot if it has anything new."""
        builder = self._builder if self._sample is None else self._sample
        entry = read_run(self._run_dir)
        if entry.status is None:
            summary = replace(builder.summary, state=entry.state)
        else:
            summary = with_status(builder.summary, entry.status, entry.state)
        curves = builder.curves(complete=self._sample is None)
        present = self._file_alarms(builder, fault)
        if self._unreachable is None:
            present += alarms(entry, summary, curves)
        snapshot = RunSnapshot(self._run_dir, entry, summary, curves, builder.messages, tuple(present))
        if self.last is not None and builder.count == self._last_count and _contents(snapshot) == _contents(self.last):
            return
        self.report(replace(snapshot, revision=1 if self.last is None else self.last.revision + 1))
        self._last_count, self._reported_at = builder.count, time.monotonic()

    def _file_alarms(self, builder: CurveBuilder, fault: str | None) -> list[Alarm]:
        """What is wrong with the files."""
        present = []
        if self._unreachable is not None:
            present.append(Alarm("files", "error", self._unreachable))
        elif (text := unreadable(self._run_dir, nothing=builder.count == 0)) is not None:
            present.append(Alarm("events", "error", text))
        if fault is not None:
            present.append(Alarm("fault", "error", f"reading this run failed: {fault}"))
        if builder.malformed:
            present.append(
                Alarm("malformed", "warning", f"skipped {formatting.plural(builder.malformed, 'malformed event')}")
            )
        return present


def _contents(snapshot: RunSnapshot) -> tuple[object, ...]:
    """What two different snapshots after equally many events differ in."""
    return snapshot.entry, snapshot.alarms, snapshot.messages, snapshot.curves.complete


def unreachable(run_dir: Path) -> str | None:
    """Why nothing in a run directory can be read, if so."""
    try:
        os.scandir(run_dir).close()
        os.stat(run_dir / ".")  # noqa: PTH116 - as scandir; needs the permission to search, which scandir doesn't
    except OSError as error:
        if error.errno == errno.ENOENT:
            return "the run directory is gone: it was deleted or renamed. This is what was read before"
        return f"cannot read the run directory: {cause(error)}. This is what was read before"
    return None


def unreadable(run_dir: Path, *, nothing: bool) -> str | None:
    """Why the newest event file cannot be read, if so; `nothing`: no event was read so far."""
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
        return f"cannot read {newest.name}: {cause(error)}"
    if b"\n" in beginning:
        return f"{newest.name} has no event that this version of crild knows: it may come from a newer one"
    return None
