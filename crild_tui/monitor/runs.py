"""Watch the list of runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from crild_tui.monitor.poller import Poller
from crild_tui.runs.reader import RunsReader
from crild_tui.runs.snapshot import RunsSnapshot
from engine.record.files import cause

EVERY = 1.0
"""Seconds between two looks."""


class RunsWatcher(Poller[RunsSnapshot]):
    """Reports the runs of a folder whenever something changed; why they can't be read is in `problem`."""

    def __init__(self, runs_dir: Path, report: Callable[[RunsSnapshot], object], *, every: float = EVERY) -> None:
        super().__init__("runs", report, every)
        self._runs_dir = runs_dir
        self._reader = RunsReader(runs_dir)

    def look(self, fault: str | None) -> None:
        """Read the runs and report them."""
        snapshot = self._read() if fault is None else self._failed(f"reading the runs folder failed: {fault}")
        revision = 0 if self.last is None else self.last.revision
        if replace(snapshot, revision=revision) != self.last:
            self.report(replace(snapshot, revision=revision + 1))

    def _read(self) -> RunsSnapshot:
        try:
            return RunsSnapshot(self._runs_dir, self._reader.read())
        except FileNotFoundError:
            return RunsSnapshot(self._runs_dir, exists=False)
        except OSError as error:
            return self._failed(f"cannot read the runs folder {str(self._runs_dir)!r}: {_why(error)}")

    def _failed(self, problem: str) -> RunsSnapshot:
        """The last entries, and why there are no newer ones."""
        return RunsSnapshot(self._runs_dir, () if self.last is None else self.last.entries, problem)


def _why(error: OSError) -> str:
    return "it is a file, not a folder" if isinstance(error, NotADirectoryError) else cause(error)
