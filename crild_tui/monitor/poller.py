"""Poll files in a thread and report what changed."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

Snapshot = TypeVar("Snapshot")


class Poller(ABC, Generic[Snapshot]):
    """A daemon thread that looks every `every` seconds and reports each snapshot that differs from the last.

    `report` is called in the thread. Polling continues whatever a look or the report raises.
    """

    def __init__(self, name: str, report: Callable[[Snapshot], object], every: float) -> None:
        self.last: Snapshot | None = None
        self._report, self._every = report, every
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._poll, name=name, daemon=True)

    def start(self) -> None:
        """Start polling."""
        self._thread.start()

    def stop(self) -> None:
        """Stop soon, without waiting; nothing is reported afterwards except a snapshot already on its way."""
        self._end.set()

    @abstractmethod
    def look(self, fault: str | None) -> None:
        """Look once, and `report` what there is. `fault` is the unexpected error of the look before, if there was one."""

    @property
    def stopped(self) -> bool:
        """Whether the thread is to end."""
        return self._end.is_set()

    def pause(self, seconds: float) -> None:
        """Wait, but not once the thread is to end."""
        self._end.wait(seconds)

    def report(self, snapshot: Snapshot) -> None:
        """Report a snapshot, if it differs from the last."""
        if snapshot != self.last and not self.stopped:
            self._report(snapshot)
            self.last = snapshot

    def _poll(self) -> None:
        fault: str | None = None
        while not self.stopped:
            try:
                self.look(fault)
                fault = None
            except Exception as error:  # noqa: BLE001 - reported with the next look
                fault = f"unexpected {type(error).__name__}: {error}"
            self.pause(self._every)
