"""Write a table to a file that the user names."""

from __future__ import annotations

import os
from pathlib import Path

from engine.errors import UsageError
from engine.record.files import cause, write_atomic
from engine.record.own_paths import refuse_own_path
from engine.record.removal import remove_file


def named_file(name: str) -> Path:
    """The file that the user named, `~` expanded and links followed. Raises UsageError when it cannot be one, or is crild's own."""
    if not name.strip() or "\0" in name:
        raise UsageError("a file needs a name", kind="missing-name")
    try:
        path = Path(name.strip()).expanduser().absolute()
        path = path.resolve()
        if path.is_dir():
            raise UsageError(f"{str(path)!r} is a folder: name a file in it", kind="path-is-folder")
        if path.exists() and not path.is_file():
            raise UsageError(f"{str(path)!r} is not a plain file", kind="not-a-file")
    except RuntimeError:  # no such user, or links in a circle
        raise UsageError(f"{name.strip()!r} leads nowhere", kind="bad-path") from None
    except OSError as error:
        sentence = f"the file cannot be written: {cause(error)}"
        raise UsageError(sentence, kind="unwritable-file", file=name.strip()) from error
    refuse_own_path(path)
    return path


def write_file(path: Path, text: str, *, overwrite: bool = False) -> str:
    """Write a text, whole or not at all; returns the sentence to show.

    Raises UsageError where the file exists and may not be overwritten, or the system refuses.
    """
    try:
        if overwrite:
            write_atomic(path, text)
        else:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))  # the name is ours from here on
            try:
                write_atomic(path, text)
            except BaseException:
                remove_file(path, missing_ok=True)
                raise
    except FileExistsError:
        raise UsageError("exists already, and is left as it is", kind="file-exists", file=str(path)) from None
    except OSError as error:
        raise UsageError(f"cannot be written: {cause(error)}", kind="unwritable-file", file=str(path)) from error
    return f"written to {path}"
