"""Follow a sweep: report how its runs go, and show its progress at the bottom of the terminal."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from crild_tui.cli import terminal
from crild_tui.runs import formatting
from crild_tui.runs.states import LOADING, command_hints, describe
from crild_tui.runs.sweeps import counts, entries_of
from engine.preset.text import plain
from engine.record.states import IN_PROGRESS, STARTED

if TYPE_CHECKING:
    from rich.live import Live

    from crild_tui.cli.follow.controls import Controls
    from engine.record.run import RunEntry
    from engine.sweep.matrix import Matrix
    from engine.sweep.record import SweepRecord

POLL = 0.5
"""Seconds between two reads of the files."""
LINE_EVERY = 30.0
"""Seconds between two lines of progress where there is no screen."""
PATIENCE = 2.0
"""Seconds for which a sweep's process must be missing before it counts as gone."""
LOG_LINES = 8
"""Lines to show of the log of a process that died."""
STOPPING = "stopping each run at its next step, with a checkpoint; press Ctrl-C again to kill them instead"


class Follower:
    """Follows one sweep until its process has ended or the user stops it."""

    def __init__(self, record: SweepRecord, runs_dir: Path, controls: Controls, *, quiet: bool):
        self.record, self.runs_dir, self.controls, self.quiet = record, runs_dir, controls, quiet
        self._entries: dict[str, RunEntry] = {}
        self._states: dict[str, str] | None = None
        self._handled = dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGUSR1), 0)
        self._lined = self._start = time.monotonic()
        self._gone: float | None = None
        self._live: Live | None = None
        self._drawn: list[str] = []

    def go(self) -> SweepRecord:
        """Follow to the end; returns the last record."""
        if not self.quiet and terminal.is_screen(sys.stderr):
            from rich.live import Live

            self._live = Live(console=terminal.narration(), auto_refresh=False, redirect_stdout=False)
            self._live.start()
        try:
            while not self._look():
                self._signals()
                self._wait()
        finally:
            self._close()
        return self.record

    def _look(self) -> bool:
        """Read and show what is new; whether the sweep's process has ended."""
        from engine.sweep.matrix import matrix
        from engine.sweep.submit import existing

        self.record = existing(self.runs_dir, self.record.name) or self.record
        over = self._over()  # before the runs are read: they write their last state first
        self._entries = entries_of(self.record, self.runs_dir, self._entries)
        self._report_changes()
        self._draw(matrix(self.record, self._entries, now=time.time()))
        return over

    def _over(self) -> bool:
        from engine.record.logs import last_lines
        from engine.sweep.record import sweep_file

        if self.record.state != "active":
            return True
        if self.record.alive():
            self._gone = None
            return False
        now = time.monotonic()
        self._gone = now if self._gone is None else self._gone
        if now - self._gone < PATIENCE:
            return False
        self._say("the sweep's process is gone (killed, out of memory, or the machine restarted)", "error")
        for line in last_lines(sweep_file(self.runs_dir, self.record.name).with_suffix(".log"), LOG_LINES):
            self._say(f"  log: {line}")
        self._say("runs that are running keep going; run the same command to continue the sweep")
        return True

    def _report_changes(self) -> None:
        states = {run: entry.state for run, entry in self._entries.items()}
        if self._states is None:
            self._states = states
        index = {cell.run: number for number, cell in enumerate(self.record.cells, 1)}
        for run, state in states.items():
            if self._states.get(run) == state or (state == "running" and self._states.get(run) == "stalled"):
                continue
            if (change := change_of(self._entries[run], time.time())) is not None:
                self._say(f"{index[run]}/{len(index)} {change[1]}", change[0])
        self._states = states

    def _signals(self) -> None:
        from engine.errors import CrildError
        from engine.sweep.submit import kill_sweep, stop_sweep

        for which in self._handled:
            if self.controls.count(which) <= self._handled[which]:
                continue
            again = which == signal.SIGINT and self._handled[which] > 0
            self._handled[which] = self.controls.count(which) if again else self._handled[which] + 1
            self._say("killing the runs" if again else STOPPING, "warning" if again else "info")
            try:
                (kill_sweep if again else stop_sweep)(self.runs_dir, self.record.name)
            except CrildError as error:  # it has ended: the next read reports how
                self._say(error.sentence, "warning")

    def _wait(self) -> None:
        until = time.monotonic() + POLL
        while time.monotonic() < until:
            if any(self.controls.count(which) > seen for which, seen in self._handled.items()):
                return
            time.sleep(0.05)

    # -- reporting

    def _say(self, line: str, level: str = "info") -> None:
        if self.quiet and level != "error":
            return
        text = f"{'' if level == 'info' else level + ': '}{line}"
        if self._live is None:
            terminal.say(f"[{formatting.duration(time.monotonic() - self._start)}] {text}")
            return
        from rich.text import Text

        style = {"warning": "yellow", "error": "bold red"}.get(level, "")
        self._live.console.print(Text(plain(text), style=style), soft_wrap=True)

    def _draw(self, found: Matrix) -> None:
        if self.quiet:
            return
        if self._live is None:
            if time.monotonic() - self._lined >= LINE_EVERY:
                self._lined = time.monotonic()
                self._say(progress(found))
            return
        from rich.console import Group
        from rich.text import Text

        console = self._live.console
        room = max(1, console.height - 3)
        started = [entry for entry in self._entries.values() if entry.state in STARTED]
        lines = [Text(progress(found), style="bold"), *(Text(plain(run_line(entry))) for entry in started[:room])]
        for line in lines:
            line.no_wrap = True
            line.truncate(console.width, overflow="crop" if terminal.ascii_only(sys.stderr) else "ellipsis")
        seen = [line.plain for line in lines]
        if seen == self._drawn:
            return
        self._drawn = seen
        self._live.update(Group(*lines), refresh=True)
        terminal.announce(f"crild {formatting.percent(found.progress)} {found.name}")

    def _close(self) -> None:
        if self._live is not None:
            from rich.text import Text

            self._live.transient = True
            self._live.update(Text(""), refresh=True)
            self._live.stop()


def change_of(entry: RunEntry, now: float) -> tuple[str, str] | None:
    """What to report of a run whose state has changed: level and sentence; None for a state that needs no report."""
    status = entry.status
    if entry.state == "running" and status is not None:
        return "info", f"{entry.id} {'started' if status.attempt <= 1 else f'resumed (attempt {status.attempt})'}"
    if entry.state in IN_PROGRESS:
        return None
    state = describe(entry, command_hints(entry.path), now)
    took = formatting.took(status) if entry.state == "finished" else None
    return state.level, f"{entry.id}: {': '.join((state.fact, *state.reasons[:1]))}{f' in {took}' if took else ''}"


def progress(found: Matrix) -> str:
    """The progress of a sweep, in one line."""
    left = [] if found.eta is None else [f"{formatting.duration(found.eta)} left"]
    waiting = [f"waiting {found.waiting}"] if found.waiting else []
    return ", ".join([f"{found.name} {formatting.percent(found.progress)}: {counts(found)}", *left, *waiting])


def run_line(entry: RunEntry) -> str:
    """The progress of a run, in one line."""
    status = entry.status
    if status is None or status.stage is None or not status.steps:
        return f"  {entry.id}  {LOADING if entry.state in ('created', 'running') else entry.state}"
    share = formatting.percent(status.done / status.total) if status.total else ""
    last = f"  {status.metric_name} {formatting.metric(status.last)}" if status.last is not None else ""
    state = "" if entry.state == "running" else f"  {entry.state}"
    return f"  {entry.id}  {status.stage} {status.step}/{status.steps}  {share}{last}{state}"
