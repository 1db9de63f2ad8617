"""A dialog with a text to read or select."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer, Vertical
from textual.widgets import Static

from crild_tui.widgets.dialog import Dialog
from engine.preset.text import printable

LOW = 16
"""Lines below which there is room for the text alone."""
FRAME = 3
"""Lines of the border and of a scrollbar."""


class TextScreen(Dialog[None]):
    """Shows a text as it is, unwrapped, in a box that scrolls both ways; Escape, Enter and q close it.

    The hint is above it, wrapped: a border would cut it.
    """

    DEFAULT_CSS = """
    TextScreen {
        Vertical {
            width: 96%; height: auto; padding: 0 1; border: round $primary; background: $surface;
        }
        ScrollableContainer { height: 1fr; scrollbar-size: 1 1; }
        #hint { height: auto; width: 1fr; color: $foreground-muted; padding: 0 0 1 0; }
        #text { width: auto; }
        &.-low #hint { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q", "dismiss", "Close")]

    def __init__(self, text: str, title: str, hint: str) -> None:
        super().__init__()
        self._text, self._title, self._hint = text, title, hint

    def compose(self) -> ComposeResult:
        """The text, in a box that scrolls."""
        with Vertical() as box:
            box.border_title = Text(self._title).markup
            yield Static(Text(self._hint), id="hint")
            with ScrollableContainer():
                yield Static(Text(printable(self._text.rstrip("\n")), no_wrap=True), id="text")

    def on_resize(self, event: events.Resize) -> None:
        """Be as high as the text needs and the screen allows; on a low screen, leave out the hint."""
        width, height = event.size
        self.set_class(height < LOW, "-low")
        hint = 0 if height < LOW else len(self._hint) // max(width - 12, 1) + 2
        lines = len(self._text.splitlines())
        self.query_one(Vertical).styles.height = min(lines + hint + FRAME, height)
