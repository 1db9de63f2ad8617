"""Watches the list of runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from crild_tui.watch.snapshots import RunsSnapshot
from engine.record.files import cause
from engine.record.run import list_runs

EVERY = 1.0
"""Seconds between two looks."""


class RunsWatcher:
    """A thread that looks at a runs folder and hands out a snapshot whenever something changed."""

    def __init__(self, runs_dir: Path, tell: Callable[[RunsSnapshot], object]) -> None:
        self._runs_dir, self._tell = runs_dir, tell
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="runs", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; does not wait."""
        self._end.set()

    def _watch(self) -> None:
        last = None
        revision = 0
        while not self._end.is_set():
            problem = problem_of(self._runs_dir)
            entries = () if problem else tuple(list_runs(self._runs_dir))
            there = problem is not None or self._runs_dir.exists()
            seen = RunsSnapshot(self._runs_dir, entries, problem, exists=there)
            if seen != last:
                last, revision = seen, revision + 1
                self._tell(replace(seen, revision=revision))
            self._end.wait(EVERY)


def problem_of(runs_dir: Path) -> str | None:
    """Why a runs folder cannot be read; None where it can be, or is just not there yet."""
    try:
        with os.scandir(runs_dir):
            return None
    except FileNotFoundError:
        return None
    except OSError as error:
        return cause(error)
