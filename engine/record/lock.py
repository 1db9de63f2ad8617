"""Locks that make one process the owner of a run directory, and that vanish with this process.

POSIX record locks belong to a process, not to an open file: a forked child never holds its parent's lock, so a child that
outlives a killed engine does not keep the run locked. In exchange, closing ANY descriptor of the lock file in the owning
process drops the lock: only this module opens such files, and `held` first looks in a table of this process's own locks.
The table knows the files themselves, not their names: the folder of a lock may be renamed while it is held.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engine.errors import RunError
from engine.record.files import cause, read_json
from engine.record.owner import Owner
from engine.record.paths import LOCK, STATUS
from engine.record.phases import Report
from engine.record.status import LOST_AFTER

_BUSY = (errno.EACCES, errno.EAGAIN)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)

FREE, UNSEEN = 0, -1
"""Instead of the id of a process that holds a lock: nobody does; one that cannot be seen from here does."""

_FileId = tuple[int, int]
"""Device and inode of a file."""

_mine: dict[_FileId, int] = {}
"""Lock files that this process holds, with its process id: a forked child inherits the table, but not the locks."""
_table = threading.RLock()
"""Guards `_mine`: to the system, all threads of a process hold its locks."""


@contextmanager
def waiting_lock(path: Path, report: Report, phase: str) -> Iterator[None]:
    """Hold the lock on a file; while another process holds it, wait, with a report of `phase` once a second.

    Raises OSError when the file cannot be opened.
    """
    lock = FileLock(path)
    while not lock.try_acquire():
        report(phase)
        time.sleep(1.0)
    try:
        yield
    finally:
        lock.release()


class FileLock:
    """An exclusive lock on a file, held by this process until `release` or its end."""

    def __init__(self, path: Path) -> None:
        self.path = path.parent.resolve() / path.name
        self._handle: int | None = None
        self._file: _FileId | None = None

    def try_acquire(self) -> bool:
        """Take the lock if it is free. Raises OSError when the file cannot be opened, or is a link.

        Succeeds on a file system without locks: there, only the owner that a record names guards it.
        """
        with _table:
            return not _held_here(self.path) and self._try()

    def _try(self) -> bool:
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if self.path.is_symlink():
                sentence = f"{self.path.name} is a symbolic link, which crild does not follow: remove it"
                raise OSError(errno.EMLINK, sentence, str(self.path)) from error
            raise
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY or error.errno not in _NO_LOCKS:
                os.close(handle)
            if error.errno in _BUSY:
                return False
            if error.errno not in _NO_LOCKS:
                raise
        if not _same_file(handle, self.path):  # the folder was removed or replaced in the meantime
            os.close(handle)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))
        self._handle, self._file = handle, _id_of(os.fstat(handle))
        _mine[self._file] = os.getpid()
        return True

    def acquire(self, wait: float) -> bool:
        """Take the lock, trying for `wait` seconds. Raises OSError when the file cannot be opened."""
        until = time.monotonic() + wait
        while not self.try_acquire():
            if time.monotonic() >= until:
                return False
            time.sleep(0.02)
        return True

    def release(self) -> None:
        """Release the lock; does nothing when it is not held, or in a forked child of its owner."""
        if self._handle is None:
            return
        if self._file is not None and _mine.get(self._file) == os.getpid():
            del _mine[self._file]
        os.close(self._handle)
        self._handle = self._file = None

    def is_enforced(self) -> bool:
        """Whether the file system has locks, so that the one that is held keeps others out."""
        return self._handle is not None and _query(self._handle) is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class RunLock(FileLock):
    """The lock of a run directory, which its engine holds."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(run_dir / LOCK)
        self.run_dir = run_dir

    def take(self, wait: float = 0.0, *, gone: Owner | None = None) -> None:
        """Take the lock, trying for `wait` seconds. Raises RunError with its owner, or why the run cannot be locked.

        `gone` is an owner on another host that is known to have ended.
        """
        try:
            taken = self.acquire(wait)
        except OSError as error:
            sentence = f"cannot lock the run: {cause(error)}"
            raise RunError(sentence, kind="cannot-lock-run", file=str(self.path)) from error
        if not taken:
            raise busy(self.run_dir)
        status = read_json(self.run_dir / STATUS)
        copied = is_copied(self.run_dir, (status or {}).get("inode"))
        if _live_owner(status) not in (None, gone) and not (copied and self.is_enforced()):
            self.release()  # no locks on this file system, or the owner lost its lock
            raise busy(self.run_dir)


def held(run_dir: Path) -> bool:
    """Whether a process (this one included) holds the run's lock. Never takes it, and creates no file."""
    locked = file_held(run_dir.resolve() / LOCK)
    return _live_owner(read_json(run_dir / STATUS)) is not None if locked is None else locked


def file_held(path: Path) -> bool | None:
    """Whether a process holds the lock of a file; None on a file system without locks."""
    holder = _holder(path.parent.resolve() / path.name)
    return None if holder is None else holder != FREE


def lock_holder(run_dir: Path) -> int | None:
    """The id of the process that holds a run's lock; FREE, UNSEEN, or None on a file system without locks."""
    return _holder(run_dir.resolve() / LOCK)


def _holder(path: Path) -> int | None:
    if _held_here(path):
        return os.getpid()
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return FREE
    try:
        return _query(handle)
    finally:
        os.close(handle)


def busy(run_dir: Path) -> RunError:
    """The error for a second process: who owns the run, and what to do."""
    who, name = Owner.of(read_json(run_dir / STATUS)) or "another process", run_dir.name
    sentence = f"{who} is already working on the run {name!r}: watch it with `crild attach {name}`, or stop it first"
    return RunError(sentence, kind="run-in-use")


def held_elsewhere(run_dir: Path) -> bool:
    """Whether another process holds the run's lock."""
    return not _held_here(run_dir.resolve() / LOCK) and held(run_dir)


def is_copied(run_dir: Path, inode: object) -> bool:
    """Whether a status that says it was written in this inode was written in another folder: the run was copied.

    A renamed folder is the same one. False for records that don't say where they were written.
    """
    try:
        return isinstance(inode, str) and str(run_dir.stat().st_ino) != inode
    except OSError:
        return False


def _id_of(facts: os.stat_result) -> _FileId:
    return facts.st_dev, facts.st_ino


def _held_here(path: Path) -> bool:
    try:
        return _mine.get(_id_of(path.stat())) == os.getpid()
    except OSError:
        return False


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


def _query(handle: int) -> int | None:
    """F_GETLK: the process that would refuse an exclusive lock, FREE where none would; None without locks."""
    mac = sys.platform == "darwin"
    # The layout of struct flock. Linux (64 bit): type, whence, start, len, pid; macOS: start, len, pid, type, whence.
    layout = "@qqihh" if mac else "@hhqqi4x"
    question = (0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET) if mac else (fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        answer = fcntl.fcntl(handle, fcntl.F_GETLK, struct.pack(layout, *question))
    except OSError:
        return None
    fields = struct.unpack(layout, answer)
    if fields[3 if mac else 0] == fcntl.F_UNLCK:
        return FREE
    return int(fields[2 if mac else 4]) or UNSEEN


def _live_owner(status: Mapping[str, Any] | None) -> Owner | None:
    """The owner that a run's status names, if it is alive and not this process; one elsewhere by its heartbeat."""
    if status is None or status.get("state") not in ("running", "stopping"):
        return None
    owner = Owner.of(status)
    if owner is None:
        return None
    where, heartbeat = owner.state(), status.get("heartbeat")
    if where == "elsewhere":
        return owner if isinstance(heartbeat, int | float) and time.time() - heartbeat < LOST_AFTER else None
    return owner if where == "alive" and owner.pid != os.getpid() else None
