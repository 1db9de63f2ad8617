"""Messages between the parts of the dashboard: data, never widgets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textual.message import Message

from crild_tui.monitor.log import LogTail
from crild_tui.monitor.snapshots import MachineSnapshot, RunSnapshot
from crild_tui.runs.searches import SearchSnapshot
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.runs.sweeps import SweepSnapshot


class Replaceable(Message):
    """A message of which only the newest counts: a fast sender never fills the queue."""

    def can_replace(self, message: Message) -> bool:
        """Whether an older message that still waits can be dropped for this one."""
        return type(message) is type(self)


@dataclass
class RunsChanged(Replaceable, bubble=False):
    """The list of runs changed."""

    snapshot: RunsSnapshot


@dataclass
class MachineChanged(Replaceable, bubble=False):
    """The machine's load changed."""

    snapshot: MachineSnapshot


@dataclass
class SweepChanged(Replaceable, bubble=False):
    """The sweep that is shown changed."""

    snapshot: SweepSnapshot


@dataclass
class SearchChanged(Replaceable, bubble=False):
    """The search that is shown changed."""

    snapshot: SearchSnapshot


@dataclass
class LogChanged(Replaceable, bubble=False):
    """The log of a run changed."""

    run_dir: Path
    tail: LogTail


@dataclass
class RunChanged(Message, bubble=False):
    """A run that is watched changed."""

    snapshot: RunSnapshot

    def can_replace(self, message: Message) -> bool:
        """As for the others, but each run counts."""
        return isinstance(message, RunChanged) and message.snapshot.run_dir == self.snapshot.run_dir


@dataclass
class WatchRun(Message):
    """Show this run in Live."""

    run_dir: Path


@dataclass
class CompareRuns(Message):
    """Show these runs in Compare."""

    run_dirs: tuple[Path, ...]
