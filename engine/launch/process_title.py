"""Give a forked process the command line of the program that it has become, as `ps` and /proc show it. Linux only."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

_AFTER_NAME = 2
"""The number of the first field of /proc/PID/stat that stands behind the program's name, as proc(5) counts less one."""
_ARG_START, _ARG_END = 48, 49
ROOM = " " * 8192
"""An argument of a process whose forks get another command line: that takes the space of the old one."""


def set_command_line(words: Sequence[str]) -> bool:
    """Replace this process's command line; False where it doesn't fit, or the system doesn't say where it is stored."""
    try:
        line = Path("/proc/self/stat").read_bytes()
        fields = line[line.rindex(b")") + 2 :].split()
        start, end = (int(fields[number - _AFTER_NAME - 1]) for number in (_ARG_START, _ARG_END))
    except (OSError, ValueError, IndexError):
        return False
    text = b"".join(os.fsencode(word) + b"\0" for word in words)
    if start == 0 or len(text) > end - start:
        return False
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, text, len(text))
    return True
