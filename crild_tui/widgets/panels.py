"""The three panels of one run or several: loss, consistency and dev metric over one x axis."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult, RenderResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.message import Message
from textual.reactive import reactive
from textual.timer import Timer
from textual.widget import Widget

from crild_tui.charts import viewport
from crild_tui.charts.axes import axis_value
from crild_tui.charts.drawing import KEYS
from crild_tui.charts.figure import Figure, View
from crild_tui.charts.logged import logged
from crild_tui.charts.run_figures import (
    Look,
    Source,
    TraceCache,
    extent,
    figures,
    is_long,
    scaled_stage,
    usual_view,
)
from crild_tui.monitor.curves import AXES
from crild_tui.runs.states import KeyNames
from crild_tui.widgets.chart import ZOOM, Chart
from engine.preset.text import one_line

__all__ = ["Panels", "Source"]

EVERY = 0.5
"""Seconds between two redraws without a key press."""
SOON = 0.01
"""Seconds to an immediate redraw: a timer of 0 would never run."""
PAN = 0.2
"""Share of the view that an arrow key moves."""
TINY = (50, 13)
"""Columns and rows below which only one panel is visible."""
LOW = 9
"""Rows below which the line of facts is hidden."""
WIDE = 120
"""Columns from which panels are next to each other."""
GRID = 30
"""Rows from which the loss is as high as the two others together."""
Built = tuple[Figure, Figure, Figure]


class Facts(Widget):
    """The settings of the panels in one line, each a name and its current value."""

    DEFAULT_CSS = "Facts { height: 1; color: $foreground-muted; }"

    words: reactive[tuple[str, ...]] = reactive(())

    def render(self) -> RenderResult:
        """As many facts as fit."""
        line = Text(no_wrap=True)
        for fact in self.words:
            if line.cell_len + len(fact) + 3 > self.size.width:
                break
            name, space, value = fact.partition(" ")
            line.append(f"{'  ' if line else ' '}{name}").append(f"{space}{value}", Style(bold=True))
        return line


class Panels(Widget):
    """Three charts that share x axis, view, cursor and smoothing.

    `show` takes any number of runs; it draws if something changed, at most twice a second. A key draws at once.
    """

    DEFAULT_CSS = """
    Panels { layout: vertical; height: 1fr; width: 1fr; }
    Panels > #charts { layout: vertical; height: 1fr; }
    Panels Chart.-bare { height: 1; }
    Panels.-grid > #charts { layout: grid; grid-size: 2; grid-columns: 1fr 1fr; grid-rows: 1fr 1fr; grid-gutter: 0 1; }
    Panels.-grid #loss { row-span: 2; }
    Panels.-row > #charts { layout: horizontal; }
    Panels.-row Chart { margin-right: 1; }
    Panels.-row Chart.-bare { display: none; }
    Panels.-low Facts { display: none; }
    Panels.-single > #charts { layout: vertical; }
    Panels.-single Chart { height: 0; margin: 0; }
    Panels.-single Chart.-chosen { height: 1fr; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "axis", "Axis", tooltip="X axis: step, epoch or time", id="panel.axis"),
        Binding("l", "log", "Log scale", id="panel.log", show=False),
        Binding(
            "a",
            "stages",
            "All stages",
            tooltip="Fit the charts to this stage, or to all",
            id="panel.stages",
            show=False,
        ),
        Binding("greater_than_sign", "smooth(1)", "Smoother", key_display=">", id="panel.smoother", show=False),
        Binding("less_than_sign", "smooth(-1)", "Less smooth", key_display="<", id="panel.rougher", show=False),
        Binding("plus,equals_sign", "zoom(1)", "Zoom in", key_display="+", id="panel.zoom_in", show=False),
        Binding("minus", "zoom(-1)", "Zoom out", key_display="-", id="panel.zoom_out", show=False),
        Binding("left", "pan(-1)", "Earlier", id="panel.pan_left", show=False),
        Binding("right", "pan(1)", "Later", id="panel.pan_right", show=False),
        Binding("left_square_bracket", "cursor(-1)", "Cursor left", False, "[", id="panel.cursor_left"),
        Binding("right_square_bracket", "cursor(1)", "Cursor right", False, "]", id="panel.cursor_right"),
        Binding("0", "reset", "Show all", id="panel.reset", show=False),
        Binding("z", "enlarge", "Enlarge", id="panel.enlarge"),
        Binding("h", "hold", "Hold/follow", id="panel.hold"),
        Binding("escape", "back", "Back", id="panel.back", show=False),
    ]

    @dataclass
    class Enlarged(Message):
        """One panel fills the whole area, or no longer does: a screen may hide what is around it."""

        enlarged: bool

    @dataclass
    class Prepared(Message):
        """A thread has built the figures."""

        built: Built

    def __init__(self, smoothing: float = 0.0, *, id: str | None = None, keys: KeyNames = KEYS) -> None:
        super().__init__(id=id)
        self._keys = keys
        self.look = Look(smoothing=smoothing)
        self.following = True
        self.enlarged = False
        self.sources: tuple[Source, ...] = ()
        self._traces, self._logged_traces = TraceCache(), TraceCache()
        self._put: dict[int, str] = {}  # names of logged charts that are shown in place of a panel, by its index
        self._built: Built | None = None
        self._shown: tuple[object, ...] = ()
        self._last = -EVERY
        self._timer: Timer | None = None
        self._building = self._again = False

    def compose(self) -> ComposeResult:
        """Three charts and a line of facts."""
        with Container(id="charts"):
            for name, title in (("loss", "loss"), ("consistency", "consistency"), ("dev", "dev metric")):
                yield Chart(title, id=name, keys=self._keys)
        yield Facts()

    def on_mount(self) -> None:
        """Choose the first panel."""
        self.query_one("#loss").add_class("-chosen")
        self._build()

    @property
    def charts(self) -> tuple[Chart, Chart, Chart]:
        """Loss, consistency, dev metric."""
        loss, consistency, dev = self.query(Chart)
        return loss, consistency, dev

    @property
    def chosen(self) -> Chart:
        """The chart that was focused last."""
        return self.query_one("Chart.-chosen", Chart)

    @property
    def waiting(self) -> bool:
        """Whether a change is still to be drawn."""
        return self._timer is not None or self._building

    # -- showing

    def show(self, sources: Sequence[Source]) -> None:
        """Show these runs: drawn soon, and only if something changed."""
        new = tuple(sources)
        if _identity(new) == self._shown:
            return
        if {source.snapshot.run_dir for source in new} != {source.snapshot.run_dir for source in self.sources}:
            self.look = replace(self.look, view=None, cursor=None)
            self.following = True
        self.sources, self._shown = new, _identity(new)
        if self._timer is None and self.is_mounted:
            self._timer = self.set_timer(max(self._last + EVERY - time.monotonic(), SOON), self._build)

    def _build(self) -> None:
        """Build and draw everything: here, or in a thread if a long run would delay keys."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        if self._building:
            self._again = True
            return
        self._last = time.monotonic()
        self._follow()
        if is_long(self.sources):
            self._building = True
            self._build_in_thread(self.sources, self.look)
        else:
            self._built = self._figures(self.sources, self.look)
            self._redraw()

    @work(thread=True, group="figures")
    def _build_in_thread(self, sources: tuple[Source, ...], look: Look) -> None:
        self.post_message(self.Prepared(self._figures(sources, look)))

    def _figures(self, sources: tuple[Source, ...], look: Look) -> Built:
        """The figures of the panels: the usual ones, and the logged charts that were put in their places."""
        usual = figures(sources, look, self._traces)
        if not self._put:
            return usual
        known = {chart.name: chart.figure for chart in logged(sources, look, self._logged_traces)}
        blank = replace(usual[0], lines=(), levels=(), empty="this run has no such chart")
        loss, consistency, dev = (
            figure if (name := self._put.get(index)) is None else known.get(name, replace(blank, title=one_line(name)))
            for index, figure in enumerate(usual)
        )
        return loss, consistency, dev

    def put(self, index: int | None, name: str) -> None:
        """Show a logged chart in place of the panel with this index; None: the usual panels again."""
        self._put = {} if index is None else {**self._put, index: name}
        self._build()

    @on(Prepared)
    def _prepared(self, message: Prepared) -> None:
        message.stop()
        self._building = False
        self._built = message.built
        self._redraw()
        if self._again:
            self._again = False
            self._build()

    def _redraw(self) -> None:
        """Draw the built figures for the current view and cursor."""
        if self._built is None or not self.is_mounted or self._built[0].axis != self.look.axis:
            return  # a thread still builds them for the new axis
        view = self._view()
        for chart, figure in zip(self.charts, self._built, strict=True):
            log = self.look.log and not figure.linear
            chart.show(replace(figure, view=view, cursor=self.look.cursor, log=log))
        self._narrow()
        self._show_facts()

    def _narrow(self) -> None:
        """Give the room of panels without curves to the others: what is above others shrinks to a row that says why it is
        empty, what is beside others goes."""
        bare = [chart for chart in self.charts if not chart.figure.lines]
        for chart in self.charts:
            chart.set_class(chart in bare and len(bare) < len(self.charts), "-bare")
        beside = self._beside(*self.size)
        full = len(self.charts) - len(self.query("Chart.-bare"))
        self.set_class(beside and (self.size.height < GRID or full < len(self.charts)), "-row")
        self.set_class(beside and self.size.height >= GRID and full == len(self.charts), "-grid")
        if beside and self.chosen.has_class("-bare"):
            self._choose_chart(next(chart for chart in self.charts if not chart.has_class("-bare")))

    def _beside(self, width: int, height: int) -> bool:
        """Whether there is room for panels beside each other."""
        return not self._alone(width, height) and width >= WIDE

    def _alone(self, width: int, height: int) -> bool:
        """Whether only one panel is visible."""
        return self.enlarged or width < TINY[0] or height < TINY[1]

    def _whole(self) -> View:
        return extent(self.sources, self.look.axis)

    def _view(self) -> View:
        return self.look.view or usual_view(self.sources, self.look)

    def _follow(self) -> None:
        """While following, the right edge stays at the newest point."""
        if self.following and self.look.view is not None:
            whole = self._whole()
            self.look = replace(self.look, view=viewport.limited(viewport.ending_at(self.look.view, whole.high), whole))

    def _show_facts(self) -> None:
        look = self.look
        hint = "" if look.view is not None or usual_view(self.sources, look) == self._whole() else self._for_all
        facts = [
            f"x {look.axis}",
            f"smoothing {look.smoothing:g}",
            f"scale {'log' if look.log else 'linear'}, fits {self._scaled()}",
            f"view {'follows' if self.following else 'held'}{hint}",
        ]
        if look.view is not None:
            low, high = (axis_value(look.axis, end) for end in (look.view.low, look.view.high))
            facts.append(f"from {low} to {high}")
        if look.cursor is not None:
            facts.insert(0, f"at {axis_value(look.axis, look.cursor)}")
        if any(not source.snapshot.curves.complete for source in self.sources):
            facts.insert(0, "a sample: still reading the run")
        self.query_one(Facts).words = tuple(facts)

    @property
    def _for_all(self) -> str:
        """What shows the teacher's stage, too."""
        return f", {self._keys['panel.stages']} for all"

    def _scaled(self) -> str:
        """Which stages the scales of losses fit, in words."""
        return "all stages" if scaled_stage(self.sources, self.look) is None else "this stage"

    # -- layout

    def on_resize(self, event: events.Resize) -> None:
        """Arrange the charts for the new size."""
        self._arrange(event.size.width, event.size.height)

    def _arrange(self, width: int, height: int) -> None:
        single = self._alone(width, height)
        self.set_class(single, "-single")
        self.set_class(height < LOW, "-low")
        stacked = not single and not self._beside(width, height)
        for chart in self.charts:
            chart.set_layout(ticks_below=not stacked or chart.id == "dev", aligned=stacked)
        self._narrow()

    @on(events.DescendantFocus)
    def _choose(self, event: events.DescendantFocus) -> None:
        if isinstance(event.widget, Chart):
            self._choose_chart(event.widget)

    def _choose_chart(self, chosen: Chart) -> None:
        for chart in self.charts:
            chart.set_class(chart is chosen, "-chosen")

    # -- keys

    def action_axis(self) -> None:
        """Cycle through step, epoch and time; the view and the cursor stay at the same moment."""
        old, cursor, view = self.look.axis, self.look.cursor, self.look.view
        new = AXES[(AXES.index(old) + 1) % len(AXES)]
        tables = [source.snapshot.curves.steps for source in self.sources]
        if cursor is not None:
            cursor = viewport.translated(tables, old, new, cursor)
        if view is not None:
            moved = View(*(viewport.translated(tables, old, new, end) for end in (view.low, view.high)))
            view = viewport.limited(moved, extent(self.sources, new))
        self.look = replace(self.look, axis=new, cursor=cursor, view=view)
        self._build()

    def action_log(self) -> None:
        """Logarithmic or linear."""
        self.look = replace(self.look, log=not self.look.log)
        self._redraw()

    def action_stages(self) -> None:
        """Fit the scales of the losses to the newest stage alone, without the teacher's in view; or everything to all stages."""
        self.look = replace(self.look, stage=scaled_stage(self.sources, self.look) is None)
        self._build()

    def action_smooth(self, by: int) -> None:
        """Another level of smoothing."""
        self.look = replace(self.look, smoothing=viewport.next_level(self.look.smoothing, by))
        self._build()

    def action_zoom(self, by: int) -> None:
        """Zoom around the cursor, else around the newest point while following, else around the middle."""
        view = self._view()
        center = view.high if self.following else (view.low + view.high) / 2
        if self.look.cursor is not None and view.low <= self.look.cursor <= view.high:
            center = self.look.cursor
        self._look_at(viewport.zoomed(view, center, ZOOM**-2 if by > 0 else ZOOM**2))

    def action_pan(self, by: int) -> None:
        """Move the view."""
        self._look_at(viewport.panned(self._view(), by * PAN))

    def action_cursor(self, by: int) -> None:
        """Move the value cursor by a cell in all panels; it starts at the right."""
        view = self._view()
        cell = (view.high - view.low) / max(self.chosen.plot.width, 1)
        cursor = self.look.cursor
        x = view.high - cell / 2 if cursor is None else cursor + by * cell
        self._move_cursor(min(max(x, view.low), view.high))

    def action_reset(self) -> None:
        """Show all, and follow."""
        self.look = replace(self.look, view=None)
        self.following = True
        self._redraw()

    def action_hold(self) -> None:
        """Hold the view, or let its right edge follow the run."""
        self.following = not self.following
        if self.following:
            self._follow()
        elif self.look.view is None:
            self.look = replace(self.look, view=self._view())
        self._redraw()

    def action_enlarge(self) -> None:
        """Enlarge the chosen panel to the whole area, or show all three again."""
        self.enlarged = not self.enlarged
        self._arrange(*self.size)
        self.post_message(self.Enlarged(self.enlarged))

    def action_back(self) -> None:
        """Shrink an enlarged panel, else remove the cursor."""
        if self.enlarged:
            self.action_enlarge()
        else:
            self._move_cursor(None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's
        """Leave Escape to the screen if there is nothing to leave here."""
        return action != "back" or self.enlarged or self.look.cursor is not None

    def _look_at(self, view: View) -> None:
        whole = self._whole()
        limited = viewport.limited(view, whole)
        if limited is None and usual_view(self.sources, self.look) != whole:
            limited = whole
        self.look = replace(self.look, view=limited)
        self.following = limited is None or viewport.at_end(limited, whole)
        self._redraw()

    def _move_cursor(self, x: float | None) -> None:
        if x != self.look.cursor:
            self.look = replace(self.look, cursor=x)
            self._redraw()

    # -- mouse

    @on(Chart.ViewChanged)
    def _view_changed(self, message: Chart.ViewChanged) -> None:
        message.stop()
        if message.low is None or message.high is None:
            self.action_reset()
        else:
            self._look_at(View(message.low, message.high))

    @on(Chart.CursorMoved)
    def _cursor_moved(self, message: Chart.CursorMoved) -> None:
        message.stop()
        self._move_cursor(message.x)

    @on(Chart.Enlarge)
    def _enlarge(self, message: Chart.Enlarge) -> None:
        message.stop()
        message.chart.focus()
        self._choose_chart(message.chart)
        self.action_enlarge()


def _identity(sources: tuple[Source, ...]) -> tuple[object, ...]:
    """A value that changes whenever something in the charts does."""
    return tuple(
        (source.snapshot.run_dir, source.snapshot.revision, source.label, source.index, id(source.snapshot.curves))
        for source in sources
    )
