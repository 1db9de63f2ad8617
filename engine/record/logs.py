"""The logs of a run: the output of its engine processes."""

from __future__ import annotations

import os
from pathlib import Path

from engine.preset.regular_file import open_regular
from engine.record.paths import log_files

_TAIL = 64 * 2**10


def last_lines(path: Path, count: int = 20) -> list[str]:
    """The last lines of a file without line endings, invalid bytes replaced; empty when it cannot be read."""
    try:
        with open_regular(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            lines = file.read(_TAIL).decode(errors="replace").splitlines()
    except OSError:
        return []
    return lines[-count:]


def log_tail(run_dir: Path, count: int = 20) -> list[str]:
    """The last lines of output of the present (or last) engine process of a run."""
    files = log_files(run_dir)
    return last_lines(files[max(files)], count) if files else []
