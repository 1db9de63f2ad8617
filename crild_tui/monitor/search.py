"""Watch one search: its record and its trials."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from crild_tui.monitor.poller import Poller
from crild_tui.monitor.sweep import EVERY
from crild_tui.runs.searches import SearchSnapshot, read_search_snapshot
from engine.errors import CrildError


class SearchWatcher(Poller[SearchSnapshot]):
    """Reports a search whenever something changed; why it can't be read is in `problem`."""

    def __init__(
        self, runs_dir: Path, name: str, report: Callable[[SearchSnapshot], object], *, every: float = EVERY
    ) -> None:
        super().__init__("search", report, every)
        self._runs_dir, self._name = runs_dir, name

    def look(self, fault: str | None) -> None:
        """Read the search and report it; if that fails, what was last reported, and why."""
        before = self.last or SearchSnapshot(self._name)
        if fault is not None:
            self.report(replace(before, problem=f"reading this search failed: {fault}"))
        start = time.monotonic()
        try:
            snapshot = read_search_snapshot(self._runs_dir, self._name)
        except CrildError as error:
            snapshot = replace(before, problem=error.sentence)
        self.report(snapshot)
        self.pause(time.monotonic() - start - self._every)  # don't keep a slow file system busy
