"""A first impression of a run whose event files take long to read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from engine.record.events import Event, decode_events
from engine.record.paths import event_files


def events_size(run_dir: Path) -> int:
    """Bytes of all event files of a run; those that cannot be looked at count as nothing."""
    return sum(_length(path) for path in event_files(run_dir).values())


def sample_events(run_dir: Path, pieces: int = 128, size: int = 2**14) -> Iterator[list[Event]]:
    """Events from about so many evenly spaced pieces of a run's files, each of so many bytes; a list for each piece.

    The beginning and the end of each file are among them. Unlike `read_events` this leaves in what a later attempt
    superseded; its `run_started` is in the sample, so `superseded` can tell. Files that vanish, shrink or hold garbage
    yield what can be read of them.
    """
    lengths = {path: _length(path) for path in event_files(run_dir).values()}
    total = max(1, sum(lengths.values()))
    for path, length in lengths.items():
        for lines in _pieces(path, length, max(2, pieces * length // total), size):
            yield decode_events(lines)


def _length(path: Path) -> int:
    try:
        found = path.stat()
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _pieces(path: Path, length: int, pieces: int, size: int) -> Iterator[list[bytes]]:
    """The whole lines in pieces of a file that do not overlap."""
    if length <= pieces * size:
        pieces, size = 1, length
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        for piece in range(pieces):
            offset = piece * (length - size) // max(1, pieces - 1)
            lines = os.pread(handle, size, offset).split(b"\n")
            yield [line for line in lines[0 if offset == 0 else 1 : -1] if line]
    except OSError:
        return
    finally:
        os.close(handle)
