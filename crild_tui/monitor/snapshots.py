"""What watchers report, as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from crild_tui.monitor.alarms import Alarm
from crild_tui.monitor.curves import Curves
from crild_tui.runs.summary import RunSummary
from engine.launch.gpu import Gpu
from engine.record.run import RunEntry


@dataclass(frozen=True)
class EngineMessage:
    """A message from the engine. Its text is untrusted: never markup."""

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
    summary: RunSummary
    curves: Curves
    messages: tuple[EngineMessage, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    revision: int = 0
    """Grows with each change."""
    read: bool = True
    """False while it holds only what the list of runs knows, and no file of the run has been read."""


@dataclass(frozen=True)
class MachineSnapshot:
    """The machine: shares from 0 to 1, bytes."""

    cpu: float | None = None
    memory_used: int = 0
    memory_total: int = 0
    gpus: tuple[Gpu, ...] = field(default=())
