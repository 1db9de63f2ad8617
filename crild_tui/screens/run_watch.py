"""The threads that watch the runs of a screen while it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from textual.message import Message

from crild_tui.messages import LogChanged, RunChanged
from crild_tui.monitor.log import LogWatcher
from crild_tui.monitor.run import RunWatcher


class RunWatch:
    """Watches runs, and the log of one of them; `post` gets a RunChanged or a LogChanged for each change."""

    def __init__(self, post: Callable[[Message], object]) -> None:
        self._post = post
        self._runs: dict[Path, RunWatcher] = {}
        self._log: tuple[Path, LogWatcher] | None = None

    @property
    def active(self) -> bool:
        """Whether any run is watched."""
        return bool(self._runs)

    def watch(self, run_dirs: Iterable[Path], log_of: Path | None = None) -> None:
        """Watch these runs and the log of one, and nothing else; what is watched already is not read again."""
        wanted = tuple(run_dirs)
        for run_dir in [run_dir for run_dir in self._runs if run_dir not in wanted]:
            self._runs.pop(run_dir).stop()
        for run_dir in wanted:
            if run_dir not in self._runs:
                self._runs[run_dir] = RunWatcher(run_dir, lambda snapshot: self._post(RunChanged(snapshot)))
                self._runs[run_dir].start()
        if self._log is not None and self._log[0] != log_of:
            self._log[1].stop()
            self._log = None
        if self._log is None and log_of is not None:
            self._log = log_of, LogWatcher(log_of, lambda tail: self._post(LogChanged(log_of, tail)))
            self._log[1].start()

    def stop(self) -> None:
        """Watch nothing."""
        self.watch(())
