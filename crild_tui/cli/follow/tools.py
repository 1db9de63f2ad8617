"""Run a tool of the engine in the terminal, and show how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crild_tui.cli.follow.displays import display, phase_view


def run_tool(tool: str, args: Sequence[str] = ()) -> Any:
    """As `engine.launch.foreground.run_tool`, with the phases that take long shown on stderr."""
    from engine.launch import foreground

    shown = display(phase_view())
    try:
        return foreground.run_tool(tool, args, progress=shown.update)
    finally:
        shown.close()
