"""Draw a figure into character cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len

from crild_tui.charts import axes, legend, raster, scale, ticks
from crild_tui.charts.axes import PlotArea
from crild_tui.charts.canvas import BOLD, DIM, FOCUS, LEVEL, MUTED, PLAIN, REVERSE, Canvas, curve_look
from crild_tui.charts.figure import BEST, Figure, Line, View
from crild_tui.charts.traces import DotColumns, Trace, columns, logarithms
from crild_tui.monitor.curves import Floats
from crild_tui.runs.states import KeyNames
from crild_tui.text import shorten

ROOMY = 9
"""Rows from which the legend has its own line."""
FRAMED = 12
"""Rows from which a line is drawn below the plot."""
ABOVE, BELOW = "▲", "▼"
KEYS: KeyNames = {"panel.enlarge": "z", "panel.reset": "0", "panel.stages": "a"}
"""The keys that a drawing names."""
CRAMPED = 5
"""Rows below which there is no x axis."""


def enlarge_button(keys: KeyNames) -> str:
    """The button in the title bar that enlarges the chart: it shows the key that does the same."""
    return f"[{keys['panel.enlarge']}]"


@dataclass(frozen=True, eq=False)
class Drawing:
    """A drawn figure, and where the plot is in it."""

    canvas: Canvas
    plot: PlotArea


@dataclass(frozen=True, eq=False)
class Curve:
    """A line cut to the chart; powers of ten on a log scale."""

    line: Line
    shown: DotColumns
    behind: DotColumns | None


def draw(
    figure: Figure,
    width: int,
    height: int,
    *,
    ticks_below: bool = True,
    aligned: bool = False,
    focused: bool = False,
    button: bool = True,
    keys: KeyNames = KEYS,
) -> Drawing:
    """The figure in `width` × `height` cells.

    `ticks_below`: whether it has an x axis; a chart below it may have the same one. `aligned`: whether the plot is where
    other charts of this size have theirs, so that charts above each other line up. `button`: whether its title bar has the
    button that enlarges it.
    """
    canvas = Canvas(max(width, 0), max(height, 0))
    ticks_below = ticks_below and height >= CRAMPED
    roomy, framed = height >= ROOMY, height >= FRAMED and ticks_below
    top = 2 if roomy else 1
    rows = max(height - top - int(ticks_below) - int(framed), 0)
    left, right = axes.gutters(figure, width, aligned=aligned)
    plot = PlotArea(left, top, max(width - left - right, 0), rows, figure.view.low, figure.view.high)
    across = plot.width * raster.ACROSS
    curves = [_cut(line, figure, across) for line in figure.lines] if across else []
    seen = [curve for curve in curves if curve.shown.inside(across).any()]
    beyond: list[str] = []
    if rows and plot.width:
        if figure.lines or figure.levels:
            outside = figure.outside
            if figure.levels or not outside:
                beyond = _plot(canvas, figure, plot, seen)
            if outside:
                _write(canvas, plot, f"nothing in this part ({keys['panel.reset']} shows all)")
            if ticks_below:
                axes.draw_x_axis(canvas, figure, plot, framed=framed)
        else:
            _write(canvas, plot, figure.empty)
    named = enlarge_button(keys) if button else ""
    legend.draw_heading(canvas, figure, plot, beyond, roomy=roomy, focused=focused, button=named)
    return Drawing(canvas, plot)


def _write(canvas: Canvas, plot: PlotArea, sentence: str) -> None:
    """A sentence in the middle of an empty plot."""
    words = shorten(sentence, canvas.width - 2)
    canvas.put(plot.top + plot.height // 2, max((canvas.width - cell_len(words)) // 2, 0), words, MUTED)


def _cut(line: Line, figure: Figure, across: int) -> Curve:
    def cut(curve: Trace) -> DotColumns:
        dots = columns(curve, figure.view.low, figure.view.high, across, line.breaks).without(line.hidden)
        return logarithms(dots) if figure.log and not line.own_scale else dots

    return Curve(line, cut(line.trace), None if line.behind is None else cut(line.behind))


def _plot(canvas: Canvas, figure: Figure, plot: PlotArea, curves: Sequence[Curve]) -> list[str]:
    """Draw everything inside the axes; returns notes on values outside the scale."""
    rows, across = plot.height * raster.DOWN, plot.width * raster.ACROSS
    axis, (least, largest) = _value_scale(figure, curves, across)
    layers: list[raster.Layer] = []
    strokes: list[tuple[Line, raster.Stroke]] = []
    own_top = None
    for curve in curves:
        low, high = axis.low, axis.high
        if curve.line.own_scale:
            low, high = 0.0, _largest(curve.shown, across)
            own_top = (high, curve.line.color)
        drawn = raster.stroke(curve.shown, across, rows, low, high)
        strokes.append((curve.line, drawn))
        look = curve_look(curve.line.color)
        layers.append(raster.Layer(_cells(drawn, rows), look, 1 if curve.line.own_scale else 2))
        if curve.behind is not None:
            raw = raster.stroke(curve.behind, across, rows, low, high)
            layers.append(raster.Layer(_cells(raw, rows), look | DIM, 0))
    level_rows = [_row(axis, level.value, rows) for level in figure.levels]
    layers += [
        raster.Layer(raster.cells(raster.dashes(across, rows, row)), LEVEL, 0) for row in level_rows if row is not None
    ]
    codes, looks = raster.compose(layers, plot.height, plot.width)
    area = np.s_[plot.top : plot.top + plot.height, plot.left : plot.left + plot.width]
    canvas.codes[area] = codes
    canvas.looks[area] = np.where(looks < 0, PLAIN, looks)

    axes.draw_y_axis(canvas, axis.times(figure.unit), plot)
    axes.draw_borders(canvas, figure, plot)
    _markers(canvas, plot, strokes)
    _stars(canvas, figure, plot, axis)
    axes.draw_stage_names(canvas, figure, plot)
    _cursor(canvas, figure, plot)
    named = [
        (level, row // raster.DOWN) for level, row in zip(figure.levels, level_rows, strict=True) if row is not None
    ]
    axes.draw_level_names(canvas, figure, named, plot)
    if own_top is not None:
        axes.draw_own_scale(canvas, plot, *own_top)
    return [
        f"{sign} {ticks.short(value * figure.unit)}"
        for sign, value in ((ABOVE, largest), (BELOW, least))
        if not figure.log and (value > axis.high or value < axis.low)
    ]


def _cells(drawn: raster.Stroke, rows: int) -> raster.Bits:
    return raster.cells(raster.dots(drawn, rows))


def _value_scale(figure: Figure, curves: Sequence[Curve], across: int) -> tuple[scale.Scale, tuple[float, float]]:
    """The scale of the values, and the smallest and the largest one, which may be outside a linear scale."""
    cuts = [
        cut for curve in curves if not curve.line.own_scale for cut in (curve.shown, curve.behind) if cut is not None
    ]
    values = _values(cuts, 0, across)
    levels = [level.value for level in figure.levels]
    if not len(values):
        return scale.fitted(levels, log=figure.log), (np.nan, np.nan)
    least, largest = float(values.min()), float(values.max())
    if figure.scaled is not None:
        part = _values(cuts, *_columns_of(figure.scaled, figure.view, across))
        values = part if len(part) else values
    if figure.log:
        least, largest = float(values.min()), float(values.max())
        return scale.fitted([*levels, 10**least, 10**largest], log=True), (np.nan, np.nan)
    spiky = not any(curve.line.dots for curve in curves)
    shown = scale.without_spikes(values) if spiky else (least, largest)
    return scale.fitted([*levels, *shown]), (least, largest)


def _values(cuts: Sequence[DotColumns], first: int, end: int) -> Floats:
    """The smallest and largest values in the dot columns from `first` to before `end`."""
    chosen = [(cut, cut.inside(end) & (cut.index >= first)) for cut in cuts]
    return np.concatenate([np.empty(0), *(bound[inside] for cut, inside in chosen for bound in (cut.low, cut.high))])


def _columns_of(part: View, view: View, across: int) -> tuple[int, int]:
    """The first dot column of a part of the x axis, and the one after its last; its first point is after its border."""
    span = view.high - view.low
    first, last = ((x - view.low) / span * across for x in (part.low, part.high))
    return max(int(first) + 1, 0), min(int(last) + 1, across)


def _largest(cut: DotColumns, across: int) -> float:
    inside = cut.inside(across)
    top = float(cut.high[inside].max(initial=0.0))
    return top if top > 0 else 1.0


def _row(axis: scale.Scale, value: float, rows: int) -> int | None:
    """The dot row of a value; None outside the scale."""
    share = float(axis.position(np.array([value]))[0])
    return round((1 - share) * (rows - 1)) if 0 <= share <= 1 else None


def _markers(canvas: Canvas, plot: PlotArea, strokes: Sequence[tuple[Line, raster.Stroke]]) -> None:
    """Markers along the curves, in different columns for each; on every point if points are figures and few."""
    taken: set[tuple[int, int]] = set()
    for number, (line, drawn) in enumerate(strokes):
        for column in _marker_columns(line, number, len(strokes), plot):
            dot = column if line.dots else column * raster.ACROSS
            row = drawn.middle(min(dot, len(drawn.top) - 1))
            cell = column // raster.ACROSS if line.dots else column
            if row is None or (row // raster.DOWN, cell) in taken:
                continue
            taken.add((row // raster.DOWN, cell))
            canvas.put(plot.top + row // raster.DOWN, plot.left + cell, line.marker, curve_look(line.color))


def _marker_columns(line: Line, number: int, lines: int, plot: PlotArea) -> list[int]:
    """Cells, or dot columns for points, that have a marker."""
    if line.dots:
        cut = columns(line.trace, plot.low, plot.high, plot.width * raster.ACROSS)
        points = np.unique(cut.index[cut.inside(plot.width * raster.ACROSS)])
        every = max(1, -(-len(points) * 4 // max(plot.width, 1)))
        return [int(column) for column in points[::-1][::every]]
    if lines < 2:
        return []
    apart = max(plot.width // 4, 2 * lines, 8)
    first = (2 * number + 1) * apart // (2 * lines)
    return list(range(first, plot.width, apart))


def _stars(canvas: Canvas, figure: Figure, plot: PlotArea, axis: scale.Scale) -> None:
    for mark in figure.marks:
        column = plot.column_of(mark.x)
        if mark.value is None or column is None:
            continue
        row = _row(axis, mark.value, plot.height * raster.DOWN)
        if row is not None:
            canvas.put(plot.top + row // raster.DOWN, column, BEST, curve_look(mark.color) | BOLD)


def _cursor(canvas: Canvas, figure: Figure, plot: PlotArea) -> None:
    column = None if figure.cursor is None else plot.column_of(figure.cursor)
    if column is None:
        return
    for row in range(plot.top, plot.top + plot.height):
        if canvas.codes[row, column] in (ord(" "), ord(axes.BORDER)):
            canvas.put(row, column, "│", FOCUS)
        else:
            canvas.looks[row, column] |= REVERSE
