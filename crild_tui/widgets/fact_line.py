"""A line of facts, each a name and its current value."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text
from textual.app import RenderResult
from textual.reactive import reactive
from textual.widget import Widget


class Facts(Widget):
    """The settings of the panels in one line."""

    DEFAULT_CSS = "Facts { height: 1; color: $foreground-muted; }"

    words: reactive[tuple[str, ...]] = reactive(())

    def render(self) -> RenderResult:
        """As many facts as fit."""
        line = Text(no_wrap=True)
        for index, fact in enumerate(self.words):
            if line.cell_len + len(fact) + 3 > self.size.width:
                break
            line.append("  " if index else " ")
            name, _, value = fact.partition(" ")
            line.append(name)
            line.append(f" {value}" if value else "", Style(bold=True))
        return line
