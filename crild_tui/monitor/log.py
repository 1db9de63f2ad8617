"""Watch the end of a run's log, which holds what its engine printed."""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from crild_tui.monitor.poller import Poller
from engine.preset.text import one_line
from engine.record.files import cause
from engine.record.paths import log_files

EVERY = 0.5
"""Seconds between two looks."""
MOST_LINES = 2000
MOST_BYTES = 512 * 2**10
"""Bytes read at once, and characters in memory."""
LONGEST = 2000
"""Bytes shown of one line."""
_BREAK = re.compile(rb"\r*\n|\r+")


@dataclass(frozen=True)
class LogTail:
    """The last lines of a log, made safe to show.

    `first` counts the lines read earlier that are no longer among `lines`; `cut`: the file has more before them.
    `generation` changes when the lines are unrelated to earlier ones: another attempt, a replaced or truncated file.
    """

    lines: tuple[str, ...] = ()
    first: int = 0
    cut: bool = False
    attempt: int | None = None
    problem: str | None = None
    generation: int = 0


class LogReader:
    """Reads the end of a run's newest log and what is added to it, never more than `MOST_BYTES` at once."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._file: tuple[int, int] | None = None
        self._generation = 0
        self._attempt: int | None = None
        self._forget()

    def _forget(self) -> None:
        self._offset = 0
        self._lines: deque[str] = deque()
        self._characters = 0
        self._first = 0
        self._cut = False
        self._rest = b""
        self._rest_cut = False

    def read(self) -> LogTail:
        """The end of the log as it is now."""
        try:
            problem = self._look()
        except OSError as error:
            problem = f"cannot read the log: {cause(error)}"
        lines = (*self._lines, _shown(self._rest)) if self._rest.strip(b"\r") else tuple(self._lines)
        return LogTail(lines, self._first, self._cut, self._attempt, problem, self._generation)

    def _look(self) -> str | None:
        files = log_files(self._run_dir)
        if not files:
            self._start_again(None, None)
            return "no log yet: the engine has printed nothing"
        attempt = max(files)
        handle = os.open(files[attempt], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            stats = os.fstat(handle)
            if not stat.S_ISREG(stats.st_mode):
                return "the log is not a file"
            file = (stats.st_dev, stats.st_ino)
            if attempt != self._attempt or file != self._file or stats.st_size < self._offset:
                self._start_again(attempt, file)
            self._read_on(handle, stats.st_size)
        finally:
            os.close(handle)
        return None

    def _start_again(self, attempt: int | None, file: tuple[int, int] | None) -> None:
        if (attempt, file) == (self._attempt, self._file) and not self._offset:
            return
        self._attempt, self._file = attempt, file
        self._generation += 1
        self._forget()

    def _read_on(self, handle: int, size: int) -> None:
        if size - self._offset > MOST_BYTES:  # only the end: the lines in memory no longer adjoin it
            generation = self._generation + bool(self._offset)
            self._forget()
            self._generation, self._cut, self._rest_cut = generation, True, True
            self._offset = size - MOST_BYTES
        left = size - self._offset
        while left > 0 and (chunk := os.pread(handle, left, self._offset)):
            self._offset += len(chunk)
            left -= len(chunk)
            self._take(chunk)

    def _take(self, chunk: bytes) -> None:
        """Add bytes. Line ends and the carriage returns of progress bars end lines; empty bars are skipped."""
        data = self._rest + chunk
        start = 0
        for ending in _BREAK.finditer(data):
            if ending.end() == len(data) and data.endswith(b"\r"):
                break  # its line feed may follow
            line = data[start : ending.start()]
            if self._rest_cut:  # the first line of this part is incomplete
                self._rest_cut = False
            elif line or b"\n" in ending.group():
                self._add(_shown(line))
            start = ending.end()
        self._rest = data[start:]
        if len(self._rest) > LONGEST + 8:
            self._rest = self._rest[: LONGEST + 8]  # an endless line is cut anyway

    def _add(self, line: str) -> None:
        self._lines.append(line)
        self._characters += len(line)
        while len(self._lines) > MOST_LINES or self._characters > MOST_BYTES:
            self._characters -= len(self._lines.popleft())
            self._first += 1
            self._cut = True


def _shown(line: bytes) -> str:
    """A line as text without control characters, cut if it is too long to read."""
    more = " [...]" if len(line) > LONGEST else ""
    text = line[:LONGEST].decode("utf-8", "backslashreplace").rstrip("\r\n")
    return one_line(text.expandtabs(8)) + more


class LogWatcher(Poller[LogTail]):
    """Reports the end of a run's log whenever it has changed."""

    def __init__(self, run_dir: Path, report: Callable[[LogTail], object]) -> None:
        super().__init__("log", report, EVERY)
        self._reader = LogReader(run_dir)

    def look(self, fault: str | None) -> None:  # noqa: ARG002 - the log itself says what matters
        """Read what was added, and report the end."""
        self.report(self._reader.read())
