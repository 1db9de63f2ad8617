"""The Launch mode."""

from __future__ import annotations

from pathlib import Path

from textual.app import ComposeResult
from textual.widgets import Static

from crild_tui.screens.base import ModeScreen


class LaunchScreen(ModeScreen):
    """Not built yet."""

    MODE = "launch"

    def content(self) -> ComposeResult:
        """Nothing yet."""
        yield Static("launch")

    def show_run(self, run_dir: Path) -> None:
        """Not built yet."""

    def show_runs(self, run_dirs: tuple[Path, ...]) -> None:
        """Not built yet."""
