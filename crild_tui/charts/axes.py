"""The axes of a chart: where the plot is, ticks, the names of stages and levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from rich.cells import cell_len

from crild_tui.charts import ticks
from crild_tui.charts.canvas import BOLD, DIM, FOCUS, LEVEL, MUTED, REVERSE, Canvas, curve_look
from crild_tui.charts.figure import Figure, Level, Mark
from crild_tui.charts.scale import Scale
from crild_tui.monitor.curves import Axis
from crild_tui.text import shorten, shorten_name

GUTTER = 7
"""Cells at the left for the tick labels, the same in every chart so that charts above each other line up."""
LABELLED = 100
"""Columns from which levels are named in full at the right; below, a letter stands for each name."""
SHORT = 8
"""Cells at the right for a letter and a figure."""
LONGEST_LEVEL = 20
BORDER = "┊"
_BLANK = ord(" ")


@dataclass(frozen=True)
class PlotArea:
    """Where the plot is in the chart, in cells, and which part of the x axis it shows."""

    left: int
    top: int
    width: int
    height: int
    low: float
    high: float

    def x_at(self, column: float) -> float:
        """The x below the middle of a column of cells."""
        share = (column - self.left + 0.5) / max(self.width, 1)
        return self.low + share * (self.high - self.low)

    def inside(self, column: int) -> bool:
        """Whether a column of cells belongs to the plot."""
        return self.left <= column < self.left + self.width

    def column_of(self, x: float) -> int | None:
        """The column of cells that shows an x; None outside the plot."""
        if not self.low <= x <= self.high or not self.width:
            return None
        return self.left + min(int((x - self.low) / (self.high - self.low) * self.width), self.width - 1)


def gutters(figure: Figure, width: int, *, aligned: bool) -> tuple[int, int]:
    """Cells left and right of the plot for tick labels and levels; `aligned`: the same for every chart."""
    left = GUTTER if width >= 4 * GUTTER else width // 4
    if width < 4 * GUTTER:
        return left, 1
    if figure.levels and width >= LABELLED and not aligned:
        widest = max(cell_len(_level_label(figure, level, full=True)) for level in figure.levels)
        return left, min(widest, LONGEST_LEVEL) + 1
    needed = aligned or figure.levels or any(line.own_scale for line in figure.lines)
    return left, SHORT + 1 if needed else 1


# -- ticks


def draw_y_axis(canvas: Canvas, axis: Scale, plot: PlotArea) -> None:
    """The scale at the left; `axis` is in the unit in which values are written."""
    edge = plot.left - 1
    if edge < 0:
        return
    for row in range(plot.top, plot.top + plot.height):
        canvas.put(row, edge, "│", MUTED | DIM)
    values = ticks.ticks(axis, (plot.height + 2) // (2 if plot.height < 8 else 3))
    taken = set()
    for value, label in zip(values, ticks.tick_words(values, log=axis.log), strict=True):
        share = float(axis.position(np.array([value]))[0])
        if not 0 <= share <= 1:
            continue
        row = plot.top + min(int((1 - share) * plot.height), plot.height - 1)
        if row in taken:
            continue
        taken.add(row)
        shown = label if len(label) <= edge else f"…{label[len(label) - edge + 1 :]}"  # the last digits differ
        canvas.put(row, max(edge - len(shown), 0), shown[:edge], MUTED)
        canvas.put(row, edge, "┤", MUTED | DIM)


def draw_own_scale(canvas: Canvas, plot: PlotArea, top: float, color: int) -> None:
    """The ends of a curve's own scale at the right, in its colour."""
    column = plot.left + plot.width
    room = canvas.width - column
    if room < 4 or plot.height < 2:
        return
    look = curve_look(color)
    canvas.put(plot.top, column, "┤" + shorten(ticks.short(top), room - 1), look)
    canvas.put(plot.top + plot.height - 1, column, "┤0", look)


def draw_x_axis(canvas: Canvas, figure: Figure, plot: PlotArea, *, framed: bool) -> None:
    """The axis below the plot with its name and ticks, and the position of the cursor."""
    row = plot.top + plot.height + int(framed)
    if framed:
        canvas.put(row - 1, plot.left - 1, "└" + "─" * plot.width, MUTED | DIM)
    name = figure.across or figure.axis
    canvas.put(row, max(plot.left - 2 - len(name), 0), name, MUTED, limit=max(plot.left - 1, 0))
    most = max(plot.width // 10, 1)
    values = (ticks.time_ticks if figure.axis == "time" else ticks.linear_ticks)(plot.low, plot.high, most)
    if figure.axis == "step":
        values = [value for value in values if value == int(value)] or values  # there is no half step
    labels = ticks.time_words(values) if figure.axis == "time" else ticks.tick_words(values)
    free = plot.left - 1
    for value, label in zip(values, labels, strict=True):
        column = plot.column_of(value)
        if column is None or value < 0:
            continue
        start = _centred(label, column, plot)
        if start <= free:
            continue
        free = canvas.put(row, start, label, MUTED)
        if framed:
            canvas.put(row - 1, column, "┬", MUTED | DIM)
    if figure.cursor is not None and (column := plot.column_of(figure.cursor)) is not None:
        label = f" {axis_value(figure.axis, figure.cursor)} "
        canvas.put(row, max(_centred(label, column, plot), 0), label, FOCUS | REVERSE)


def _centred(label: str, column: int, plot: PlotArea) -> int:
    return min(max(column - len(label) // 2, plot.left), plot.left + plot.width - len(label))


def axis_value(axis: Axis, value: float) -> str:
    """A position on the axis as text: 1,234, 2.35 or 1:02."""
    if axis == "time":
        return ticks.clock(max(value, 0))
    return f"{value:,.0f}" if axis == "step" else f"{value:.2f}"


# -- stages and levels


def draw_borders(canvas: Canvas, figure: Figure, plot: PlotArea) -> None:
    """A line where each stage begins, behind the curves."""
    for _, column, _ in _stages(figure, plot):
        if column > plot.left:
            for row in range(plot.top, plot.top + plot.height):
                if canvas.codes[row, column] == _BLANK:
                    canvas.put(row, column, BORDER, MUTED)


def draw_stage_names(canvas: Canvas, figure: Figure, plot: PlotArea) -> None:
    """Each stage's name next to its border, in the row where it hides least, preferring the top."""
    for mark, column, after in _stages(figure, plot):
        start = column + int(column > plot.left)
        name = shorten_name(mark.label, after - start)
        width = cell_len(name)
        if width < 2 or plot.height < 3:
            continue
        rows = [plot.top + row for row in (0, plot.height - 1, 1) if row < plot.height]
        hidden = {row: int((canvas.codes[row, start : start + width] != _BLANK).sum()) for row in rows}
        best = min(rows, key=lambda row: hidden[row])
        if hidden[best] * 4 <= width:
            canvas.put(best, start, name, MUTED, limit=after)


def _stages(figure: Figure, plot: PlotArea) -> list[tuple[Mark, int, int]]:
    """The stages in view, with the columns where each and the next one begin."""
    marks = sorted((mark for mark in figure.marks if mark.value is None), key=lambda mark: mark.x)
    stages = []
    for mark, end in zip(marks, [*(mark.x for mark in marks), np.inf][1:], strict=True):
        column = plot.column_of(max(mark.x, plot.low))
        if column is not None and plot.low < end and mark.x < end:
            after = plot.column_of(end)
            stages.append((mark, column, plot.left + plot.width if after is None else after))
    return stages


def draw_level_names(canvas: Canvas, figure: Figure, levels: Sequence[tuple[Level, int]], plot: PlotArea) -> None:
    """The levels' names at the right, moved apart if they would share a row."""
    room = canvas.width - plot.left - plot.width
    ordered = sorted(levels, key=lambda pair: pair[1])
    rows = [row for _, row in ordered]
    for index, (upper, lower) in enumerate(pairwise(rows)):
        if lower <= upper:
            rows[index + 1] = upper + 1
    over = max((rows[-1] if rows else 0) - plot.height + 1, 0)
    for (level, _), row in zip(ordered, rows, strict=True):
        label = _level_label(figure, level, full=room > SHORT + 1) if room > SHORT else level.sign
        column = plot.left + plot.width + int(room > 1)
        canvas.put(plot.top + max(row - over, 0), column, shorten(label, room - 1), LEVEL | BOLD)


def _level_label(figure: Figure, level: Level, *, full: bool) -> str:
    return f"{level.label if full else level.sign} {figure.text(level.value)}"
