"""What the watchers hand out: frozen, so that a screen may keep it as long as it likes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from crild_tui.monitor.curves import Curves
from crild_tui.runs.summary import Picture
from engine.record.run import RunEntry


@dataclass(frozen=True)
class Said:
    """A sentence of the engine's, or of the watcher's about what it sees. Its text is from outside: never markup."""

    time: float
    """Seconds since 1970."""
    level: str
    """info, warning or error."""
    text: str


@dataclass(frozen=True)
class RunSnapshot:
    """One run at one moment."""

    run_dir: Path
    entry: RunEntry
    picture: Picture
    curves: Curves
    said: tuple[Said, ...] = ()
    alarms: tuple[Said, ...] = ()
    """What is wrong just now: no number, a stall, a drop of throughput, overfitting."""
    revision: int = 0
    """Grows with each change."""
    read: bool = True
    """False while only what the list of runs knows of it is there, and none of its own files was read."""


@dataclass(frozen=True)
class RunsSnapshot:
    """All runs of a folder at one moment, the newest first."""

    runs_dir: Path
    entries: tuple[RunEntry, ...] = ()
    problem: str | None = None
    """Why the folder cannot be read, if it cannot; a folder that is missing is just empty."""
    exists: bool = True
    revision: int = 0


@dataclass(frozen=True)
class MachineSnapshot:
    """The machine: shares from 0 to 1, bytes."""

    cpu: float | None = None
    memory_used: int = 0
    memory_total: int = 0
    gpus: tuple[Gpu, ...] = field(default=())


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU as its driver reports it."""

    index: int
    name: str
    load: float | None
    memory_used: int
    memory_total: int
