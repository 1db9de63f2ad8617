"""Takes what a watcher tells, and waits for what a test wants to see."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from tests.conftest import PATIENCE

T = TypeVar("T")


class Snapshots(Generic[T]):
    """Snapshots as they come."""

    def __init__(self) -> None:
        self.all: list[T] = []
        self._news = threading.Condition()
        self._at = 0

    def __call__(self, snapshot: T) -> None:
        with self._news:
            self.all.append(snapshot)
            self._news.notify_all()

    def until(self, wanted: Callable[[T], bool]) -> T:
        """The first snapshot that is as wanted, from the one that was last found on."""
        found: list[int] = []

        def come() -> bool:
            found[:] = [at for at in range(self._at, len(self.all)) if wanted(self.all[at])][:1]
            return bool(found)

        with self._news:
            assert self._news.wait_for(come, PATIENCE), self.all[-1:]
            self._at = found[0]
            return self.all[self._at]
