"""Messages between the parts of the dashboard: data, never widgets."""

from __future__ import annotations

from pathlib import Path

from textual.message import Message

from crild_tui.monitor.snapshots import MachineSnapshot, RunSnapshot
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.runs.sweeps import SweepSnapshot


class Replaceable(Message):
    """News of which only the newest counts: a fast sender never fills the queue."""

    def can_replace(self, message: Message) -> bool:
        """Whether an older message that still waits can be dropped for this one."""
        return type(message) is type(self)


class RunsSeen(Replaceable):
    """The list of runs changed."""

    def __init__(self, snapshot: RunsSnapshot) -> None:
        super().__init__()
        self.snapshot = snapshot


class MachineSeen(Replaceable):
    """The machine's figures changed."""

    def __init__(self, snapshot: MachineSnapshot) -> None:
        super().__init__()
        self.snapshot = snapshot


class RunSeen(Message):
    """A run that is watched changed."""

    def __init__(self, snapshot: RunSnapshot) -> None:
        super().__init__()
        self.snapshot = snapshot

    def can_replace(self, message: Message) -> bool:
        """As for the others, but each run counts."""
        return isinstance(message, RunSeen) and message.snapshot.run_dir == self.snapshot.run_dir


class SweepSeen(Replaceable):
    """The sweep that is shown changed."""

    def __init__(self, snapshot: SweepSnapshot) -> None:
        super().__init__()
        self.snapshot = snapshot


class WatchRun(Message):
    """Show this run in Live."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self.run_dir = run_dir


class CompareRuns(Message):
    """Show these runs in Compare."""

    def __init__(self, run_dirs: tuple[Path, ...]) -> None:
        super().__init__()
        self.run_dirs = run_dirs
