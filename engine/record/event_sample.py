"""Sample the events of a run whose event files take long to read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.record.events import Event, decode_events
from engine.record.paths import event_files


def events_size(run_dir: Path) -> int:
    """Bytes of all event files of a run; unreadable ones count as 0."""
    return sum(_length(path) for path in event_files(run_dir).values())


def sample_events(run_dir: Path, pieces: int = 128, size: int = 2**14) -> Iterator[list[Event]]:
    """Events from about `pieces` evenly spaced pieces of a run's files, each of `size` bytes; one list per piece.

    The beginning and the end of each file are among them. Unlike `read_events` this includes events that a later attempt
    superseded; its `run_started` follows, so its `ResumePoint` can tell. Files that vanish, shrink or hold garbage yield
    what can be read of them.
    """
    lengths = {path: _length(path) for path in event_files(run_dir).values()}
    total = max(1, sum(lengths.values()))
    for path, length in lengths.items():
        for lines in _pieces(path, length, max(2, pieces * length // total), size):
            yield decode_events(lines)


def last_events(path: Path | None, size: int = 2**16) -> list[Event]:
    """The events in the last `size` bytes of an event file; none without a file, or of one that can't be read."""
    if path is None:
        return []
    length = _length(path)
    return [event for lines in _pieces_from(path, [max(0, length - size)], size) for event in decode_events(lines)]


def _length(path: Path) -> int:
    try:
        stats = path.stat()
    except OSError:
        return 0
    return stats.st_size if stat.S_ISREG(stats.st_mode) else 0


def _pieces(path: Path, length: int, pieces: int, size: int) -> Iterator[list[bytes]]:
    """The complete lines in pieces of a file that don't overlap."""
    if length <= pieces * size:
        pieces, size = 1, length
    yield from _pieces_from(path, [piece * (length - size) // max(1, pieces - 1) for piece in range(pieces)], size)


def _pieces_from(path: Path, offsets: Sequence[int], size: int) -> Iterator[list[bytes]]:
    """The complete lines in pieces of a file, each of `size` bytes from an offset."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        for offset in offsets:
            lines = os.pread(handle, size, offset).split(b"\n")
            yield [line for line in lines[0 if offset == 0 else 1 : -1] if line]
    except OSError:
        return
    finally:
        os.close(handle)
