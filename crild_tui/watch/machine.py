"""Watches the machine."""

from __future__ import annotations

import threading
from collections.abc import Callable

from crild_tui.watch.snapshots import MachineSnapshot

EVERY = 2.0
"""Seconds between two looks."""


class MachineWatcher:
    """A thread that reads load and memory."""

    def __init__(self, tell: Callable[[MachineSnapshot], object]) -> None:
        self._tell = tell
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="machine", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; does not wait."""
        self._end.set()

    def _watch(self) -> None:
        import psutil

        psutil.cpu_percent()
        while not self._end.wait(EVERY):
            memory = psutil.virtual_memory()
            self._tell(
                MachineSnapshot(psutil.cpu_percent() / 100, int(memory.total - memory.available), int(memory.total))
            )
