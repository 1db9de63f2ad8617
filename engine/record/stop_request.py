"""A request by signal to stop this process, and how what takes long obeys it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self


class Stopped(BaseException):
    """This process was asked to stop.

    Not an `Exception`, so that no library takes it for an error of its own. Where a stage is being trained, its
    checkpoint is written by the time this leaves the stage.
    """


class StopRequest:
    """A request by signal to this process; the training loop checks it between steps.

    SIGTERM and SIGINT ask to stop, SIGUSR1 to release the device (preempt); the first one counts. SIGHUP is ignored.
    In a `scheduled` job, SIGTERM preempts too: the scheduler sends it.
    """

    _STATES = {signal.SIGTERM: "stopped", signal.SIGINT: "stopped", signal.SIGUSR1: "preempted"}  # noqa: RUF012

    def __init__(self, *, scheduled: bool = False) -> None:
        self.signal: int | None = None
        self._scheduled = scheduled
        self._interrupting = 0

    @property
    def state(self) -> str | None:
        """The state to end in: "stopped" or "preempted"; None without a request."""
        if self.signal == signal.SIGTERM and self._scheduled:
            return "preempted"
        return None if self.signal is None else self._STATES[signal.Signals(self.signal)]

    @property
    def exit_code(self) -> int:
        """The exit code: 130 after SIGINT, else 143."""
        return 130 if self.signal == signal.SIGINT else 143

    def ask(self) -> None:
        """Ask this process to stop, as SIGTERM would between two pieces of work."""
        self.signal = self.signal or signal.SIGTERM

    def check(self) -> None:
        """Raise Stopped if this process was asked to stop. For work in pieces: call it between them."""
        if self.signal is not None:
            raise Stopped

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Let a request end what the main thread is doing at once, by Stopped from the signal handler.

        For what cannot ask between pieces: imports, libraries that read files or wait for a network. Only for work that
        loses nothing when it is killed. An error raised meanwhile counts as an effect of the request.
        """
        self.check()
        self._interrupting += 1
        try:
            yield
        except Exception as error:
            if self.signal is not None:
                raise Stopped from error
            raise
        finally:
            self._interrupting -= 1
        self.check()

    def install(self, *, outlive_terminal: bool = True) -> Self:
        """Install the signal handlers. Only the main thread can. Without `outlive_terminal`, SIGHUP keeps its effect."""
        process = os.getpid()

        def handle(number: int, _frame: FrameType | None) -> None:
            if os.getpid() != process:  # in a forked child, a signal has its default effect
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            elif self.signal is None:
                self.signal = number
                if self._interrupting:
                    raise Stopped

        for number in self._STATES:
            signal.signal(number, handle)
        if outlive_terminal:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._STATES)  # our starter may have blocked them
        return self
