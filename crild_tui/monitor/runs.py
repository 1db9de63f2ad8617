"""Watches the list of runs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from crild_tui.monitor.snapshots import RunsSnapshot
from engine.record.files import cause
from engine.record.paths import ANNOTATIONS, STATUS
from engine.record.run import RunEntry, is_run, queue_alive, read_run
from engine.record.status import derived

EVERY = 1.0
"""Seconds between two looks."""
SETTLED = 2.0
"""Seconds after which a file that looks the same is the same: clocks of file systems are coarse."""
AGAIN = 10.0
"""Seconds after which what could not be read is tried again though it looks the same."""

Signature = tuple[tuple[int, ...] | None, tuple[int, ...] | None]


@dataclass(frozen=True)
class _Known:
    """What was read of a run, how its files looked then, and until when that holds."""

    entry: RunEntry
    signature: Signature
    until: float


class RunsReader:
    """Reads a runs folder again and again, of each run only the files that changed."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._known: dict[str, _Known] = {}

    def read(self, now: float | None = None) -> tuple[RunEntry, ...]:
        """The runs, the newest first, those that cannot be read last. Raises OSError when the folder cannot be listed."""
        present = time.time() if now is None else now
        names = [name for name in os.listdir(self.runs_dir) if not name.startswith(".")]  # noqa: PTH208 - see list_runs
        queues: dict[str, bool] = {}
        known: dict[str, _Known] = {}
        for name in names:
            found = self._look(name, present)
            if found is not None:
                known[name] = found
        self._known = known
        entries = [self._derived(found.entry, present, queues) for found in known.values()]
        return tuple(sorted(entries, key=lambda e: (e.status.created if e.status else 0.0, e.id), reverse=True))

    def _look(self, name: str, now: float) -> _Known | None:
        folder = self.runs_dir / name
        signature = _signature(os.path.join(self.runs_dir, name))  # noqa: PTH118 - twice as fast for a thousand runs
        old = self._known.get(name)
        if old is not None and old.signature == signature and now < old.until:
            return old
        if signature[0] is None and not is_run(folder):
            return None
        entry = read_run(folder, now)
        changed = max((stamp[0] / 1e9 for stamp in signature if stamp is not None), default=now)
        if changed > now - SETTLED:
            return _Known(entry, signature, 0.0)
        return _Known(entry, signature, now + AGAIN if entry.status is None else float("inf"))

    def _derived(self, entry: RunEntry, now: float, queues: dict[str, bool]) -> RunEntry:
        """The entry in the state that it has by now: a run is lost or stalled without a change of its files."""
        status = entry.status
        if status is None:
            return entry
        alive = None
        if status.state == "queued" and status.queue is not None:
            if status.queue not in queues:
                queues[status.queue] = queue_alive(self.runs_dir, status.queue)
            alive = queues[status.queue]
        state = derived(status, now, queue_alive=alive)
        return entry if state == entry.state else replace(entry, state=state)


def _signature(folder: str) -> Signature:
    """How the two files of a run that a listing shows look from outside."""
    return _stamp(f"{folder}/{STATUS}"), _stamp(f"{folder}/{ANNOTATIONS}")


def _stamp(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - as above
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev


class RunsWatcher:
    """A thread that looks at a runs folder and hands out a snapshot whenever something changed.

    `tell` is called in the thread. Whatever happens to the folder, the thread goes on, and says in `problem` what it met.
    """

    def __init__(self, runs_dir: Path, tell: Callable[[RunsSnapshot], object], *, every: float = EVERY) -> None:
        self._runs_dir, self._tell, self._every = runs_dir, tell, every
        self._reader = RunsReader(runs_dir)
        self._last: RunsSnapshot | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="runs", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; does not wait."""
        self._end.set()

    def _watch(self) -> None:
        fault: str | None = None
        while not self._end.is_set():
            try:
                self._show(self._look() if fault is None else self._failed(fault))
                fault = None
            except Exception as error:  # noqa: BLE001 - whatever it is: it is told, and the watching goes on
                fault = f"reading the runs folder met an unexpected fault: {type(error).__name__}: {error}"
            self._end.wait(self._every)

    def _look(self) -> RunsSnapshot:
        try:
            return RunsSnapshot(self._runs_dir, self._reader.read())
        except FileNotFoundError:
            return RunsSnapshot(self._runs_dir, exists=False)
        except OSError as error:
            return self._failed(f"the runs folder {str(self._runs_dir)!r} cannot be read: {_why(error)}")

    def _failed(self, problem: str) -> RunsSnapshot:
        """What was seen last, and why nothing newer is."""
        entries = () if self._last is None else self._last.entries
        return RunsSnapshot(self._runs_dir, entries, problem)

    def _show(self, seen: RunsSnapshot) -> None:
        revision = 0 if self._last is None else self._last.revision
        seen = replace(seen, revision=revision)
        if seen == self._last:
            return
        self._last = replace(seen, revision=revision + 1)
        if not self._end.is_set():
            self._tell(self._last)


def _why(error: OSError) -> str:
    return "it is a file, not a folder" if isinstance(error, NotADirectoryError) else cause(error)
