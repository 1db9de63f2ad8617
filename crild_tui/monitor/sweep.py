"""Watches one sweep: its record and its runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from crild_tui.runs.sweeps import SweepReader, SweepSnapshot
from engine.errors import CrildError

EVERY = 1.0
"""Seconds between two looks."""


class SweepWatcher:
    """A thread that looks at a sweep and hands out a snapshot whenever something changed.

    `tell` is called in the thread. Whatever happens to the files, the thread goes on, and says in `problem` what it met.
    """

    def __init__(
        self, runs_dir: Path, name: str, tell: Callable[[SweepSnapshot], object], *, every: float = EVERY
    ) -> None:
        self._tell, self._every = tell, every
        self._reader = SweepReader(runs_dir, name)
        self._last = SweepSnapshot(name)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sweep", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; does not wait."""
        self._end.set()

    def _watch(self) -> None:
        while not self._end.is_set():
            began = time.monotonic()
            seen = self._look()
            if seen != self._last and not self._end.is_set():
                self._last = seen
                self._tell(seen)
            self._end.wait(max(self._every, time.monotonic() - began))  # a slow file system gets as long a pause

    def _look(self) -> SweepSnapshot:
        """The sweep as it is; what was seen before, and why, where it cannot be read."""
        try:
            seen = self._reader.read(time.time())
        except CrildError as error:
            return replace(self._last, problem=error.sentence)
        except Exception as error:  # noqa: BLE001 - whatever it is: it is told, and the watching goes on
            fault = f"reading this sweep met an unexpected fault: {type(error).__name__}: {error}"
            return replace(self._last, problem=fault)
        if seen.found is not None and seen.found.eta is not None:
            seen = replace(seen, found=replace(seen.found, eta=float(round(seen.found.eta))))
        return seen
