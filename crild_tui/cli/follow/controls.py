"""What the person and the system ask for while a run is followed: signals become counts that the loop looks at."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Any, Self

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Controls:
    """Within `with`, the signals named are counted instead of ending the process; before and after, all is as it was.

    A hang-up ends this process at once and quietly: the terminal is gone, and the engine has a session of its own. It
    is held back only while `holding` (a run is being made and started).
    """

    def __init__(self, signals: Iterable[signal.Signals] = STOPPING):
        self._signals = tuple(signals)
        self._before: dict[signal.Signals, Any] = {}
        self._seen: dict[int, int] = {}
        self.holding = False

    def count(self, which: signal.Signals) -> int:
        """How often a signal has come."""
        return self._seen.get(which, 0)

    @property
    def asked(self) -> bool:
        """Whether anything came that ends the following."""
        return bool(self._seen)

    def release(self) -> None:
        """The engine runs: a hang-up may end this process now, also one that came meanwhile."""
        self.holding = False
        if self.count(signal.SIGHUP):
            _vanish()

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
        self._seen[number] = self._seen.get(number, 0) + 1

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        self._note(number, frame)
        if not self.holding:
            _vanish()


def _vanish() -> None:
    """End without a word and without cleaning up a terminal that is no longer there."""
    os._exit(128 + signal.SIGHUP)
