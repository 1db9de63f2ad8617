"""The closing table of a finished run, as `crild show` prints it."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.containers import VerticalScroll
from textual.widgets import Static

from engine.preset.text import plain


def closing_lines(parts: Iterable[str | Table]) -> Group:
    """Sentences and tables of a run below one another, the first in bold."""
    lines = [Text(plain(part)) if isinstance(part, str) else part for part in parts]
    if lines and isinstance(lines[0], Text):
        lines[0].stylize("bold")
    return Group(*lines)


class ClosingView(VerticalScroll):
    """Shows the closing table in place of the panels."""

    DEFAULT_CSS = """
    ClosingView { display: none; height: 1fr; padding: 0 1; Static { width: 100%; height: auto; } }
    """

    def __init__(self) -> None:
        super().__init__(Static(id="closing-text"), id="closing")

    def show(self, content: RenderableType) -> None:
        """Show tables, or a sentence that says why there are none."""
        self.query_one("#closing-text", Static).update(content)
