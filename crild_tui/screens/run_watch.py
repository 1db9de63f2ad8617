"""A mode that watches runs while it is shown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from crild_tui.messages import LogChanged, RunChanged
from crild_tui.monitor.log import LogWatcher
from crild_tui.monitor.run import RunWatcher
from crild_tui.screens.mode_screen import ModeScreen


class WatchScreen(ModeScreen):
    """A mode with threads that watch runs, and the log of one; it gets a RunChanged or LogChanged for each change."""

    def __init__(self) -> None:
        super().__init__()
        self._watchers: dict[Path, RunWatcher] = {}
        self._log_watcher: tuple[Path, LogWatcher] | None = None

    @property
    def watching(self) -> bool:
        """Whether any run is watched."""
        return bool(self._watchers)

    def watch_only(self, run_dirs: Iterable[Path], log_of: Path | None = None) -> None:
        """Watch these runs and the log of one, and nothing else; what is watched already is not read again."""
        chosen = tuple(run_dirs)
        for run_dir in [run_dir for run_dir in self._watchers if run_dir not in chosen]:
            self._watchers.pop(run_dir).stop()
        for run_dir in chosen:
            if run_dir not in self._watchers:
                self._watchers[run_dir] = RunWatcher(run_dir, lambda snapshot: self.post_message(RunChanged(snapshot)))
                self._watchers[run_dir].start()
        if self._log_watcher is not None and self._log_watcher[0] != log_of:
            self._log_watcher[1].stop()
            self._log_watcher = None
        if self._log_watcher is None and log_of is not None:
            watcher = LogWatcher(log_of, lambda tail: self.post_message(LogChanged(log_of, tail)))
            self._log_watcher = log_of, watcher
            watcher.start()

    def on_screen_suspend(self) -> None:
        """Stop watching, unless only a dialog covers the screen."""
        if not self.is_present:
            self.watch_only(())

    def on_unmount(self) -> None:
        """Let the watchers end."""
        self.watch_only(())
