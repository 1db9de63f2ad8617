"""Open and read regular files only: a pipe of that name would block for ever, and a device might never end."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


class NotRegularError(OSError):
    """A pipe, device or socket where a file is expected."""


class OversizedError(OSError):
    """A file that has more bytes than the reader takes: `size`, or more."""

    def __init__(self, path: Path, size: int) -> None:
        super().__init__(errno.EFBIG, f"it has {size:,} bytes, which is too large", str(path))
        self.size = size


def open_regular(path: Path, most: int | None = None) -> BufferedReader:
    """A regular file, open for reading bytes; never blocks.

    Raises OSError: NotRegularError for a pipe or device, IsADirectoryError for a folder, and OversizedError for a file
    with more than `most` bytes.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    fault = _fault(path, os.fstat(handle), most)
    if fault is not None:
        os.close(handle)
        raise fault
    return os.fdopen(handle, "rb")


def read_regular(path: Path, most: int | None = None) -> bytes:
    """The bytes of a regular file, `most` at most. Raises as `open_regular` does."""
    with open_regular(path, most) as file:
        content = file.read(-1 if most is None else most + 1)
    if most is not None and len(content) > most:  # it has grown, or its size is not known as in /proc
        raise OversizedError(path, len(content))
    return content


def _fault(path: Path, status: os.stat_result, most: int | None) -> OSError | None:
    if stat.S_ISDIR(status.st_mode):
        return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        return NotRegularError(errno.EINVAL, "it is a pipe or device, where a file is expected", str(path))
    return None if most is None or status.st_size <= most else OversizedError(path, status.st_size)
