"""A line of facts: each a name and what it is just now."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text
from textual.app import RenderResult
from textual.reactive import reactive
from textual.widget import Widget


class Facts(Widget):
    """The line that says how the panels are shown."""

    DEFAULT_CSS = "Facts { height: 1; color: $foreground-muted; }"

    words: reactive[tuple[str, ...]] = reactive(())

    def render(self) -> RenderResult:
        """As many facts as fit."""
        line = Text(no_wrap=True)
        for number, fact in enumerate(self.words):
            if line.cell_len + len(fact) + 3 > self.size.width:
                break
            line.append("  " if number else " ")
            name, _, rest = fact.partition(" ")
            line.append(name)
            line.append(f" {rest}" if rest else "", Style(bold=True))
        return line
