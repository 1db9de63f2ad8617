"""Delete and replace files and folders in runs and caches: only crild's own, and never through a symbolic link.

All of it works on open folders (`OpenFolder`): if somebody exchanges a folder for a link between a check and a deletion,
the deletion still applies to the folder that was checked, or fails. A whole run, a checkpoint or a cached file is removed
by `engine.record.inventory`, which knows their names and records; leftovers of killed processes carry their owner in
their names (`engine.record.owner.temporary_name`).

No other module of crild calls `unlink`, `rmtree` or `rename` on a path in a run or cache.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engine.record.owner import TEMPORARY, Owner, start_time, temporary_name

LARGEST_RECORD = 2**20
"""Bytes of the largest manifest that is read."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

CHECKPOINT_NAME = r"(?:\d{3}|best)-[a-z0-9_-]+-\d{8}"
"""Names of checkpoints and best weights, as a pattern."""
_RELEASED_WITH_PID = re.compile(
    rf"\..+\.tmp-(?P<file>[1-9]\d{{0,8}})-\d+-\d+|\.{CHECKPOINT_NAME}\.(?P<checkpoint>[1-9]\d{{0,8}})"
)
"""Temporary names of crild up to 0.2, which hold a process id alone."""
_RELEASED_AT_RANDOM = re.compile(r"\.student\.[a-z0-9_]{8}")
"""Temporary folders of crild up to 0.2 that name no process; they hold `new`, and `old` for a moment."""

MODEL_FILE = (
    r"(?:config|generation_config|special_tokens_map|added_tokens|crild)\.json|model[\w-]*\.safetensors(?:\.index\.json)?"
    r"|tokenizer[\w.-]*|vocab\.\w+|merges\.txt|(?:spm|spiece|sentencepiece[\w.]*)\.model|chat_template[\w.]*|README\.md"
)
"""Names of the files that crild writes into the folder of a model, as a pattern."""
CHECKPOINT_FILE = r"(?:state|manifest)\.json|[a-z_]+\.safetensors"
"""Names of the files that crild writes into a checkpoint, as a pattern."""


class LinkedFolderError(OSError):
    """A folder inside a run or cache is a symbolic link, so nothing is deleted or replaced in it."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path.name!r} is a symbolic link, and crild deletes and replaces nothing through links")
        self.path = path


class OpenFolder:
    """A folder that is held open: whatever happens to its path, all methods apply to this folder.

    Methods take names of entries of the folder and follow no links. They raise OSError, and ValueError for what cannot be
    the name of an entry. `path` is for messages, and for libraries that create files by path.
    """

    def __init__(self, handle: int, path: Path) -> None:
        self.handle = handle
        self.path = path

    @classmethod
    def at(cls, root: Path, *names: str, create: bool = False) -> Self:
        """Open the folder `names` below `root`, or `root` itself; `create` creates what is missing below `root`.

        `root` may be reached through links, the folders below it may not. Raises FileNotFoundError, LinkedFolderError, or
        another OSError.
        """
        folder = cls(os.open(root, _FOLDER), root)
        for name in names:
            with folder:
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(_entry(name), dir_fd=folder.handle)
                below = folder.child(name)
            folder = below
        return folder

    def child(self, name: str) -> Self:
        """Open a folder in this one. Raises as `at`."""
        path = self.path / _entry(name)
        try:
            return type(self)(os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self.handle), path)
        except OSError:
            if self.is_link(name):
                raise LinkedFolderError(path) from None
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the folder."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    # -- look

    def names(self) -> list[str]:
        """The names of all entries, sorted."""
        return sorted(os.listdir(self.handle))  # noqa: PTH208 - by descriptor

    def status(self, name: str) -> os.stat_result | None:
        """The status of an entry, of a link itself; None when there is none."""
        try:
            return os.lstat(_entry(name), dir_fd=self.handle)
        except FileNotFoundError:
            return None

    def is_folder(self, name: str) -> bool:
        """Whether an entry is a folder, and not a link to one."""
        status = self.status(name)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def is_file(self, name: str) -> bool:
        """Whether an entry is a regular file, and not a link to one."""
        status = self.status(name)
        return status is not None and stat.S_ISREG(status.st_mode)

    def is_link(self, name: str) -> bool:
        """Whether an entry is a symbolic link."""
        status = self.status(name)
        return status is not None and stat.S_ISLNK(status.st_mode)

    def head(self, name: str, size: int) -> bytes:
        """The first `size` bytes of a regular file; fewer where it has fewer, none for any other entry.

        Where the system allows it, this does not count as a use of the file (its access time stays).
        """
        if not self.is_file(name):
            return b""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            handle = os.open(name, flags | getattr(os, "O_NOATIME", 0), dir_fd=self.handle)
        except PermissionError:  # only the owner may leave the access time as it is
            handle = os.open(name, flags, dir_fd=self.handle)
        with os.fdopen(handle, "rb") as file:
            return file.read(size)

    def record(self, name: str) -> dict[str, Any] | None:
        """The JSON object in a file; None when it is missing, damaged, or too large for a record."""
        try:
            content = self.head(name, LARGEST_RECORD + 1)
            value = json.loads(content) if len(content) <= LARGEST_RECORD else None
        except (OSError, ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    # -- change

    def create(self, name: str) -> int:
        """Create a file and open it for writing; returns its descriptor. Raises FileExistsError, also for a link."""
        return os.open(_entry(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=self.handle)

    def rename(self, name: str, target: str, into: OpenFolder | None = None) -> None:
        """Rename an entry, or move it `into` another folder. Replaces a file, a link, or an empty folder of that name."""
        handle = self.handle if into is None else into.handle
        os.rename(_entry(name), _entry(target), src_dir_fd=self.handle, dst_dir_fd=handle)

    def remove(self, name: str) -> None:
        """Delete a file, a link (never what it points to), or a folder with everything in it."""
        if not self.is_folder(name):
            os.unlink(name, dir_fd=self.handle)
            return
        with self.child(name) as folder:
            folder.empty()
        self.remove_empty(name)

    def remove_folder(self, name: str, check: Callable[[OpenFolder], bool], last: str = "") -> bool:
        """Delete a folder with everything in it if it passes a check, made in the folder that is open; whether it did.

        The record `last` goes last, so that a half-deleted folder still passes the check.
        """
        with self.child(name) as folder:
            if not check(folder):
                return False
            folder.empty(last)
        self.remove_empty(name)
        return True

    def remove_empty(self, name: str) -> None:
        """Delete an empty folder; fails where it was exchanged for a link, or holds something."""
        os.rmdir(_entry(name), dir_fd=self.handle)

    def empty(self, last: str = "") -> None:
        """Delete everything in this folder, the entry `last` at the end."""
        for name in sorted(self.names(), key=lambda name: name == last):
            self.remove(name)

    def flush(self) -> None:
        """Flush the folder's entries to the device, on file systems that can."""
        flush_handle(self.handle)

    @contextlib.contextmanager
    def temporary_folder(self, base: str) -> Iterator[OpenFolder]:
        """A new folder in this one, for what will be called `base`; deleted at the end of the block if it still exists."""
        name = temporary_name(base)
        os.mkdir(name, dir_fd=self.handle)
        try:
            with self.child(name) as folder:
                yield folder
        finally:
            with contextlib.suppress(OSError):
                if self.is_folder(name):
                    self.remove(name)

    def put(self, new: OpenFolder, name: str) -> None:
        """Give the temporary folder `new` the name `name`, and delete the folder that had it.

        What a person put into the old folder moves into the new one. A kill in between loses neither (see
        `remove_leftovers`). Raises OSError, with the old folder in its place, when the system refuses or the name belongs
        to a file or a link.
        """
        aside = None
        if self.status(name) is not None:
            self.child(name).close()  # raises for a link or a file
            aside = temporary_name(name, "old")
            self.rename(name, aside)
        try:
            self.rename(new.path.name, name)
        except OSError:
            if aside is not None:
                self.rename(aside, name)
            raise
        if aside is not None:
            with contextlib.suppress(OSError):  # a leftover, then
                _settle(self, aside, name)


def flush_handle(handle: int) -> None:
    """Flush an open file or folder to the device, on file systems that can. Raises OSError when the device fails."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES):
            raise


def remove_file(path: Path, *, missing_ok: bool = False) -> None:
    """Delete a file that this process created; a link is deleted itself. Raises OSError."""
    with OpenFolder.at(path.parent) as folder:
        try:
            os.unlink(path.name, dir_fd=folder.handle)
        except FileNotFoundError:
            if not missing_ok:
                raise


def is_leftover(folder: OpenFolder, name: str, *, locked: bool) -> bool:
    """Whether an entry is the temporary file or folder of a process that is gone.

    `locked` says that the caller holds the lock of the run that the folder belongs to. Only then are the temporary names of
    released versions judged: they hold a process id without a machine, or none at all.
    """
    if match := TEMPORARY.fullmatch(name):
        return Owner.from_tag(match["owner"]).state() == "gone"
    if not locked:
        return False
    if match := _RELEASED_WITH_PID.fullmatch(name):
        return start_time(int(match["file"] or match["checkpoint"])) is None
    return _RELEASED_AT_RANDOM.fullmatch(name) is not None and is_released_replacement(folder, name)


def is_released_replacement(folder: OpenFolder, name: str) -> bool:
    """Whether an entry holds nothing but the folders that crild up to 0.2 used to replace a folder."""
    with contextlib.suppress(OSError), folder.child(name) as inner:
        return all(entry in ("new", "old") and inner.is_folder(entry) for entry in inner.names())
    return False


def remove_leftovers(folder: OpenFolder, *, locked: bool) -> list[str]:
    """Delete the leftovers in a folder (see `is_leftover`); returns the names of those that are gone.

    A folder that was about to be replaced gets its name back if nothing else has it. What the system refuses stays.
    """
    removed = []
    for name in folder.names():
        with contextlib.suppress(OSError):
            if is_leftover(folder, name, locked=locked):
                remove_leftover(folder, name)
                removed.append(name)
    return removed


def remove_leftovers_of(path: Path) -> None:
    """Delete what processes that are gone left of a file or folder that they wrote to replace `path`.

    A folder that was about to be replaced gets its name back if nothing else has it. What is refused stays.
    """
    with contextlib.suppress(OSError), OpenFolder.at(path.parent) as folder:
        for name in folder.names():
            match = TEMPORARY.fullmatch(name)
            if match is None or match["base"] != path.name:
                continue
            if folder.is_folder(name) or (match["role"] == "tmp" and folder.is_file(name)):
                with contextlib.suppress(OSError):
                    if is_leftover(folder, name, locked=False):
                        remove_leftover(folder, name)


def is_put_back(folder: OpenFolder, name: str) -> bool:
    """Whether `remove_leftover` gives a leftover the name back that it had, instead of deleting it."""
    match = TEMPORARY.fullmatch(name)
    return match is not None and match["role"] == "old" and folder.status(match["base"]) is None


def remove_leftover(folder: OpenFolder, name: str) -> None:
    """Delete one leftover, or give the folder that was being replaced its name back. Raises OSError."""
    match = TEMPORARY.fullmatch(name)
    if match is not None and match["role"] == "old":
        _settle(folder, name, match["base"])
        return
    if match is None and folder.is_folder(name):
        with folder.child(name) as inner:
            if inner.is_folder("old"):
                aside = temporary_name(name.split(".")[1], "old")
                inner.rename("old", aside, into=folder)
                _settle(folder, aside, name.split(".")[1])
    folder.remove(name)


def _settle(folder: OpenFolder, aside: str, name: str) -> None:
    """End the replacement of a folder that was moved aside: nothing that a person put into it is lost."""
    if folder.status(name) is None:
        folder.rename(aside, name)
        return
    own = CHECKPOINT_FILE if re.fullmatch(CHECKPOINT_NAME, name) else MODEL_FILE
    with folder.child(aside) as old, folder.child(name) as new:
        for entry in old.names():
            if new.status(entry) is None and not re.fullmatch(own, entry):
                old.rename(entry, entry, into=new)
        old.empty()
    folder.remove_empty(aside)


def _entry(name: str) -> str:
    """`name` if it can be the name of an entry: records that others wrote must not lead out of the folder."""
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise ValueError(f"not the name of an entry: {name!r}")
    return name
