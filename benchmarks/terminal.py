"""A terminal to measure a program in: a pty whose every byte is counted and searched as it comes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

_CONTROL = re.compile(rb"\x1b\[[0-9;?<>=]*[a-zA-Z]|\x1b[()][A-Z0-9]|\x1b[=>]")


class Terminal:
    """Runs a command on a pty of a given size."""

    def __init__(self, command: Sequence[str], columns: int, rows: int, folder: Path, **environment: str) -> None:
        self.bytes = 0
        self._recent = b""
        self.started = time.perf_counter()
        self.pid, self._handle = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", **environment)
            os.execv(command[0], list(command))
        fcntl.ioctl(self._handle, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: str) -> None:
        """Type something; what came before no longer counts for `until`."""
        self._recent = b""
        os.write(self._handle, keys.encode())

    def read(self, seconds: float) -> int:
        """Take in what comes for so long; returns the bytes."""
        before, end = self.bytes, time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            if select.select([self._handle], [], [], left)[0] and not self._take():
                break
        return self.bytes - before

    def until(self, words: str, seconds: float = 30.0) -> float:
        """Wait until some words are drawn; returns the time that took. Raises TimeoutError."""
        began, wanted = time.perf_counter(), words.encode()
        while time.perf_counter() - began < seconds:
            if wanted in _CONTROL.sub(b"", self._recent):
                return time.perf_counter() - began
            if select.select([self._handle], [], [], 0.5)[0] and not self._take():
                raise TimeoutError(f"the program ended before it drew {words!r}")
        raise TimeoutError(f"{words!r} was not drawn within {seconds:g} s; last: {self._recent[-300:]!r}")

    def wait(self, seconds: float = 10.0) -> float:
        """Wait until the program has ended; returns the time that took. Raises TimeoutError."""
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            if select.select([self._handle], [], [], 0.002)[0]:
                self._take()
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                self.pid = 0
                return time.perf_counter() - began
        raise TimeoutError(f"the program did not end within {seconds:g} s")

    def memory(self) -> int:
        """Bytes of the program that are its own (unique set size)."""
        import psutil

        return int(psutil.Process(self.pid).memory_full_info().uss)

    def _take(self) -> bool:
        try:
            data = os.read(self._handle, 1 << 16)
        except OSError:  # what a pty answers when its program has ended
            return False
        self.bytes += len(data)
        self._recent = (self._recent + data)[-200_000:]
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._handle)


def crild(*arguments: str) -> list[str]:
    """The command line of crild with this Python."""
    return [sys.executable, "-c", "import sys; from crild_tui.cli import main; sys.exit(main())", *arguments]
