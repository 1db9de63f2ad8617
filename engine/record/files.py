"""Write small files atomically, read them without trusting their content, and name why the system refuses."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from engine.errors import RunError
from engine.preset.regular_file import NotRegularError, OversizedError, open_regular, read_regular
from engine.record.owner import temporary_name
from engine.record.removal import OpenFolder, flush_handle

LARGEST = 16 * 2**20
"""Bytes of the largest record that is read; crild writes no larger ones."""
DEEPEST = 100
"""Levels of objects and lists of the deepest record that is read; crild's own have ten."""

_T = TypeVar("_T")

_CAUSES = {
    errno.ENOSPC: "no space is left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "the system does not permit it",
    errno.EIO: "the device reports an input/output error",
    errno.ESTALE: "the file server no longer knows it (stale file handle)",
    errno.ELOOP: "its links lead in a circle",
    errno.EISDIR: "it is a folder",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
    errno.ENOENT: "the folder does not exist (any more)",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open on this system",
}


def cause(error: OSError) -> str:
    """Why the system refused, as the end of a sentence: "no space is left on the device"."""
    known = _CAUSES.get(error.errno or 0)
    return known or (error.strerror or str(error) or type(error).__name__)


def refusal(error: Exception) -> str:
    """As `cause`, also for libraries that put the error number into their message: "I/O error: ... (os error 28)"."""
    if isinstance(error, OSError):
        return cause(error)
    number = re.search(r"\(os error (\d+)\)", str(error))
    known = _CAUSES.get(int(number[1])) if number else None
    return known or str(error) or type(error).__name__


def why_unreadable(path: Path) -> str | None:
    """Why a file cannot be opened or read now, as the end of a sentence; None when it can be, or does not exist.

    Libraries that open files themselves report any failure as a missing or damaged file, so their callers ask this
    first. A file that cannot be read now proves no damage. A pipe or device counts as unreadable, and never blocks.
    """
    try:
        with open_regular(path) as file:
            file.read(1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return cause(error)
    return None


def follow_umask(folder: OpenFolder) -> None:
    """Give the files in a new folder the permissions that the system gives new files there.

    safetensors writes files that only their owner can read, whatever the umask is; without this, no other account could
    use a saved model. Raises OSError.
    """
    example = temporary_name("mode")
    handle = folder.create(example)
    try:
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)
        folder.remove(example)
    for name in folder.names():
        if folder.is_file(name):
            os.chmod(name, mode, dir_fd=folder.handle)


def write_atomic(path: Path, data: bytes | str, *, durable: bool = True, root: Path | None = None) -> None:
    """Replace `path` with `data` so that a reader sees either the old content or the new.

    Writes a temporary file next to it, flushes it to the device and renames it. With `durable`, flushes the folder too,
    so that the rename survives a power failure. No folder between `root` and the file may be a link (`root` is the file's
    own folder by default). Raises OSError (see `cause`) and leaves the old content unchanged.
    """
    content = data.encode() if isinstance(data, str) else data
    with replacement(path, durable=durable, root=root) as handle:
        write_all(handle, content)


@contextlib.contextmanager
def replacement(path: Path, *, durable: bool = True, root: Path | None = None) -> Iterator[int]:
    """A new file, as the descriptor to write to, which replaces `path` when the block ends; see `write_atomic`.

    Where the block raises an error, the file is deleted and the old content stays. Raises OSError.
    """
    with OpenFolder.at(root or path.parent, *(path.parent.relative_to(root).parts if root else ())) as folder:
        temporary = temporary_name(path.name)
        try:
            handle = folder.create(temporary)
            try:
                yield handle
                os.fsync(handle)
            finally:
                os.close(handle)
            folder.rename(temporary, path.name)
        except BaseException:
            with contextlib.suppress(OSError):  # a leftover, then; the first error names the cause
                folder.remove(temporary)
            raise
        if durable:
            folder.flush()


def overwrite(path: Path, text: str) -> None:
    """Overwrite a file's content in place with JSON text: the last resort on a full device.

    A single write, padded with spaces to the old length, so that a reader is unlikely to see a mixture. Raises OSError.
    """
    handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        content = text.encode().ljust(os.fstat(handle).st_size)
        if os.pwrite(handle, content, 0) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(handle)
    finally:
        os.close(handle)


def write_all(handle: int, content: bytes | memoryview) -> None:
    """Write every byte to a file descriptor, however many calls that takes."""
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


def flush(path: Path) -> None:
    """Flush a file, or a folder's entries, to the device, on file systems that can."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flush_handle(handle)
    finally:
        os.close(handle)


def finite(value: Any, digits: int = 17) -> Any:
    """`value` as strict JSON: non-finite numbers become None, tuples become lists, paths become text; at any depth.

    Floats keep so many significant digits; 17 keep them as they are.
    """
    if isinstance(value, bool) or value is None or isinstance(value, int | str):
        return value
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [finite(item, digits) for item in value]
    return str(value)


def json_text(value: Mapping[str, Any]) -> str:
    """An object as indented, strict JSON (see `finite`)."""
    return json.dumps(finite(value), indent=1, allow_nan=False) + "\n"


def write_json(path: Path, value: Mapping[str, Any], *, durable: bool = True, root: Path | None = None) -> None:
    """Write an object as indented JSON, as `write_atomic` does. Raises RunError with the file and the cause."""
    try:
        write_atomic(path, json_text(value), durable=durable, root=root)
    except OSError as error:
        raise RunError(f"cannot be written: {cause(error)}", kind="cannot-write-record", file=str(path)) from error


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises FileNotFoundError when missing, RunError with the reason when unreadable."""
    try:
        content = _read_regular(path)
        value = json.loads(content, parse_constant=lambda _: None)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"cannot be read: {cause(error)}", kind="cannot-read-record", file=str(path)) from error
    except (ValueError, RecursionError) as error:  # truncated, not UTF-8, too deeply nested, or with too long numbers
        sentence = "is not complete JSON: it was truncated, or written by another program"
        raise RunError(sentence, kind="incomplete-json", file=str(path)) from error
    if not isinstance(value, dict):
        sentence = "is not a JSON object: it was written by another program"
        raise RunError(sentence, kind="not-a-json-object", file=str(path))
    if nests_too_deep(value):
        sentence = f"is nested more than {DEEPEST} levels deep: it was written by another program"
        raise RunError(sentence, kind="record-too-deep", file=str(path))
    return value


def nests_too_deep(value: dict[str, Any] | list[Any]) -> bool:
    """Whether a JSON value has more than `DEEPEST` levels, beyond which functions that call themselves would fail."""
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        items = chain.from_iterable(each.values() if isinstance(each, dict) else each for each in level)
        level = [item for item in items if isinstance(item, dict | list)]
        if not level:
            return False
    return True


def read_record(path: Path, of: Callable[[Mapping[str, Any]], _T]) -> _T:
    """The JSON object in a file as `of` reads it. Raises as `read_object` does; errors of `of` get the file's name."""
    data = read_object(path)
    try:
        return of(data)
    except RunError as error:
        raise RunError(error.sentence, kind=error.kind, file=str(path), key=error.key) from error


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, or None when it is missing, truncated, or not an object."""
    try:
        return read_object(path)
    except (FileNotFoundError, RunError):
        return None


def _read_regular(path: Path) -> bytes:
    """The bytes of a regular file of a sensible size."""
    try:
        return read_regular(path, LARGEST)
    except (NotRegularError, IsADirectoryError) as error:
        raise RunError("is not a regular file", kind="not-a-regular-file", file=str(path)) from error
    except OversizedError as error:
        sentence = f"is {error.size} bytes long: it was not written by crild"
        raise RunError(sentence, kind="oversized-record", file=str(path)) from error
