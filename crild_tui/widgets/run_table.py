"""A table of runs that draws only visible rows, so that 20,000 runs cost no more than twenty."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from crild_tui.charts.sparkline import sparkline
from crild_tui.runs import listing
from crild_tui.runs.marks import Marks
from crild_tui.runs.states import tone_of
from crild_tui.text import fit
from engine.record.run import RunEntry
from engine.record.states import ACTIVE

SPARK = 12
"""Cells of the course of the dev metric."""
ROOMY = 110
"""Cells of a row from which there is room for it."""


class RunTable(ScrollView, can_focus=True):
    """Rows of runs under a heading that stays. The selected run stays selected when rows come, go or move."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "run-table--heading", "run-table--cursor", "run-table--running", "run-table--error", "run-table--warning",
        "run-table--muted", "run-table--marked",
    }  # fmt: skip
    DEFAULT_CSS = """
    RunTable {
        height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1;
        scrollbar-gutter: stable; background: $background;
        & > .run-table--heading { background: $panel; color: $foreground; text-style: bold; }
        & > .run-table--cursor { background: $primary 22%; text-style: bold; }
        &:focus > .run-table--cursor { background: $primary 32%; }
        & > .run-table--running { color: $success; }
        & > .run-table--error { color: $error; text-style: bold; }
        & > .run-table--warning { color: $warning; }
        & > .run-table--muted { text-style: dim; }
        & > .run-table--marked { color: $accent; text-style: bold; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Row up", id="table.up", show=False),
        Binding("down,j", "move(1)", "Row down", id="table.down", show=False),
        Binding("pageup", "page(-1)", "Page up", id="table.page_up", show=False),
        Binding("pagedown", "page(1)", "Page down", id="table.page_down", show=False),
        Binding("home,g", "edge(0)", "First row", id="table.first", show=False),
        Binding("end,G", "edge(1)", "Last row", id="table.last", show=False),
        Binding("enter", "activate", "Watch", key_display="enter", id="runs.watch"),
    ]

    @dataclass
    class Selected(Message):
        """Another run is selected, or its entry changed; None if there is no run."""

        entry: RunEntry | None

    @dataclass
    class Activated(Message):
        """A run was chosen by Enter or a double click."""

        entry: RunEntry

    @dataclass
    class HeadingClicked(Message):
        """A heading was clicked."""

        column: str

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows: tuple[RunEntry, ...] = ()
        self._marks = Marks()
        self._order = listing.Order()
        self.columns: dict[str, int] = {}
        """The columns that are shown, with their widths."""
        self.sparks: Mapping[Path, Sequence[float]] = {}
        """The course of the dev metric, by run directory, as far as it was read."""
        self._row = 0
        self._is_chosen = False
        self._announced: RunEntry | None = None

    # -- what is shown

    @property
    def selected(self) -> RunEntry | None:
        """The run under the cursor."""
        return self.rows[self._row] if self.rows else None

    @property
    def chosen(self) -> RunEntry | None:
        """The run under the cursor, if the user put the cursor on it."""
        return self.selected if self._is_chosen else None

    def show(self, rows: Sequence[RunEntry], marks: Marks, order: listing.Order) -> None:
        """Show these runs; the selected one stays selected, on the same line of the screen."""
        selected, was = self.selected, self._row
        self.rows, self._marks, self._order = tuple(rows), marks, order
        if selected is not None:
            self._row = self._index_of(selected.id, was)
        self._row = max(0, min(self._row, len(self.rows) - 1))
        if selected is None or self.selected is None or self.selected.id != selected.id:
            self._is_chosen = False
        self._arrange()
        if self.scroll_offset.y:  # at the top it stays there, so that new runs are seen
            self.scroll_to(y=self.scroll_offset.y + self._row - was, animate=False)
        self._into_view()
        self._report()

    def _index_of(self, run_id: str, near: int) -> int:
        """The index of a run; `near` if it is gone."""
        if 0 <= near < len(self.rows) and self.rows[near].id == run_id:
            return near
        return next((index for index, row in enumerate(self.rows) if row.id == run_id), near)

    @property
    def rows_in_view(self) -> tuple[RunEntry, ...]:
        """The rows on the screen."""
        top = int(self.scroll_offset.y)
        return self.rows[top : top + max(self._page, 0)]

    @property
    def has_sparks(self) -> bool:
        """Whether there is room for the course of the dev metric."""
        return self._room >= ROOMY

    def show_sparks(self, sparks: Mapping[Path, Sequence[float]]) -> None:
        """Show the course of the dev metric of runs."""
        self.sparks = sparks
        self.refresh()

    def _arrange(self) -> None:
        room = self._room - (SPARK + listing.GAP if self.has_sparks else 0)
        self.columns = listing.column_widths(self.rows, room, self._order)
        self.virtual_size = Size(self._room, len(self.rows) + 1)
        self.refresh()

    @property
    def _room(self) -> int:
        """Cells for a row."""
        return max(self.scrollable_content_region.width, 0)

    def on_resize(self) -> None:
        """Show as many columns as fit."""
        self._arrange()
        self._into_view()

    # -- drawing

    def render_line(self, y: int) -> Strip:
        """One line of the screen: the heading or a row."""
        width = self._room
        if y == 0:
            return self._heading().adjust_cell_length(width, self.get_component_rich_style("run-table--heading"))
        index = y - 1 + self.scroll_offset.y
        if index >= len(self.rows):
            return Strip.blank(width, self.rich_style)
        here = index == self._row
        style = self.get_component_rich_style("run-table--cursor") if here else self.rich_style
        return Strip(self._segments(self.rows[index], style, here=here)).adjust_cell_length(width, style)

    def _heading(self) -> Strip:
        style = self.get_component_rich_style("run-table--heading")
        parts = [Segment(" " * listing.GUTTER, style)]
        for name, width in self.columns.items():
            arrow = ("▼" if self._order.descending else "▲") if name == self._order.column else ""
            right = listing.BY_NAME[name].right
            text = arrow + name if right else name + arrow
            parts.append(Segment(fit(text, width, right=right), style + Style(underline=bool(arrow))))
            parts.append(Segment(" " * listing.GAP, style))
        if self.has_sparks:
            parts.append(Segment(fit("dev metric", SPARK), style))
        return Strip(parts)

    def _segments(self, entry: RunEntry, style: Style, *, here: bool) -> list[Segment]:
        marked, pinned = entry.id in self._marks.marked, entry.id in self._marks.pinned
        sign = "▲" if pinned else "–" if entry.id in self._marks.hidden else " "
        parts = [
            Segment("▸" if here else " ", style),
            Segment("●" if marked else " ", style + self._part("marked")),
            Segment(sign + " ", style + self._part("marked")),
        ]
        now = time.time()
        tone = tone_of(entry.state)
        own = style + self._part(tone) if tone and tone != "finished" else style
        quiet = style + self._part("muted") if entry.state not in ACTIVE else style
        for name, width in self.columns.items():
            text = listing.cell(listing.BY_NAME[name], entry, width, now)
            lost = name == "run" and tone == "error"
            parts.append(Segment(text, own if name == "state" or lost else quiet if name == "done" else style))
            parts.append(Segment(" " * listing.GAP, style))
        if self.has_sparks and (values := self.sparks.get(entry.path)):
            levels = (entry.status.majority, entry.status.teacher) if entry.status is not None else ()
            parts.append(Segment(fit(sparkline(values, SPARK, levels), SPARK), quiet))
        return parts

    def _part(self, name: str) -> Style:
        return self.get_component_rich_style(f"run-table--{name}", partial=True)

    # -- moving

    def choose(self, run_dir: Path) -> None:
        """Put the cursor on a run, if it is in the list."""
        row = next((index for index, entry in enumerate(self.rows) if entry.path == run_dir), None)
        if row is not None:
            self._move_to(row)

    def action_move(self, rows: int) -> None:
        """Move the cursor by rows."""
        self._move_to(self._row + rows)

    def action_page(self, pages: int) -> None:
        """Move the cursor by pages."""
        self._move_to(self._row + pages * max(self._page, 1))

    def action_edge(self, last: int) -> None:
        """Move the cursor to the first or the last row."""
        self._move_to(len(self.rows) - 1 if last else 0)

    def action_activate(self) -> None:
        """Choose the selected run."""
        if self.selected is not None:
            self.post_message(self.Activated(self.selected))

    @property
    def _page(self) -> int:
        """Rows that can be seen at once."""
        return self.scrollable_content_region.height - 1

    def _move_to(self, row: int) -> None:
        if not self.rows:
            return
        before, self._row = self._row, max(0, min(row, len(self.rows) - 1))
        self._is_chosen = True
        self._into_view()
        for changed in {before, self._row}:
            self.refresh_line(changed + 1)
        self._report()

    def _into_view(self) -> None:
        top = self.scroll_offset.y
        if self._page > 0 and not top <= self._row < top + self._page:
            self.scroll_to(y=self._row if self._row < top else self._row - self._page + 1, animate=False)

    def _report(self) -> None:
        if self.selected != self._announced:
            self._announced = self.selected
            self.post_message(self.Selected(self.selected))

    # -- the mouse

    def on_click(self, event: events.Click) -> None:
        """Click selects, double click chooses, a heading sorts."""
        if event.y == 0:
            if (name := self._column_at(event.x)) is not None:
                self.post_message(self.HeadingClicked(name))
            return
        row = event.y - 1 + self.scroll_offset.y
        if row < len(self.rows):
            self._move_to(row)
            if event.chain == 2:
                self.action_activate()

    def _column_at(self, x: int) -> str | None:
        end = listing.GUTTER
        for name, width in self.columns.items():
            start, end = end, end + width + listing.GAP
            if start <= x < end:
                return name
        return None
