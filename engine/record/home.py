"""A home folder for accounts without one, such as a container's user id that /etc/passwd does not list."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from engine.errors import UsageError
from engine.record.files import cause

KEEP = "set HOME, XDG_CACHE_HOME or CRILD_CACHE_DIR to keep caches"


def has_home() -> bool:
    """Whether the account has a home folder: HOME names it, or the user database does."""
    if os.environ.get("HOME"):
        return True
    try:
        return bool(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return False


def provide_home() -> str | None:
    """Set HOME to `temporary_home` where the account has none, for this process and those that it starts.

    Libraries look for their caches below the home folder; without one they fail, or create a folder named "~". Returns a
    sentence for the user when caches will not be kept, or when there is no folder to use; None otherwise.
    """
    if not os.environ.get("HOME", "home"):
        del os.environ["HOME"]  # empty: Python would take the root of the file system
    if has_home():
        return None
    try:
        folder = temporary_home()
    except UsageError as error:
        return str(error)
    os.environ["HOME"] = str(folder)
    if os.environ.get("XDG_CACHE_HOME") or os.environ.get("CRILD_CACHE_DIR"):
        return None
    return f"there is no home folder (HOME is unset): {KEEP}; until then they are in {folder}"


def temporary_home() -> Path:
    """The user's own folder in the temporary directory, created if need be.

    Raises UsageError when it cannot be created, or when it is not the user's alone: another user could have prepared it.
    """
    import tempfile

    try:
        folder = Path(tempfile.gettempdir()) / f"crild-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        sentence = (
            f"there is no home folder (HOME is unset), and no temporary one can be created ({cause(error)}): {KEEP}"
        )
        raise UsageError(sentence, kind="no-temporary-home") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        sentence = f"there is no home folder (HOME is unset), and {folder} is not a folder of yours alone: {KEEP}"
        raise UsageError(sentence, kind="unsafe-temporary-home")
    return folder
