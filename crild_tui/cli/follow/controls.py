"""Count the signals that arrive while a run or a sweep is followed, for its loop to act on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Any, Self

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Controls:
    """Within `with`, these signals are counted instead of ending the process; afterwards their old handlers are back.

    SIGHUP ends this process at once, without output: the terminal is gone, and the engine has a session of its own. It
    waits only while `holding` (a run is being created and started).
    """

    def __init__(self, signals: Iterable[signal.Signals] = STOPPING):
        self._signals = tuple(signals)
        self._before: dict[signal.Signals, Any] = {}
        self._counts: dict[int, int] = {}
        self._taken: dict[int, int] = {}
        self.holding = False

    def count(self, which: signal.Signals) -> int:
        """How often a signal has arrived."""
        return self._counts.get(which, 0)

    def take(self, which: signal.Signals) -> int:
        """The number, from 1, of the next signal of this kind to act on; 0 if none is left."""
        if self.count(which) <= self._taken.get(which, 0):
            return 0
        self._taken[which] = self._taken.get(which, 0) + 1
        return self._taken[which]

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than until a signal arrives."""
        until = time.monotonic() + seconds
        while self._counts == self._taken and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))

    @property
    def asked(self) -> bool:
        """Whether any signal has arrived that ends the following."""
        return bool(self._counts)

    def release(self) -> None:
        """The engine runs: SIGHUP may end this process from now on, including one that has already arrived."""
        self.holding = False
        if self.count(signal.SIGHUP):
            _exit_at_once()

    def __enter__(self) -> Self:
        for which in self._signals:
            self._before[which] = signal.signal(which, self._note)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # started under nohup
            self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._hang_up)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for which, handler in self._before.items():
            signal.signal(which, handler)
        self._before.clear()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._counts[number] = self._counts.get(number, 0) + 1

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        self._note(number, frame)
        if not self.holding:
            _exit_at_once()


class Lasting:
    """Whether something has been true at every check for some time, such as a run that looks lost."""

    def __init__(self, seconds: float = 2.0):
        self._seconds = seconds
        self._since: float | None = None

    def holds(self, now: bool) -> bool:
        """Whether it is true `now` and has been for long enough."""
        if not now:
            self._since = None
            return False
        self._since = time.monotonic() if self._since is None else self._since
        return time.monotonic() - self._since >= self._seconds


def _exit_at_once() -> None:
    """Exit without output, and without restoring a terminal that is gone."""
    os._exit(128 + signal.SIGHUP)
