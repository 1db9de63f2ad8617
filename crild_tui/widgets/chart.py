"""A widget that draws a figure and reports what the mouse does to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.color import Color
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from crild_tui.charts import canvas as looks
from crild_tui.charts.axes import PlotArea
from crild_tui.charts.canvas import Canvas
from crild_tui.charts.drawing import KEYS, Drawing, draw, enlarge_button
from crild_tui.charts.figure import Figure
from crild_tui.charts.palette import curve_color
from crild_tui.messages import Replaceable
from crild_tui.runs.states import KeyNames

ZOOM = 1.25
"""Zoom factor of a wheel step or a key."""


class Chart(Widget, can_focus=True):
    """A figure with title, legend and scales.

    The wheel zooms around the pointer, dragging pans, a double click shows everything again, the pointer moves the
    cursor, and a click on the button in the title enlarges. All of this only posts messages.
    """

    BUTTON: ClassVar[bool] = True
    """Whether its title bar has the button that enlarges it."""
    DEFAULT_CSS = "Chart { height: 1fr; width: 1fr; background: $background; }"

    @dataclass
    class ViewChanged(Replaceable):
        """Requests another part of the x axis: from `low` to `high`, or all if both are None."""

        low: float | None
        high: float | None

    @dataclass
    class CursorMoved(Replaceable):
        """Requests the cursor at `x`, or none if it is None."""

        x: float | None

    @dataclass
    class Enlarge(Message):
        """Requests that the chart fills the whole area, or no longer does."""

        chart: Chart

    def __init__(self, title: str = "", *, id: str | None = None, keys: KeyNames = KEYS) -> None:
        super().__init__(id=id)
        self.keys = keys
        self.figure = Figure(title)
        self.ticks_below = True
        self.aligned = False
        self._drawing: Drawing | None = None
        self._strips: list[Strip] = []
        self._drag: tuple[float, float, int] | None = None
        self._hovered = False

    @property
    def plot(self) -> PlotArea:
        """Where the plot is in the widget."""
        return self._drawn().plot

    # -- drawing

    def show(self, figure: Figure) -> None:
        """Draw another figure; only cells that differ are sent to the terminal."""
        if figure is self.figure:
            return
        self.figure = figure
        self.redraw()

    def set_layout(self, *, ticks_below: bool, aligned: bool) -> None:
        """Whether the chart has an x axis, and its plot is where those of other charts are."""
        if (ticks_below, aligned) != (self.ticks_below, self.aligned):
            self.ticks_below, self.aligned = ticks_below, aligned
            self._forget()

    def redraw(self) -> None:
        """Redraw what changed."""
        before, self._drawing, self._strips = self._drawing, None, []
        if before is None or not self.size:
            self.refresh()
            return
        changed = differences(before.canvas, self._drawn().canvas)
        if changed is None or changed:
            self.refresh(*(changed or ()))

    def _forget(self) -> None:
        self._drawing, self._strips = None, []
        self.refresh()

    def notify_style_update(self) -> None:
        """The theme or the focus changed: new colours for every line."""
        super().notify_style_update()
        self._strips = []

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._forget()

    def watch_has_focus(self, value: bool) -> None:
        """The title shows the focus."""
        super().watch_has_focus(value)
        self.redraw()

    def _drawn(self) -> Drawing:
        width, height = self.size
        drawn = self._drawing
        if drawn is None or (drawn.canvas.width, drawn.canvas.height) != (width, height):
            options = {"ticks_below": self.ticks_below, "aligned": self.aligned, "focused": self.has_focus}
            self._drawing = drawn = draw(self.figure, width, height, **options, button=self.BUTTON, keys=self.keys)
            self._strips = []
        return drawn

    def render_line(self, y: int) -> Strip:
        """A row of the drawing."""
        drawing = self._drawn()
        if not self._strips:
            palette = palette_of(self)
            self._strips = [
                Strip([Segment(text, style(look, palette)) for text, look in line], drawing.canvas.width)
                for line in drawing.canvas.spans()
            ]
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width, self.rich_style)

    # -- mouse

    def _zoom(self, event: events.MouseEvent, factor: float) -> None:
        event.stop()
        event.prevent_default()
        plot = self.plot
        column = min(max(event.x, plot.left), plot.left + plot.width)
        x = plot.x_at(column - 0.5)
        self.post_message(self.ViewChanged(x - (x - plot.low) * factor, x + (plot.high - x) * factor))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in around the pointer."""
        self._zoom(event, 1 / ZOOM)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out around the pointer."""
        self._zoom(event, ZOOM)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Start dragging."""
        if event.button == 1 and self.plot.inside(event.x) and event.y >= self.plot.top:
            self._drag = (self.plot.low, self.plot.high, event.x)
            self.capture_mouse()

    def on_mouse_up(self) -> None:
        """Stop dragging."""
        self._drag = None
        self.release_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Pan, or move the cursor."""
        plot = self.plot
        if self._drag is not None:
            low, high, start = self._drag
            moved = (start - event.x) * (high - low) / max(plot.width, 1)
            if event.x != start:
                self.post_message(self.ViewChanged(low + moved, high + moved))
        elif plot.inside(event.x) and event.y >= plot.top:
            self._hovered = True
            self.post_message(self.CursorMoved(plot.x_at(event.x)))
        else:
            self.on_leave()

    def on_leave(self) -> None:
        """Remove the cursor if the pointer set it; one set by keys stays."""
        if self._hovered:
            self._hovered = False
            self.post_message(self.CursorMoved(None))

    def on_click(self, event: events.Click) -> None:
        """Show all on a double click; enlarge on the button."""
        if event.y == 0 and event.x >= self.size.width - len(enlarge_button(self.keys)):
            self.post_message(self.Enlarge(self))
        elif event.chain == 2 and event.y > 0:
            self.post_message(self.ViewChanged(None, None))


def differences(before: Canvas, after: Canvas) -> list[Region] | None:
    """The cells that differ, one region per row; None if that is nearly all, or the sizes differ."""
    if (before.width, before.height) != (after.width, after.height):
        return None
    differs = (before.codes != after.codes) | (before.looks != after.looks)
    rows = np.flatnonzero(differs.any(axis=1))
    if differs.sum() * 2 > differs.size:
        return None
    regions = []
    for row in rows.tolist():
        columns = np.flatnonzero(differs[row])
        first, last = int(columns[0]), int(columns[-1])
        first -= int(first > 0)  # the other half of a wide character
        regions.append(Region(first, row, min(last + 2, after.width) - first, 1))
    return regions


class Palette(NamedTuple):
    """The colours of a theme that a chart uses."""

    front: str
    ground: str
    bar: str
    accent: str
    warning: str
    dark: bool


def palette_of(widget: Widget) -> Palette:
    """The colours of the current theme for a widget. Asking for its style is slow: do it once for each drawing."""
    theme, own = widget.app.current_theme, widget.rich_style
    front, ground = Color.from_rich_color(own.color).hex6, Color.from_rich_color(own.bgcolor).hex6
    accent, warning = theme.accent or theme.primary, theme.warning or theme.primary
    return Palette(front, ground, theme.panel or ground, accent, warning, theme.dark)


@lru_cache(1024)
def style(look: int, palette: Palette) -> Style:
    """The style of a look."""
    ground, front = Color.parse(palette.bar if look & looks.BAR else palette.ground), Color.parse(palette.front)
    kind = look & looks.KIND
    named = {
        looks.PLAIN: front,
        looks.MUTED: ground.blend(front, 0.62),
        looks.TITLE: front,
        looks.WARNING: Color.parse(palette.warning),
        looks.LEVEL: ground.blend(front, 0.85),
        looks.FOCUS: Color.parse(palette.accent),
    }
    color = named[kind] if kind in named else Color.parse(curve_color(kind - looks.CURVE, palette.dark))
    if look & looks.DIM:
        color = ground.blend(color, 0.42)
    return Style.from_color(color.rich_color, ground.rich_color) + Style(
        bold=bool(look & looks.BOLD), reverse=bool(look & looks.REVERSE)
    )
