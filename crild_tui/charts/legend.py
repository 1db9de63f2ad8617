"""The title bar of a chart and its legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.cells import cell_len

from crild_tui.charts.axes import SHORT, PlotArea
from crild_tui.charts.canvas import BAR, BOLD, LEVEL, MUTED, PLAIN, REVERSE, TITLE, WARNING, Canvas, curve_look
from crild_tui.charts.figure import BEST, Figure, Line
from crild_tui.runs import formatting
from crild_tui.text import shorten, shorten_name

ROOMY = 70
"""Cells from which a title bar has room for the legend and for the smoothing."""
SHORTEST = 6
"""Cells of a label below which its curve is only counted."""


def draw_heading(
    canvas: Canvas,
    figure: Figure,
    plot: PlotArea,
    beyond: Sequence[str],
    *,
    roomy: bool,
    focused: bool,
    button: str,
) -> None:
    """The title bar, and the legend: below it if there is room, else in it. `beyond` names values outside the scale.

    `button` is at the right of the title.
    """
    end = canvas.width
    if end >= 24:
        end -= cell_len(button)
        canvas.put(0, end, button, MUTED)
    for words, look in [*_notes(figure, roomy=roomy or end >= ROOMY), *((words, MUTED | BOLD) for words in beyond)]:
        if end - cell_len(words) - 2 > canvas.width // 2:
            end -= cell_len(words) + 1
            canvas.put(0, end, words, look)
    most = end - 2 if roomy else max(canvas.width // 2, 12)
    title = f" {shorten(figure.title, most)} "
    after = canvas.put(0, 0, title, TITLE | BOLD | (REVERSE if focused else 0), limit=end)
    if not plot.height and not figure.lines:
        canvas.put(0, after + 1, shorten(figure.empty, max(end - after - 2, 0)), MUTED)
    elif roomy:
        _draw_legend(canvas, figure, plot, row=1, start=min(plot.left, 2), end=canvas.width)
    else:
        _draw_legend(canvas, figure, plot, row=0, start=after + 1, end=end - 1)
    canvas.paint(0, BAR)


def _notes(figure: Figure, *, roomy: bool) -> list[tuple[str, int]]:
    """What one must know to read the chart: smoothing, where the legend has room beside it; a log scale; hidden values."""
    notes = []
    low, high = figure.view.low, figure.view.high
    if roomy and figure.smoothing and figure.lines:
        notes.append((f"smoothed {figure.smoothing:g}", MUTED))
    if figure.log and figure.lines:
        notes.append(("log", MUTED | BOLD))
        hidden = sum(
            int(np.count_nonzero(line.points.within(low, high) <= 0)) for line in figure.lines if not line.own_scale
        )
        if hidden:
            notes.append((f"{hidden:,} not above 0", WARNING | BOLD))
    missing = sum(
        int(np.count_nonzero(np.isnan(line.points.within(low, high)))) for line in figure.lines if line.counted
    )
    if missing:
        notes.append((f"{missing:,} NaN", WARNING | BOLD))
    return notes


def _draw_legend(canvas: Canvas, figure: Figure, plot: PlotArea, *, row: int, start: int, end: int) -> None:
    lines = [line for line in figure.lines if not _is_over(figure, line)]
    entries = [
        (line.marker, curve_look(line.color), line.label, value_text(figure, line) if line.has_value else "")
        for line in lines
    ]
    stars = [mark for mark in figure.marks if mark.value is not None]
    if len(stars) == 1 and entries:
        look = curve_look(stars[0].color) | BOLD
        entries.insert(1, (BEST, look, stars[0].label, figure.text(stars[0].value or 0.0)))
    if canvas.width - plot.left - plot.width <= SHORT + 1:  # the level itself has only a letter
        entries += [(level.sign, LEVEL, level.label, "") for level in figure.levels]
    for index, (marker, look, label, value) in enumerate(entries):
        rest = len(entries) - index
        spare = 0 if rest == 1 else 4
        room = end - start - spare - len(marker) - len(value) - 2
        if room < min(SHORTEST, cell_len(label)):
            canvas.put(row, start, f"+{rest}", MUTED, limit=end)
            return
        start = canvas.put(row, start, marker, look | BOLD)
        start = canvas.put(row, start + 1, shorten_name(label, min(room, 28)), PLAIN)
        start = canvas.put(row, start + 1, value, look) + 2


def _is_over(figure: Figure, line: Line) -> bool:
    """Whether a curve ended before the part in view."""
    return line.points.newest(since=figure.view.low) is None and line.points.newest() is not None


def value_text(figure: Figure, line: Line) -> str:
    """The curve's value at the cursor, or at its end."""
    if figure.cursor is None:
        value = line.last
    elif line.dots:
        value = line.trace.newest(figure.cursor)
    else:  # a term without a value in this stage has none
        index = int(np.searchsorted(line.trace.x, figure.cursor, "right")) - 1
        value = None if index < 0 or np.isnan(line.trace.y[index]) else float(line.trace.y[index])
    if value is None:
        return formatting.NONE
    return formatting.number(value) if line.own_scale else figure.text(value)
