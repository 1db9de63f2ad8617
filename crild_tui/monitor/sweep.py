"""Watch one sweep: its record and its runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from crild_tui.monitor.poller import Poller
from crild_tui.runs.sweeps import SweepReader, SweepSnapshot
from engine.errors import CrildError

EVERY = 1.0
"""Seconds between two looks."""


class SweepWatcher(Poller[SweepSnapshot]):
    """Reports a sweep whenever something changed; why it can't be read is in `problem`."""

    def __init__(
        self, runs_dir: Path, name: str, report: Callable[[SweepSnapshot], object], *, every: float = EVERY
    ) -> None:
        super().__init__("sweep", report, every)
        self._reader = SweepReader(runs_dir, name)
        self._nothing = SweepSnapshot(name)

    def look(self, fault: str | None) -> None:
        """Read the sweep and report it; if that fails, what was last reported, and why."""
        if fault is not None:
            self.report(replace(self.last or self._nothing, problem=f"reading this sweep failed: {fault}"))
        start = time.monotonic()
        try:
            snapshot = self._reader.read(time.time())
        except CrildError as error:
            snapshot = replace(self.last or self._nothing, problem=error.sentence)
        if snapshot.found is not None and snapshot.found.eta is not None:
            snapshot = replace(snapshot, found=replace(snapshot.found, eta=float(round(snapshot.found.eta))))
        self.report(snapshot)
        self.pause(time.monotonic() - start - self._every)  # don't keep a slow file system busy
