"""Read the list of runs again and again: of each run only the files that changed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from engine.record.paths import ANNOTATIONS, STATUS
from engine.record.run import RunEntry, is_run, queue_alive, read_run
from engine.record.status import derived

SETTLED = 2.0
"""Seconds after which a file with the same stamp is unchanged: file systems have coarse clocks."""
AGAIN = 10.0
"""Seconds after which an unreadable run is read again though its files look the same."""

Signature = tuple[tuple[int, ...] | None, tuple[int, ...] | None]


@dataclass(frozen=True)
class _Known:
    """What was read of a run, the stamps of its files then, and until when that holds."""

    entry: RunEntry
    signature: Signature
    until: float


class RunsReader:
    """Reads a runs folder repeatedly, and of each run only the files that changed."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._known: dict[str, _Known] = {}

    def read(self, now: float | None = None) -> tuple[RunEntry, ...]:
        """The runs, newest first, unreadable ones last. Raises OSError if the folder cannot be listed."""
        present = time.time() if now is None else now
        names = [name for name in os.listdir(self.runs_dir) if not name.startswith(".")]  # noqa: PTH208 - see list_runs
        queues: dict[str, bool] = {}
        known: dict[str, _Known] = {}
        for name in names:
            read = self._look(name, present)
            if read is not None:
                known[name] = read
        self._known = known
        entries = [self._derived(run.entry, present, queues) for run in known.values()]
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
        """The entry with its current state: a run becomes lost or stalled without a change of its files."""
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
    """The stamps of the two files that a listing shows."""
    return _stamp(f"{folder}/{STATUS}"), _stamp(f"{folder}/{ANNOTATIONS}")


def _stamp(path: str) -> tuple[int, ...] | None:
    try:
        stats = os.stat(path)  # noqa: PTH116 - as above
    except (OSError, ValueError):
        return None
    return stats.st_mtime_ns, stats.st_ctime_ns, stats.st_size, stats.st_ino, stats.st_dev
