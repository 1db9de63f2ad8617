"""Which run a screen shows, and the threads that watch it while it is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol

from textual.binding import Binding, BindingType
from textual.message import Message

from crild_tui.messages import RunSeen
from crild_tui.monitor.curves import Curves
from crild_tui.monitor.log import LogTail, LogWatcher
from crild_tui.monitor.run import RunWatcher
from crild_tui.monitor.snapshots import RunSnapshot
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.runs.summary import RunSummary, with_status
from crild_tui.screens.run_screen import RunScreen
from engine.record.run import RunEntry
from engine.record.states import STARTED


class Watcher(Protocol):
    """What shows a run's news."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End soon."""


class LogSeen(Message):
    """The log of a run changed."""

    def __init__(self, run_dir: Path, tail: LogTail) -> None:
        super().__init__()
        self.run_dir, self.tail = run_dir, tail

    def can_replace(self, message: Message) -> bool:
        """Only the newest counts."""
        return isinstance(message, LogSeen)


class WatchingScreen(RunScreen):
    """A mode that watches one run at a time, with one watcher, while it is the present mode.

    Subclasses draw: `seen` takes news of the run, `another_run` and `no_run` what comes before them.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "previous", "Newer run", id="live.previous", show=False),
    ]
    WATCHER: ClassVar[Callable[[Path, Callable[[RunSnapshot], object]], Watcher]] = RunWatcher
    LOG_WATCHER: ClassVar[Callable[[Path, Callable[[LogTail], object]], Watcher]] = LogWatcher

    def __init__(self) -> None:
        super().__init__()
        self._run_dir: Path | None = None
        self._chosen = False
        self._snapshot: RunSnapshot | None = None
        self._watcher: Watcher | None = None
        self._log_watcher: Watcher | None = None
        self._log_wanted = False

    def seen(self, snapshot: RunSnapshot) -> None:
        """Take news of the run."""
        self._snapshot = snapshot

    def another_run(self, entry: RunEntry | None) -> None:
        """Another run is shown from now on; `entry` is what the list of runs knows of it."""

    def no_run(self, runs_dir: Path) -> None:
        """There is no run to show."""

    # -- which run

    @property
    def run_dir(self) -> Path | None:
        """The run that is shown."""
        return self._run_dir

    @property
    def snapshot(self) -> RunSnapshot | None:
        """What is known of it."""
        return self._snapshot

    def show_run(self, run_dir: Path) -> None:
        """Show a run that a person chose."""
        self._chosen = True
        self._show(run_dir)

    def _show(self, run_dir: Path) -> None:
        if run_dir != self._run_dir:
            self._end_watching()
            self._run_dir, self._snapshot, self.asked = run_dir, None, None
            self.another_run(next((entry for entry in self.crild.runs.entries if entry.path == run_dir), None))
        self._begin_to_watch()

    def runs_seen(self, snapshot: RunsSnapshot) -> None:
        """Take a run where none is shown yet."""
        super().runs_seen(snapshot)
        if self._run_dir is None:
            self._choose(snapshot)

    def _choose(self, snapshot: RunsSnapshot) -> None:
        """Show the newest run that works, else the newest."""
        found = newest(snapshot.entries)
        if found is not None:
            self._show(found)
        elif self._run_dir is None:
            self.no_run(snapshot.runs_dir)

    def on_screen_resume(self) -> None:
        """Watch again."""
        if not self._chosen and self._watcher is None:
            self._choose(self.crild.runs)
        self._begin_to_watch()

    def on_screen_suspend(self) -> None:
        """Watch no more, unless it is only a question that stands before the screen."""
        if self.crild.current_mode != self.MODE:
            self._end_watching()

    def on_unmount(self) -> None:
        """Let the watchers end."""
        self._end_watching()

    def _begin_to_watch(self) -> None:
        if self._run_dir is None or self.crild.current_mode != self.MODE:
            return
        if self._watcher is None:
            self._watcher = type(self).WATCHER(self._run_dir, lambda seen: self.post_message(RunSeen(seen)))
            self._watcher.start()
        if self._log_watcher is None and self._log_wanted:
            run_dir = self._run_dir
            self._log_watcher = type(self).LOG_WATCHER(run_dir, lambda seen: self.post_message(LogSeen(run_dir, seen)))
            self._log_watcher.start()

    def _end_watching(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None
        self._close_log()

    def _close_log(self) -> None:
        if self._log_watcher is not None:
            self._log_watcher.stop()
            self._log_watcher = None

    def watch_log(self, wanted: bool) -> None:
        """Watch the log too, or no more."""
        self._log_wanted = wanted
        if wanted:
            self._begin_to_watch()
        else:
            self._close_log()

    def on_run_seen(self, message: RunSeen) -> None:
        """Take news of the run that is shown; another's come too late."""
        message.stop()
        if message.snapshot.run_dir == self._run_dir:
            self.seen(message.snapshot)

    def action_previous(self) -> None:
        """The next newer run."""
        self.go(-1)

    def go(self, by: int) -> None:
        """Show the run that is so many places further down the list, which has the newest first."""
        paths = [entry.path for entry in self.crild.runs.entries]
        if not paths:
            self.crild.tell("there is no other run", "warning")
            return
        if self._run_dir not in paths:
            self.show_run(paths[0])
            return
        place = paths.index(self._run_dir) + by
        if 0 <= place < len(paths):
            self.show_run(paths[place])
        else:
            self.crild.tell("this is the oldest run" if by > 0 else "this is the newest run", "warning")


def first_look(entry: RunEntry) -> RunSnapshot:
    """What the list of runs knows of a run, until its files were read."""
    summary = RunSummary(state=entry.state)
    if entry.status is not None:
        summary = with_status(summary, entry.status, entry.state)
    return RunSnapshot(entry.path, entry, summary, Curves(), read=False)


def newest(entries: tuple[RunEntry, ...]) -> Path | None:
    """Of runs, the newest first, the first that works, else the first."""
    working = next((entry for entry in entries if entry.state in STARTED), None)
    found = working or (entries[0] if entries else None)
    return None if found is None else found.path
