"""The folder of a run, held by descriptor while an engine works in it, so that another of its name is never taken for it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
import threading
from pathlib import Path

from engine.errors import RunError
from engine.record.files import cause
from engine.record.paths import LOCK, PRESET

_LONGEST_PATH = 1024
"""Bytes that macOS wants for a path."""


class RunFolder:
    """A run directory, found again when it is renamed, and missed when it is removed.

    Asking where it is costs two system calls, so it can be asked before every write.
    """

    def __init__(self, path: Path) -> None:
        """Hold a folder. Raises RunError when it cannot be opened."""
        self._path = path
        self._guard = threading.Lock()
        try:
            self._handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            sentence = f"the run directory cannot be opened: {cause(error)}"
            raise RunError(sentence, kind="cannot-open-run", file=str(path)) from error
        facts = os.fstat(self._handle)
        self._file = (facts.st_dev, facts.st_ino)

    @property
    def inode(self) -> str:
        """The number that the file system knows it by (up to 20 digits)."""
        return str(self._file[1])

    def path(self) -> Path:
        """Where it is now. Raises RunError when it was removed, or is where this system cannot find it."""
        with self._guard:
            if not self._is_at(self._path):
                moved = _path_of(self._handle)
                if moved is None or moved == self._path or not self._is_at(moved):
                    raise self._gone()
                self._path = moved
            if self._lacks(LOCK) and self._lacks(PRESET):  # its files were deleted, and it is next
                raise self._gone()
            return self._path

    def is_gone(self) -> bool:
        """Whether it was removed."""
        try:
            self.path()
        except RunError:
            return True
        return False

    def close(self) -> None:
        """Let it go; it must not be asked any more."""
        os.close(self._handle)

    def _is_at(self, path: Path) -> bool:
        """Whether a path leads to it, as far as can be told: a file server that is away for a moment proves nothing."""
        try:
            facts = path.stat()
        except OSError as error:
            return error.errno not in (errno.ENOENT, errno.ENOTDIR)
        return (facts.st_dev, facts.st_ino) == self._file

    def _lacks(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._handle, follow_symlinks=False)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return False

    def _gone(self) -> RunError:
        sentence = (
            "the run directory was removed while the run was working in it, so the run ended and wrote nothing more"
        )
        return RunError(sentence, kind="run-directory-gone", file=str(self._path))


def _path_of(handle: int) -> Path | None:
    """The path of an open folder, as the system knows it; None where it doesn't say."""
    with contextlib.suppress(OSError, ValueError):
        if sys.platform == "darwin":
            found = fcntl.fcntl(handle, fcntl.F_GETPATH, bytes(_LONGEST_PATH))
            return Path(os.fsdecode(found.rstrip(b"\0")))
        return Path(f"/proc/self/fd/{handle}").readlink()
    return None
