"""Watches one run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from crild_tui.watch.snapshots import RunSnapshot


class RunWatcher:
    """Not built yet."""

    def __init__(self, run_dir: Path, tell: Callable[[RunSnapshot], object], *, every: float = 0.5) -> None:
        self._run_dir, self._tell, self._every = run_dir, tell, every

    def start(self) -> None:
        """Not built yet."""

    def stop(self) -> None:
        """Not built yet."""
