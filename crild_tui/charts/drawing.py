"""A figure drawn into character cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crild_tui.charts import axes, raster, scale
from crild_tui.charts.axes import Place
from crild_tui.charts.canvas import DIM, FOCUS, LEVEL, PLAIN, REVERSE, Canvas, curve_look
from crild_tui.charts.figure import BEST, Figure, Line
from crild_tui.charts.traces import Columns, Trace, columns, logarithms
from crild_tui.runs.states import KeyNames

ROOMY = 9
"""From so many rows on, the legend has a line of its own."""
FRAMED = 12
"""From so many rows on, a line is drawn below the plot."""
ABOVE, BELOW = "▲", "▼"
KEYS: KeyNames = {"panel.enlarge": "z", "panel.reset": "0"}
"""The keys that a drawing names."""
CRAMPED = 5
"""Below so many rows, no axis is written."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """A drawn figure, and where in it the plot lies."""

    canvas: Canvas
    place: Place


@dataclass(frozen=True, eq=False)
class Curve:
    """A line cut to the chart; powers of ten on a log scale."""

    line: Line
    shown: Columns
    behind: Columns | None


def draw(
    figure: Figure,
    width: int,
    height: int,
    *,
    ticks_below: bool = True,
    aligned: bool = False,
    focused: bool = False,
    keys: KeyNames = KEYS,
) -> Drawing:
    """The figure in `width` × `height` cells.

    `ticks_below`: whether the axis is written below it; not so above a chart that has the same one. `aligned`: whether
    the plot has the same place as in other charts of this size, so that they can stand above each other.
    """
    canvas = Canvas(max(width, 0), max(height, 0))
    ticks_below = ticks_below and height >= CRAMPED
    roomy, framed = height >= ROOMY, height >= FRAMED and ticks_below
    top = 2 if roomy else 1
    rows = max(height - top - int(ticks_below) - int(framed), 0)
    left, right = axes.gutters(figure, width, aligned=aligned)
    place = Place(left, top, max(width - left - right, 0), rows, figure.view.low, figure.view.high)
    across = place.width * raster.ACROSS
    curves = [_cut(line, figure, across) for line in figure.lines] if across else []
    seen = [curve for curve in curves if curve.shown.inside(across).any()]
    beyond: list[str] = []
    if rows and place.width:
        if figure.lines or figure.levels:
            outside = figure.outside
            if figure.levels or not outside:
                beyond = _plot(canvas, figure, place, seen)
            if outside:
                axes.say(canvas, place, f"nothing in this stretch ({keys['panel.reset']} shows all)")
            if ticks_below:
                axes.below(canvas, figure, place, framed=framed)
        else:
            axes.say(canvas, place, figure.empty)
    axes.heading(canvas, figure, place, beyond, roomy=roomy, focused=focused, button=axes.button(keys))
    return Drawing(canvas, place)


def _cut(line: Line, figure: Figure, across: int) -> Curve:
    def cut(curve: Trace) -> Columns:
        found = columns(curve, figure.view.low, figure.view.high, across, line.breaks).without(line.hidden)
        return logarithms(found) if figure.log and not line.own_scale else found

    return Curve(line, cut(line.trace), None if line.behind is None else cut(line.behind))


def _plot(canvas: Canvas, figure: Figure, place: Place, curves: Sequence[Curve]) -> list[str]:
    """Draw everything inside the scales; returns what must be said of values beyond them."""
    rows, across = place.height * raster.DOWN, place.width * raster.ACROSS
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
    codes, looks = raster.compose(layers, place.height, place.width)
    area = np.s_[place.top : place.top + place.height, place.left : place.left + place.width]
    canvas.codes[area] = codes
    canvas.looks[area] = np.where(looks < 0, PLAIN, looks)

    axes.value_ticks(canvas, axis, place)
    axes.borders(canvas, figure, place)
    _markers(canvas, place, strokes)
    _stars(canvas, figure, place, axis)
    axes.stage_names(canvas, figure, place)
    _cursor(canvas, figure, place)
    named = [
        (level, row // raster.DOWN) for level, row in zip(figure.levels, level_rows, strict=True) if row is not None
    ]
    axes.level_names(canvas, named, place)
    if own_top is not None:
        axes.own_words(canvas, place, *own_top)
    return [
        f"{sign} {scale.short(value)}"
        for sign, value in ((ABOVE, largest), (BELOW, least))
        if not figure.log and (value > axis.high or value < axis.low)
    ]


def _cells(drawn: raster.Stroke, rows: int) -> raster.Bits:
    return raster.cells(raster.dots(drawn, rows))


def _value_scale(figure: Figure, curves: Sequence[Curve], across: int) -> tuple[scale.Scale, tuple[float, float]]:
    """The scale of the values, and the least and the largest one, which on a linear scale may lie beyond it."""
    cuts = [
        (cut, cut.inside(across))
        for curve in curves
        if not curve.line.own_scale
        for cut in (curve.shown, curve.behind)
        if cut is not None
    ]
    values = np.concatenate([np.empty(0), *(bound[inside] for cut, inside in cuts for bound in (cut.low, cut.high))])
    levels = [level.value for level in figure.levels]
    if not len(values):
        return scale.fitted(levels, log=figure.log), (np.nan, np.nan)
    least, largest = float(values.min()), float(values.max())
    if figure.log:
        return scale.fitted([*levels, 10**least, 10**largest], log=True), (np.nan, np.nan)
    spiky = not any(curve.line.dots for curve in curves)
    shown = scale.without_spikes(values) if spiky else (least, largest)
    return scale.fitted([*levels, *shown]), (least, largest)


def _largest(cut: Columns, across: int) -> float:
    inside = cut.inside(across)
    top = float(cut.high[inside].max(initial=0.0))
    return top if top > 0 else 1.0


def _row(axis: scale.Scale, value: float, rows: int) -> int | None:
    """The dot row of a value; None where the scale cannot show it."""
    share = float(axis.place(np.array([value]))[0])
    return round((1 - share) * (rows - 1)) if 0 <= share <= 1 else None


def _markers(canvas: Canvas, place: Place, strokes: Sequence[tuple[Line, raster.Stroke]]) -> None:
    """Markers along the curves, each curve's at other columns; on every point where points are figures and few."""
    taken: set[tuple[int, int]] = set()
    for number, (line, drawn) in enumerate(strokes):
        for column in _marker_columns(line, number, len(strokes), place):
            dot = column if line.dots else column * raster.ACROSS
            row = drawn.at(min(dot, len(drawn.top) - 1))
            cell = column // raster.ACROSS if line.dots else column
            if row is None or (row // raster.DOWN, cell) in taken:
                continue
            taken.add((row // raster.DOWN, cell))
            canvas.put(place.top + row // raster.DOWN, place.left + cell, line.marker, curve_look(line.color))


def _marker_columns(line: Line, number: int, lines: int, place: Place) -> list[int]:
    """Cells, or dot columns for points, at which a marker stands."""
    if line.dots:
        cut = columns(line.trace, place.low, place.high, place.width * raster.ACROSS)
        points = np.unique(cut.at[cut.inside(place.width * raster.ACROSS)])
        every = max(1, -(-len(points) * 4 // max(place.width, 1)))
        return [int(column) for column in points[::-1][::every]]
    if lines < 2:
        return []
    apart = max(place.width // 4, 2 * lines, 8)
    first = (2 * number + 1) * apart // (2 * lines)
    return list(range(first, place.width, apart))


def _stars(canvas: Canvas, figure: Figure, place: Place, axis: scale.Scale) -> None:
    for mark in figure.marks:
        column = place.column_of(mark.at)
        if mark.value is None or column is None:
            continue
        row = _row(axis, mark.value, place.height * raster.DOWN)
        if row is not None:
            canvas.put(place.top + row // raster.DOWN, column, BEST, axes.star_look(mark))


def _cursor(canvas: Canvas, figure: Figure, place: Place) -> None:
    column = None if figure.cursor is None else place.column_of(figure.cursor)
    if column is None:
        return
    for row in range(place.top, place.top + place.height):
        if canvas.codes[row, column] in (ord(" "), ord(axes.BORDER)):
            canvas.put(row, column, "│", FOCUS)
        else:
            canvas.looks[row, column] |= REVERSE
