"""Files that the system refuses to open: root, as whom tests often run, may open everything."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest


def refuse(monkeypatch: pytest.MonkeyPatch, path: Path, number: int) -> None:
    """From here on, opening `path` from Python fails with an error number."""
    os_open, io_open = os.open, io.open

    def check(file: Any) -> None:
        if not isinstance(file, int) and os.fspath(file) == str(path):
            raise OSError(number, os.strerror(number), str(path))

    def refusing(file: Any, *arguments: Any, **named: Any) -> int:
        check(file)
        return os_open(file, *arguments, **named)

    def refusing_file(file: Any, *arguments: Any, **named: Any) -> Any:
        check(file)
        return io_open(file, *arguments, **named)

    monkeypatch.setattr(os, "open", refusing)
    monkeypatch.setattr(io, "open", refusing_file)
