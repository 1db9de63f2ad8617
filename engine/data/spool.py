"""Bytes that grow without growing the process: in an unnamed file, which is mapped into memory to be read.

Imports neither torch nor numpy: preflight reads the heads of files. Arrays over these bytes: `array_files.py`.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, Any

from engine.record.files import cause
from engine.record.paths import cache_dir

SMALL = 1 << 20
"""Bytes that stay in memory: a file for each split of a small task is not worth its cost."""
FOLDER = "rows"
"""Subfolder of the cache directory in which the unnamed files are."""

SPARE = 1 << 28
"""Bytes of a disk that are left to others."""
_LOOK = 1 << 26  # bytes between two looks at the disk

Content = mmap.mmap | bytearray

log = logging.getLogger(__name__)


class Spool:
    """Bytes to which others are appended. Beyond `SMALL` they are in a file of the cache folder that has no name, so that
    the system frees it when this process ends, however it does. Where the disk has no room for it, they stay in memory, and
    a warning says so.
    """

    def __init__(self) -> None:
        self.size = 0
        """Bytes so far."""
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._refused = False
        self._content: Content | None = None

    def append(self, data: bytes | memoryview) -> None:
        """Add bytes at the end; not after `content` was asked for."""
        view = memoryview(data)
        self.size += view.nbytes
        if self._file is None and not self._refused and self.size > SMALL:
            self._open()
        if self._file is None:
            self._memory += view
            return
        try:
            self._write(view)
        except OSError as fault:
            self._file.seek(0)
            self._memory = bytearray(self._file.read(self.size - view.nbytes)) + view
            self._give_up(fault)

    def _open(self) -> None:
        folder = cache_dir() / FOLDER
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - it is open as long as its map
            self._write(memoryview(self._memory))
            self._memory = bytearray()
        except OSError as fault:
            self._give_up(fault)

    def _write(self, view: memoryview) -> None:
        assert self._file is not None
        if self.size // _LOOK > (self.size - view.nbytes) // _LOOK and room(cache_dir()) < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        while view:  # a disk that is nearly full takes a part, and refuses the rest
            view = view[self._file.write(view) :]

    def _give_up(self, fault: OSError) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._refused = None, True
        log.warning(
            "the disk of %s cannot hold the rows while they are read (%s), so they stay in memory",
            cache_dir(),
            cause(fault),
        )

    def content(self) -> Content:
        """All bytes: a mapped file, or those in memory."""
        if self._content is None:
            self._content = self._memory
            if self._file is not None:
                self._content = mmap.mmap(self._file.fileno(), self.size, access=mmap.ACCESS_READ)
                self._file.close()  # the map holds it
        return self._content


def room(folder: Path) -> int:
    """Bytes that a file in a folder may take, so that the disk keeps `SPARE` for others. Raises OSError."""
    return shutil.disk_usage(folder).free - SPARE


def spooled(file: Any, block: int = SMALL) -> Spool:
    """What is left to read of an open file."""
    spool = Spool()
    while data := file.read(block):
        spool.append(data)
    return spool


def count(content: Content, byte: bytes) -> int:
    """How often a byte occurs."""
    view = memoryview(content)
    return sum(bytes(view[start : start + SMALL]).count(byte) for start in range(0, len(view), SMALL))
