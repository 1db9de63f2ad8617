"""A text in a box, to be read or selected."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer
from textual.screen import ModalScreen
from textual.widgets import Static

from crild_tui.wording import printable


class TextScreen(ModalScreen[None]):
    """Shows a text as it is, unwrapped; Escape, Enter and q close it."""

    DEFAULT_CSS = """
    TextScreen {
        ScrollableContainer {
            width: auto; max-width: 96%; height: auto; max-height: 90%;
            scrollbar-size: 1 1; padding: 0 1; border: round $primary; background: $surface;
        }
        Static { width: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q", "dismiss", "Close")]

    def __init__(self, text: str, title: str, hint: str) -> None:
        super().__init__()
        self._text, self._title, self._hint = text, title, hint

    def compose(self) -> ComposeResult:
        """The text, in a box that scrolls."""
        with ScrollableContainer() as box:
            box.border_title = Text(self._title).markup
            box.border_subtitle = Text(self._hint).markup
            yield Static(Text(printable(self._text.rstrip("\n")), no_wrap=True), id="text")
