"""The Compare mode."""

from __future__ import annotations

from pathlib import Path

from textual.app import ComposeResult
from textual.widgets import Static

from crild_tui.screens.base import ModeScreen


class CompareScreen(ModeScreen):
    """Not built yet."""

    MODE = "compare"

    def content(self) -> ComposeResult:
        """Nothing yet."""
        yield Static("compare")

    def show_run(self, run_dir: Path) -> None:
        """Not built yet."""

    def show_runs(self, run_dirs: tuple[Path, ...]) -> None:
        """Not built yet."""
