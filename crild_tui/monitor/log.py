"""Watches the end of what a run's engine printed."""

from __future__ import annotations

import os
import re
import stat
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.preset.text import one_line
from engine.record.files import cause
from engine.record.paths import log_files

EVERY = 0.5
"""Seconds between two looks."""
MOST_LINES = 2000
MOST_BYTES = 512 * 2**10
"""Bytes that are read at once, and characters that are kept."""
LONGEST = 2000
"""Bytes that are shown of one line."""
_BREAK = re.compile(rb"\r*\n|\r+")


@dataclass(frozen=True)
class LogTail:
    """The last lines of a log, made safe to show.

    `first` counts the lines that were seen since the watcher began and are no longer among `lines`; `cut` says that the
    file holds more before them. `generation` changes when the lines have nothing to do with those before: another
    attempt, a file that was replaced or cut.
    """

    lines: tuple[str, ...] = ()
    first: int = 0
    cut: bool = False
    attempt: int | None = None
    problem: str | None = None
    generation: int = 0


class LogReader:
    """Reads the end of the newest log of a run, and what is added to it; never more than `MOST_BYTES` at once."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._file: tuple[int, int] | None = None
        self._generation = 0
        self._attempt: int | None = None
        self._told: LogTail | None = None
        self._forget()

    def _forget(self) -> None:
        self._offset = 0
        self._lines: deque[str] = deque()
        self._characters = 0
        self._first = 0
        self._cut = False
        self._rest = b""
        self._rest_cut = False

    def read(self) -> LogTail | None:
        """What there is now; None when nothing has changed since the last call."""
        try:
            problem = self._look()
        except OSError as error:
            problem = f"the log cannot be read: {cause(error)}"
        lines = (*self._lines, _shown(self._rest)) if self._rest.strip(b"\r") else tuple(self._lines)
        found = LogTail(lines, self._first, self._cut, self._attempt, problem, self._generation)
        if found == self._told:
            return None
        self._told = found
        return found

    def _look(self) -> str | None:
        files = log_files(self._run_dir)
        if not files:
            self._start_again(None, None)
            return "there is no log yet: the engine has printed nothing"
        attempt = max(files)
        handle = os.open(files[attempt], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                return "the log is no file"
            file = (found.st_dev, found.st_ino)
            if attempt != self._attempt or file != self._file or found.st_size < self._offset:
                self._start_again(attempt, file)
            self._read_on(handle, found.st_size)
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
        if size - self._offset > MOST_BYTES:  # only the end: what was kept before is no longer next to it
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
        """Add bytes. Both line ends and the carriage returns of progress bars end lines; empty bars are left out."""
        data = self._rest + chunk
        start = 0
        for found in _BREAK.finditer(data):
            if found.end() == len(data) and data.endswith(b"\r"):
                break  # perhaps its line feed is still to come
            line = data[start : found.start()]
            if self._rest_cut:  # the first line of the part that was read is a torn one
                self._rest_cut = False
            elif line or b"\n" in found.group():
                self._add(_shown(line))
            start = found.end()
        self._rest = data[start:]
        if len(self._rest) > LONGEST + 8:
            self._rest = self._rest[: LONGEST + 8]  # a line that never ends is cut anyway

    def _add(self, line: str) -> None:
        self._lines.append(line)
        self._characters += len(line)
        while len(self._lines) > MOST_LINES or self._characters > MOST_BYTES:
            self._characters -= len(self._lines.popleft())
            self._first += 1
            self._cut = True


def _shown(line: bytes) -> str:
    """A line as text that does nothing to a terminal, cut where it is too long to be read."""
    more = " [...]" if len(line) > LONGEST else ""
    text = line[:LONGEST].decode("utf-8", "backslashreplace").rstrip("\r\n")
    return one_line(text.expandtabs(8)) + more


class LogWatcher:
    """A thread that reads the end of a run's log and hands it out whenever it has changed."""

    def __init__(self, run_dir: Path, tell: Callable[[LogTail], object]) -> None:
        self._reader, self._tell = LogReader(run_dir), tell
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="log", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; does not wait."""
        self._end.set()

    def _watch(self) -> None:
        while not self._end.is_set():
            found = self._reader.read()
            if found is not None and not self._end.is_set():
                self._tell(found)
            self._end.wait(EVERY)
