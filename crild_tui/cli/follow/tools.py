"""Run a tool of the engine in the terminal, and show how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crild_tui.cli.follow.displays import Display, Silence, display, phase_view

if TYPE_CHECKING:
    from engine.record.phases import Phase


def run_tool(
    tool: str, args: Sequence[str] = (), *, quiet: bool = False, stdin: bool = False, descriptors: Sequence[int] = ()
) -> Any:
    """As `engine.launch.foreground.run_tool`, with the phases that take long shown on stderr, unless `quiet`."""
    from engine.launch import foreground

    shown: Display[Phase] = Silence() if quiet else display(phase_view())
    try:
        return foreground.run_tool(tool, args, progress=shown.update, stdin=stdin, descriptors=descriptors)
    finally:
        shown.close()
