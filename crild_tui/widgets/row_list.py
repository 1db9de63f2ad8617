"""Rows of text under one another, some of which can be chosen; it scrolls both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from crild_tui.runs.comparison import RunLine


class RowList(ScrollView, can_focus=True):
    """Shows lines, never wrapped. The chosen run stays chosen when the lines change."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--cursor"}
    DEFAULT_CSS = """
    RowList {
        scrollbar-size: 1 1; background: $background;
        & > .rows--cursor { background: $primary 30%; text-style: bold; }
        &:focus > .rows--cursor { background: $primary 45%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Row up", id="rows.up", show=False),
        Binding("down,j", "move(1)", "Row down", id="rows.down", show=False),
        Binding("left", "aside(-8)", "To the left", id="rows.left", show=False),
        Binding("right", "aside(8)", "To the right", id="rows.right", show=False),
        Binding("pageup", "page(-1)", "Page up", id="rows.page_up", show=False),
        Binding("pagedown", "page(1)", "Page down", id="rows.page_down", show=False),
    ]

    @dataclass
    class Activated(Message):
        """A run was chosen by a double click."""

        run_dir: Path

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.lines: tuple[RunLine, ...] = ()
        self._strips: list[Strip] = []
        self._cursor = -1

    @property
    def chosen(self) -> Path | None:
        """The run under the cursor."""
        return self.lines[self._cursor].run_dir if 0 <= self._cursor < len(self.lines) else None

    def show(self, lines: Sequence[RunLine]) -> None:
        """Show these lines."""
        chosen, was = self.chosen, self._cursor
        self.lines = tuple(lines)
        console = self.app.console
        self._strips = []
        for line in self.lines:
            text = line.text.copy()
            text.end = ""
            text.stylize_before(text.style)  # a text without spans would be drawn without its own style
            self._strips.append(Strip(text.render(console)))
        indices = [index for index, line in enumerate(self.lines) if line.run_dir is not None]
        same = [index for index in indices if self.lines[index].run_dir == chosen and chosen is not None]
        near = [index for index in indices if index <= was] or indices[:1]
        self._cursor = (same or near[-1:] or [-1])[0]
        self.virtual_size = Size(max((strip.cell_length for strip in self._strips), default=0), len(self.lines))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        left, top = self.scroll_offset
        index, width = y + top, self.scrollable_content_region.width
        if index >= len(self._strips):
            return Strip.blank(width, self.rich_style)
        strip, style = self._strips[index], self.rich_style
        if index == self._cursor:  # the sign takes the place of the line's first space
            style = self.get_component_rich_style("rows--cursor")
            strip = Strip.join([Strip([Segment("▸")]), strip.crop(1)])
        return strip.apply_style(style).crop_extend(left, left + width, style)

    # -- moving

    def action_move(self, by: int) -> None:
        """Go to the next line with a run; past the last one, scroll."""
        ahead = range(self._cursor + by, len(self.lines) if by > 0 else -1, by)
        index = next((index for index in ahead if self.lines[index].run_dir is not None), None)
        if index is None:
            self.scroll_relative(y=by, animate=False)
        else:
            self._choose(index)

    def action_page(self, pages: int) -> None:
        """Scroll by a page."""
        self.scroll_relative(y=pages * max(self.scrollable_content_region.height - 1, 1), animate=False)

    def action_aside(self, cells: int) -> None:
        """Scroll sideways."""
        self.scroll_relative(x=cells, animate=False)

    def _choose(self, index: int) -> None:
        self._cursor = index
        top, height = self.scroll_offset.y, self.scrollable_content_region.height
        if index < top or index >= top + height:
            self.scroll_to(y=index if index < top else index - height + 1, animate=False)
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Click chooses a run, double click opens it."""
        index = event.y + self.scroll_offset.y
        if index < len(self.lines) and (run_dir := self.lines[index].run_dir) is not None:
            self._choose(index)
            if event.chain == 2:
                self.post_message(self.Activated(run_dir))
