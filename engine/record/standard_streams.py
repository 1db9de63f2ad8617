"""Standard streams that can be used: a service, a cron job or another program may start crild without some of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys

_STREAMS = (("stdin", 0, os.O_RDONLY), ("stdout", 1, os.O_WRONLY), ("stderr", 2, os.O_WRONLY))


def open_standard_streams() -> None:
    """Connect each standard stream that is closed, or that cannot be read or written, to /dev/null.

    Call this before a process opens its first file. A closed descriptor is handed to the next file that is opened, which
    would then receive whatever a library or a child process prints.
    """
    for name, number, access in _STREAMS:
        usable = _is_open(number, access)
        if not usable:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, number)  # also makes it inheritable, as standard streams are
            if nowhere != number:
                os.close(nowhere)
        stream = getattr(sys, name)
        if stream is None or getattr(stream, "closed", False):
            mode = "r" if access == os.O_RDONLY else "w"
            stream = open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def discard_output() -> None:
    """Send what stdout still holds, and all that follows, to /dev/null: its reader is gone, or its device is full."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _is_open(number: int, access: int) -> bool:
    try:
        mode = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:
        return False
    return mode in (access, os.O_RDWR)
