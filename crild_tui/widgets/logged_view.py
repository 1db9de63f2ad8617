"""Everything that was logged of one run or several: a grid of small charts in pages, and a pane of settings and figures."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.segment import Segment
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Label, Static

from crild_tui.charts import grid, viewport
from crild_tui.charts.canvas import MUTED, Canvas
from crild_tui.charts.drawing import KEYS, draw
from crild_tui.charts.grid import Grid
from crild_tui.charts.legend import value_text
from crild_tui.charts.logged import Logged, logged
from crild_tui.charts.run_figures import Look, Source, TraceCache, is_long
from crild_tui.monitor.curves import AXES
from crild_tui.runs.run_facts import RunFacts
from crild_tui.runs.states import KeyNames
from crild_tui.text import shorten, shorten_name
from crild_tui.widgets.chart import palette_of, style
from crild_tui.widgets.text_view import TextLine, TextView

EVERY = 1.0
"""Seconds between two redraws without a key press."""
SOON = 0.01
LONGEST = 24
"""Cells of a run's name."""
WIDE = 140
"""Columns from which the pane of settings is beside the grid; below, it takes the grid's place."""


class ChartGrid(Widget, can_focus=True):
    """Draws charts in a grid, or the chosen one over the whole area. Where it cannot have the focus, it marks none."""

    DEFAULT_CSS = "ChartGrid { height: 1fr; width: 1fr; background: $background; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "enlarge", "Enlarge", key_display="enter", id="logged.enlarge"),
        Binding("pagedown", "page(1)", "Next page", id="logged.next_page", show=False),
        Binding("pageup", "page(-1)", "Page before", id="logged.page_before", show=False),
        Binding("left", "move('left')", "Chart to the left", id="logged.left", show=False),
        Binding("right", "move('right')", "Chart to the right", id="logged.right", show=False),
        Binding("up", "move('up')", "Chart above", id="logged.up", show=False),
        Binding("down", "move('down')", "Chart below", id="logged.down", show=False),
    ]

    class Changed(Message):
        """Another chart is chosen, or the layout of the page changed."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.charts: tuple[Logged, ...] = ()
        self.empty = "nothing yet"
        self.enlarged = False
        self._name = ""
        self._strips: list[Strip] = []

    @property
    def grid(self) -> Grid:
        """The present layout."""
        return grid.fitted(len(self.charts), max(self.size.width, 1), max(self.size.height, 1))

    @property
    def index(self) -> int:
        """The index of the chosen chart; 0 if it is not there any more."""
        return next((index for index, chart in enumerate(self.charts) if chart.name == self._name), 0)

    @property
    def chosen(self) -> Logged | None:
        """The chosen chart."""
        return self.charts[self.index] if self.charts else None

    def show(self, charts: Sequence[Logged], empty: str) -> None:
        """Show these charts, or the sentence `empty` if there are none; the chosen one stays chosen."""
        self.charts, self.empty = tuple(charts), empty
        self.redraw()

    def redraw(self) -> None:
        """Redraw everything."""
        self._strips = []
        self.refresh()
        self.post_message(self.Changed())

    def notify_style_update(self) -> None:
        """The theme changed: new colours."""
        super().notify_style_update()
        self._strips = []

    def on_resize(self) -> None:
        """Lay the charts out for the new size."""
        self.redraw()

    def _canvas(self) -> Canvas:
        canvas = Canvas(self.size.width, self.size.height)
        chosen = self.chosen
        if chosen is None:
            words = shorten(self.empty, canvas.width - 2)
            canvas.put(canvas.height // 2, max((canvas.width - len(words)) // 2, 0), words, MUTED)
        elif self.enlarged:
            canvas.paste(draw(chosen.figure, canvas.width, canvas.height, focused=True, button=False).canvas, 0, 0)
        else:
            layout = self.grid
            first = layout.page_of(self.index) * layout.size
            for index, chart in enumerate(self.charts[first : first + layout.size]):
                cell, here = layout.cell(index), chart is chosen and self.can_focus
                figure = replace(chart.figure, smoothing=0.0)  # the line below says it for all
                drawing = draw(figure, cell.width, cell.height, focused=here, button=False)
                canvas.paste(drawing.canvas, cell.top, cell.left)
        return canvas

    def render_line(self, y: int) -> Strip:
        """A row of the grid."""
        if not self._strips:
            palette, width = palette_of(self), self.size.width
            rows = self._canvas().spans()
            self._strips = [Strip([Segment(text, style(look, palette)) for text, look in row], width) for row in rows]
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width, self.rich_style)

    # -- keys and mouse

    def choose(self, index: int) -> None:
        """Choose a chart."""
        if self.charts:
            self._name = self.charts[max(0, min(index, len(self.charts) - 1))].name
            self.redraw()

    def action_move(self, key: str) -> None:
        """Choose the chart beside the present one; enlarged, the next or the one before."""
        columns = 1 if self.enlarged else self.grid.columns
        self.choose(grid.moved(self.index, len(self.charts), columns, key))

    def action_page(self, by: int) -> None:
        """Go to another page."""
        layout = self.grid
        page = layout.page_of(self.index) + by
        if 0 <= page < layout.pages(len(self.charts)):
            self.choose(page * layout.size)

    def action_enlarge(self) -> None:
        """Enlarge the chosen chart, or show all again."""
        self.enlarged = not self.enlarged and bool(self.charts)
        self.redraw()

    def on_click(self, event: events.Click) -> None:
        """Click chooses a chart, double click enlarges it."""
        layout = self.grid
        first = layout.page_of(self.index) * layout.size
        for index in range(0 if self.enlarged else len(self.charts[first : first + layout.size])):
            cell = layout.cell(index)
            if cell.left <= event.x < cell.left + cell.width and cell.top <= event.y < cell.top + cell.height:
                self.choose(first + index)
        if event.chain == 2:
            self.action_enlarge()


class LoggedView(Vertical):
    """The grid with a line for a pattern below it, and beside it (or in its place) settings, environment and summary.

    `show` takes any number of runs; charts are built only while the view is shown.
    """

    DEFAULT_CSS = """
    LoggedView {
        display: none; height: 1fr; width: 1fr;
        #grid-and-facts { height: 1fr; }
        #facts { display: none; width: 1fr; }
        &.-facts #facts { display: block; }
        &.-facts ChartGrid { display: none; }
        &.-wide #facts { width: 46; border-left: solid $panel; padding-left: 1; }
        &.-wide.-facts ChartGrid { display: block; }
        #pattern-line { height: 1; display: none; background: $surface; }
        &.-finding #pattern-line { display: block; }
        #pattern-line Label { width: auto; color: $accent; text-style: bold; }
        #pattern { width: 1fr; }
        #logged-status { height: 1; padding: 0 1; color: $foreground-muted; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "slash",
            "pattern",
            "Find",
            key_display="/",
            tooltip="Show the charts that a pattern finds",
            id="logged.find",
        ),
        Binding("p", "panel", "To a panel", tooltip="Show the chart in one of the three panels", id="logged.panel"),
        Binding("i", "facts", "Settings", tooltip="Settings, environment and summary", id="logged.facts"),
        Binding("x", "axis", "X axis", id="logged.axis", show=False),
        Binding("l", "log", "Log scale", id="logged.log", show=False),
        Binding("greater_than_sign", "smooth(1)", "Smoother", key_display=">", id="logged.smoother", show=False),
        Binding("less_than_sign", "smooth(-1)", "Less smooth", key_display="<", id="logged.rougher", show=False),
        Binding("escape", "back", "Back", id="logged.back"),
    ]

    class Closed(Message):
        """The user is done with the view."""

    @dataclass
    class ToPanel(Message):
        """A chart is to be shown in one of the three panels."""

        name: str

    @dataclass
    class Prepared(Message):
        """A thread has built the charts."""

        charts: tuple[Logged, ...]

    def __init__(self, smoothing: float = 0.0, *, keys: KeyNames = KEYS) -> None:
        super().__init__()
        self._keys = keys
        self.look = Look(smoothing=smoothing)
        self.sources: tuple[Source, ...] = ()
        self.pattern = ""
        self.typing = False
        """Whether what is typed belongs to the pattern."""
        self.opened = False
        """Whether the view is shown."""
        self._facts: RunFacts | None = None
        self._charts: tuple[Logged, ...] = ()
        self._traces = TraceCache()
        self._timer: Timer | None = None
        self._last = -EVERY
        self._building = self._again = False

    def compose(self) -> ComposeResult:
        """The grid, the pane, the pattern, and a line that says what is shown."""
        with Horizontal(id="grid-and-facts"):
            yield ChartGrid()
            yield TextView(id="facts")
        with Horizontal(id="pattern-line"):
            yield Label("/ ")
            yield Input(placeholder="a part of a name, or a pattern: dev/*", compact=True, id="pattern")
        yield Static(id="logged-status")

    @property
    def grid(self) -> ChartGrid:
        """The grid."""
        return self.query_one(ChartGrid)

    @property
    def line(self) -> Input:
        """The line of the pattern."""
        return self.query_one("#pattern", Input)

    # -- showing

    def show(self, sources: Sequence[Source]) -> None:
        """Show these runs: drawn soon, while the view is shown."""
        runs = [source.snapshot.run_dir for source in sources]
        if runs != [source.snapshot.run_dir for source in self.sources]:
            self._facts = None
        self.sources = tuple(sources)
        if self.opened and self._timer is None:
            self._timer = self.set_timer(max(self._last + EVERY - time.monotonic(), SOON), self._build)

    def open(self) -> None:
        """Show the view, and give it the focus."""
        self.opened = True
        self._build()
        self.grid.focus()

    def close(self) -> None:
        """The view is no longer shown."""
        self.opened = self.typing = False

    def show_facts(self, facts: RunFacts) -> None:
        """Show settings and environment of the run."""
        self._facts = facts
        self._show_facts()

    def _build(self) -> None:
        """Build and draw all charts: here, or in a thread if a long run would delay keys."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        if self._building:
            self._again = True
            return
        self._last = time.monotonic()
        if is_long(self.sources):
            self._building = True
            self._build_in_thread(self.sources, self.look)
        else:
            self._take(logged(self.sources, self.look, self._traces))

    @work(thread=True, group="logged")
    def _build_in_thread(self, sources: tuple[Source, ...], look: Look) -> None:
        self.post_message(self.Prepared(logged(sources, look, self._traces)))

    @on(Prepared)
    def _prepared(self, message: Prepared) -> None:
        message.stop()
        self._building = False
        self._take(message.charts)
        if self._again:
            self._again = False
            self._build()

    def _take(self, charts: tuple[Logged, ...]) -> None:
        self._charts = charts
        self._filter()
        self._show_facts()

    def _filter(self) -> None:
        found = [chart for chart in self._charts if grid.matches(chart.name, self.pattern)]
        self.grid.show(found, "no chart has such a name" if self._charts else "nothing was logged yet")

    @on(ChartGrid.Changed)
    def _show_status(self) -> None:
        charts, layout = self.grid.charts, self.grid.grid
        names = ", ".join(shorten_name(source.label, LONGEST) for source in self.sources)
        page, pages = layout.page_of(self.grid.index) + 1, layout.pages(len(charts))
        parts = [f"{len(charts)} of {len(self._charts)} charts" if self.pattern else f"{len(charts)} charts"]
        covered = self.has_class("-facts") and not self.has_class("-wide")
        parts += [f"page {page} of {pages}"] if pages > 1 and not self.grid.enlarged and not covered else []
        parts += [f"/{self.pattern}"] if self.pattern else []
        parts += [
            f"x {self.look.axis}",
            f"smoothing {self.look.smoothing:g}",
            *(["log"] if self.look.log else []),
            names,
        ]
        self.query_one("#logged-status", Static).update(" · ".join(parts), layout=False)

    def _show_facts(self) -> None:
        """Draw the pane: the newest figures of every chart, then settings and environment."""
        lines = [TextLine("Summary", "warning")]
        for chart in self._charts:
            for drawn in chart.figure.lines:
                label, value = (
                    f"{chart.name} {shorten_name(drawn.label, LONGEST)}".rstrip(),
                    replace(drawn, since=-math.inf),
                )
                lines.append(TextLine(value_text(chart.figure, value), mark=f"{label}  "))
        facts = self._facts
        if facts is not None:
            for title, pairs in (("Settings", facts.settings), ("Environment", facts.environment)):
                lines += [TextLine(""), TextLine(title, "warning")] if pairs else []
                lines += [TextLine(value, mark=f"{key}  ") for key, value in pairs]
            lines += [TextLine(problem, "error") for problem in facts.problems]
        view = self.query_one("#facts", TextView)
        if tuple(lines) != view.lines:
            was = view.scroll_offset.y if view.lines else 0
            view.following = False
            view.show(lines)
            view.scroll_to(y=was, animate=False)

    def on_resize(self, event: events.Resize) -> None:
        """Put the pane beside the grid where there is room."""
        wide = event.size.width >= WIDE
        if wide != self.has_class("-wide"):
            self.set_class(wide, "-wide")
            self.set_class(wide, "-facts")

    # -- keys

    def action_facts(self) -> None:
        """Show or hide settings, environment and summary."""
        self.toggle_class("-facts")
        self._show_status()
        if self.has_class("-facts") and not self.has_class("-wide"):
            self.query_one("#facts").focus()
        else:
            self.grid.focus()

    def action_panel(self) -> None:
        """Ask for the panel that shows the chosen chart."""
        if (chosen := self.grid.chosen) is not None:
            self.post_message(self.ToPanel(chosen.name))

    def action_axis(self) -> None:
        """Step, epoch or time."""
        self._look_with(replace(self.look, axis=AXES[(AXES.index(self.look.axis) + 1) % len(AXES)]))

    def action_log(self) -> None:
        """Logarithmic or linear."""
        self._look_with(replace(self.look, log=not self.look.log))

    def action_smooth(self, by: int) -> None:
        """Another level of smoothing."""
        self._look_with(replace(self.look, smoothing=viewport.next_level(self.look.smoothing, by)))

    def _look_with(self, look: Look) -> None:
        self.look = look
        self._build()

    def action_back(self) -> None:
        """Leave the pane, the enlarged chart, the pattern, or the view."""
        if self.has_class("-facts") and not self.has_class("-wide"):
            self.action_facts()
        elif self.grid.enlarged:
            self.grid.action_enlarge()
        elif self.pattern:
            self._end(keep=False)
        else:
            self.post_message(self.Closed())

    # -- the pattern

    def action_pattern(self) -> None:
        """Type a pattern."""
        self.add_class("-finding")
        self.line.select_on_focus = self.typing = True
        self.line.focus()

    def _end(self, *, keep: bool) -> None:
        self.typing = False
        if not keep:
            self.line.value = self.pattern = ""
        self.set_class(bool(self.pattern), "-finding")
        self.grid.focus()
        self._filter()

    @on(Input.Blurred, "#pattern")
    def _left(self) -> None:
        self.typing = False

    @on(Input.Changed, "#pattern")
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.pattern = event.value.strip()
        self._filter()

    @on(Input.Submitted, "#pattern")
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._end(keep=True)

    def on_key(self, event: events.Key) -> None:
        """Down leaves the line of the pattern for the charts, Escape shows all of them again."""
        if event.key in ("down", "escape") and self.line.has_focus:
            event.stop()
            self._end(keep=event.key == "down")
