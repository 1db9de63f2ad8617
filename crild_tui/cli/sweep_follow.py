"""Follow a sweep: report how its runs go, and show its progress at the bottom of the terminal."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crild_tui.cli import terminal
from crild_tui.cli.follow.changes import Changes
from crild_tui.cli.follow.controls import Controls, Lasting
from crild_tui.cli.follow.displays import Display, Silence, View, display, shorten
from crild_tui.runs import formatting
from crild_tui.runs.states import LOADING
from crild_tui.runs.sweeps import counts, entries_of
from engine.preset.text import plain
from engine.record.states import STARTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console
    from rich.text import Text

    from engine.record.run import RunEntry
    from engine.sweep.matrix import Matrix
    from engine.sweep.record import SweepRecord

    Moment = tuple[Matrix, list[RunEntry]]
    """The matrix of a sweep, and its runs that have started and not ended."""

POLL = 0.5
"""Seconds between two reads of the files."""
LOG_LINES = 8
"""Lines to show of the log of a process that died."""
STOPPING = "stopping each run at its next step, with a checkpoint; press Ctrl-C again to kill them instead"


class Follower:
    """Follows one sweep until its process has ended or the user stops it."""

    def __init__(self, record: SweepRecord, runs_dir: Path, controls: Controls, *, quiet: bool):
        self.record, self.runs_dir, self.controls = record, runs_dir, controls
        self._display: Display[Any] = Silence(errors=True) if quiet else display(self.view())
        self._entries: dict[str, RunEntry] = {}
        self._changes = Changes()
        self._gone = Lasting()

    def go(self) -> SweepRecord:
        """Follow to the end; returns the last record."""
        try:
            while not self._poll():
                self._signals()
                self.controls.wait(POLL)
        finally:
            self._display.close()
        return self.record

    def _poll(self) -> bool:
        """Read and show what is new; whether the sweep's process has ended."""
        from engine.sweep.submit import existing

        self.record = existing(self.runs_dir, self.record.name) or self.record
        over = self._over()  # before the runs are read: they write their last state first
        self._entries = entries_of(self.record, self.runs_dir, self._entries)
        self.report_changes(self._display, self._entries)
        started = [entry for entry in self._entries.values() if entry.state in STARTED]
        self._display.update(self.moment(self._entries, started))
        return over

    # -- what a search shows otherwise

    def view(self) -> View[Any]:
        """How a moment is shown."""
        return sweep_view()

    def moment(self, entries: Mapping[str, RunEntry], started: list[RunEntry]) -> Any:
        """What is shown now; `started` are the runs that have started and not ended."""
        from engine.sweep.matrix import matrix

        return matrix(self.record, entries, now=time.time()), started

    def report_changes(self, shown: Display[Any], entries: Mapping[str, RunEntry]) -> None:
        """Say which runs changed."""
        index = {cell.run: number for number, cell in enumerate(self.record.cells, 1)}
        for run, (level, sentence) in self._changes.since_last(entries):
            shown.message(level, f"{index[run]}/{len(index)} {sentence}")

    def _over(self) -> bool:
        from engine.record.logs import last_lines
        from engine.sweep.record import sweep_file

        if self.record.state != "active":
            return True
        if not self._gone.holds(not self.record.alive()):
            return False
        say = self._display.message
        what = self.record.command
        say("error", f"the {what}'s process is gone (killed, out of memory, or the machine restarted)")
        for line in last_lines(sweep_file(self.runs_dir, self.record.name).with_suffix(".log"), LOG_LINES):
            say("info", f"  log: {line}")
        say("info", f"runs that are running keep going; run the same command to continue the {what}")
        return True

    def _signals(self) -> None:
        from engine.errors import CrildError
        from engine.sweep.submit import kill_sweep, stop_sweep

        for which in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            number = self.controls.take(which)
            if not number:
                continue
            again = which == signal.SIGINT and number > 1
            self._display.message("warning" if again else "info", "killing the runs" if again else STOPPING)
            try:
                (kill_sweep if again else stop_sweep)(self.runs_dir, self.record.name)
            except CrildError as error:  # it has ended: the next poll reports how
                self._display.message("warning", error.sentence)


def sweep_view() -> View[Moment]:
    """How a sweep is shown while it is followed: its progress, then a line for each run that is running."""

    def draw(moment: Moment, console: Console, _waited: float) -> list[Text]:
        from rich.text import Text

        matrix, started = moment
        room = max(1, console.height - 3)
        lines = [Text(progress(matrix), style="bold"), *(Text(plain(run_line(entry))) for entry in started[:room])]
        return shorten(lines, console.width, ascii_only=terminal.ascii_only(sys.stderr))

    return View(
        line=lambda moment: progress(moment[0]),
        line_every=30.0,
        title=lambda moment: f"crild {formatting.percent(moment[0].progress)} {moment[0].name}",
        draw=draw,
    )


def progress(matrix: Matrix) -> str:
    """The progress of a sweep, in one line."""
    left = [] if matrix.eta is None else [f"{formatting.duration(matrix.eta)} left"]
    waiting = [f"waiting {matrix.waiting}"] if matrix.waiting else []
    return ", ".join([f"{matrix.name} {formatting.percent(matrix.progress)}: {counts(matrix)}", *left, *waiting])


def run_line(entry: RunEntry) -> str:
    """The progress of a run, in one line."""
    status = entry.status
    if status is None or status.stage is None or not status.steps:
        return f"  {entry.id}  {LOADING if entry.state in ('created', 'running') else entry.state}"
    share = formatting.percent(status.done / status.total) if status.total else ""
    last = f"  {status.metric_name} {formatting.metric(status.last)}" if status.last is not None else ""
    state = "" if entry.state == "running" else f"  {entry.state}"
    return f"  {entry.id}  {status.stage} {status.step}/{status.steps}  {share}{last}{state}"
