"""A runs folder at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.record.run import RunEntry


@dataclass(frozen=True)
class RunsSnapshot:
    """All runs of a folder at one moment, newest first."""

    runs_dir: Path
    entries: tuple[RunEntry, ...] = ()
    problem: str | None = None
    """Why the folder cannot be read, if so; a missing folder is just empty."""
    exists: bool = True
    revision: int = 0
