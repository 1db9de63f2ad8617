"""A dialog about one run whose content is read from files, in a thread."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from crild_tui.widgets.dialog import Dialog
from engine.preset.text import plain

WIDEST = 120
"""The most columns of the box."""
FRAME = 5
"""Columns of the border, the padding and the scrollbar."""


class ReadingDialog(Dialog[None]):
    """Shows what a subclass reads of a run, in a box that scrolls; starts nothing. Escape, Enter and q close it."""

    WHAT = "files"
    """What is read, in the title and while it is read."""
    DEFAULT_CSS = """
    ReadingDialog {
        align: center middle;
        VerticalScroll {
            width: 120; max-width: 100%; height: auto; max-height: 100%;
            scrollbar-size: 1 1; padding: 0 1; border: round $primary; background: $surface;
        }
        Static { width: 100%; height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "Close"),
        Binding("j", "down", "Line down", show=False),
        Binding("k", "up", "Line up", show=False),
    ]

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self._run_dir = run_dir

    def content(self, run_dir: Path) -> RenderableType:
        """What the dialog shows; called in a thread, and turns errors into sentences."""
        raise NotImplementedError

    @property
    def room(self) -> int:
        """Columns for the content."""
        return min(self.app.size.width, WIDEST) - FRAME

    def compose(self) -> ComposeResult:
        """A box that scrolls."""
        with VerticalScroll() as area:
            area.border_title = Text(plain(f"{self.WHAT} of {self._run_dir.name}")).markup
            area.border_subtitle = "Escape closes"
            yield Static(Text(f"reading the {self.WHAT}..."), id="content")

    def on_mount(self) -> None:
        """Read in a thread: files of a run may be large, or on a slow disk."""
        self.query_one(VerticalScroll).focus()
        self._read()

    def action_down(self) -> None:
        """Scroll down by a line."""
        self.query_one(VerticalScroll).scroll_down(animate=False)

    def action_up(self) -> None:
        """Scroll up by a line."""
        self.query_one(VerticalScroll).scroll_up(animate=False)

    @work(thread=True, exclusive=True)
    def _read(self) -> None:
        content = self.content(self._run_dir)
        self.call_later(self._show, content)

    def _show(self, content: RenderableType) -> None:
        for shown in self.query("#content").results(Static):  # none once the screen is being closed
            shown.update(content)


def drawn(parts: Iterable[str | Table], *first: RenderableType) -> Group:
    """Sentences and tables one below the other, after `first`, with an empty line around each table."""
    lines: list[RenderableType] = list(first)
    for before, part in pairwise(("", *parts)):
        if not isinstance(part, str) or not isinstance(before, str):
            lines.append(Text())
        if part != "":
            lines.append(Text(plain(part)) if isinstance(part, str) else part)
    return Group(*lines)
