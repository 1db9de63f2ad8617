"""What stands around the curves of a chart: title, legend, ticks, names of stages and levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from rich.cells import cell_len

from crild_tui.charts import scale
from crild_tui.charts.canvas import (
    BAR,
    BOLD,
    DIM,
    FOCUS,
    LEVEL,
    MUTED,
    PLAIN,
    REVERSE,
    TITLE,
    WARNING,
    Canvas,
    curve_look,
    fit,
)
from crild_tui.charts.figure import BEST, Figure, Level, Line, Mark
from crild_tui.monitor.curves import Axis
from crild_tui.runs import formatting
from crild_tui.runs.states import KeyNames

GUTTER = 7
"""Cells at the left for the words of the scale, so that charts above each other line up."""
LABELLED = 100
"""From so many columns on, levels are named in full at the right; below, a letter stands for each name."""
SHORT = 7
"""Cells at the right for a letter and a figure."""
LONGEST_LEVEL = 20
BORDER = "┊"
BLANK = ord(" ")


@dataclass(frozen=True)
class Place:
    """Where the plot lies in the chart, in cells, and what part of the axis it shows."""

    left: int
    top: int
    width: int
    height: int
    low: float
    high: float

    def x_at(self, column: float) -> float:
        """The place on the axis below the middle of a column of cells."""
        share = (column - self.left + 0.5) / max(self.width, 1)
        return self.low + share * (self.high - self.low)

    def inside(self, column: int) -> bool:
        """Whether a column of cells belongs to the plot."""
        return self.left <= column < self.left + self.width

    def column_of(self, x: float) -> int | None:
        """The column of cells that shows a place on the axis; None where it is outside."""
        if not self.low <= x <= self.high or not self.width:
            return None
        return self.left + min(int((x - self.low) / (self.high - self.low) * self.width), self.width - 1)


def gutters(figure: Figure, width: int, *, aligned: bool) -> tuple[int, int]:
    """Cells left and right of the plot, for the words of its scales and levels; `aligned`: the same for every chart."""
    left = GUTTER if width >= 4 * GUTTER else width // 4
    if width < 4 * GUTTER:
        return left, 1
    if figure.levels and width >= LABELLED and not aligned:
        return left, min(max(cell_len(_level_words(level, full=True)) for level in figure.levels), LONGEST_LEVEL) + 1
    needed = aligned or figure.levels or any(line.own_scale for line in figure.lines)
    return left, SHORT + 1 if needed else 1


def say(canvas: Canvas, place: Place, sentence: str) -> None:
    """A sentence in the middle of an empty plot."""
    words = fit(sentence, canvas.width - 2)
    canvas.put(place.top + place.height // 2, max((canvas.width - cell_len(words)) // 2, 0), words, MUTED)


# -- title and legend


def button(keys: KeyNames) -> str:
    """The button at the right of the title, which enlarges the chart, with the key that does the same."""
    return f"[{keys['panel.enlarge']}]"


def heading(
    canvas: Canvas,
    figure: Figure,
    place: Place,
    beyond: Sequence[str],
    *,
    roomy: bool,
    focused: bool,
    button: str,
) -> None:
    """The title in a bar of its own, and the legend: below it where there is room, else in the bar."""
    end = canvas.width
    if end >= 24:
        end -= cell_len(button)
        canvas.put(0, end, button, MUTED)
    for words, look in [*_notes(figure), *((words, MUTED | BOLD) for words in beyond)]:
        if end - cell_len(words) - 2 > canvas.width // 2:
            end -= cell_len(words) + 1
            canvas.put(0, end, words, look)
    after = canvas.put(
        0,
        0,
        f" {fit(figure.title, max(canvas.width // 2, 12))} ",
        TITLE | BOLD | (REVERSE if focused else 0),
        limit=end,
    )
    if roomy:
        _legend(canvas, figure, place, row=1, start=min(place.left, 2), end=canvas.width)
    else:
        _legend(canvas, figure, place, row=0, start=after + 1, end=end - 1)
    if not place.height and not figure.lines:
        canvas.put(0, after + 1, fit(figure.empty, max(end - after - 2, 0)), MUTED)
    canvas.paint(0, BAR)


def _notes(figure: Figure) -> list[tuple[str, int]]:
    """What must be known to read the chart."""
    notes = []
    low, high = figure.view.low, figure.view.high
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


def _legend(
    canvas: Canvas,
    figure: Figure,
    place: Place,
    *,
    row: int,
    start: int,
    end: int,
) -> None:
    entries = [(line.marker, curve_look(line.color), line.label, _value(figure, line)) for line in figure.lines]
    stars = [mark for mark in figure.marks if mark.value is not None]
    if len(stars) == 1 and entries:
        entries.insert(1, (BEST, star_look(stars[0]), stars[0].label, _words(figure, stars[0].value or 0.0)))
    if canvas.width - place.left - place.width <= SHORT + 1:  # only a letter stands at the level
        entries += [(level.sign, LEVEL, level.label, "") for level in figure.levels]
    for number, (marker, look, label, value) in enumerate(entries):
        rest = len(entries) - number
        spare = 0 if rest == 1 else 4
        room = end - start - spare - len(marker) - len(value) - 2
        words = fit(label, min(room, 28))
        if room < min(3, cell_len(label)):
            canvas.put(row, start, f"+{rest}", MUTED, limit=end)
            return
        start = canvas.put(row, start, marker, look | BOLD)
        start = canvas.put(row, start + 1, words, PLAIN)
        start = canvas.put(row, start + 1, value, look) + 2


def _value(figure: Figure, line: Line) -> str:
    """What the curve shows at the cursor, or at its end."""
    if figure.cursor is None:
        value = line.last
    elif line.dots:
        value = line.trace.newest(figure.cursor)
    else:  # a term that has no value in this stage has none
        index = int(np.searchsorted(line.trace.x, figure.cursor, "right")) - 1
        value = None if index < 0 or np.isnan(line.trace.y[index]) else float(line.trace.y[index])
    return formatting.NONE if value is None else _words(figure, value)


def _words(figure: Figure, value: float) -> str:
    return formatting.metric(value) if figure.words == "metric" and abs(value) < 1e4 else formatting.loss(value)


# -- scales


def value_ticks(canvas: Canvas, axis: scale.Scale, place: Place) -> None:
    """The scale at the left."""
    edge = place.left - 1
    if edge < 0:
        return
    for row in range(place.top, place.top + place.height):
        canvas.put(row, edge, "│", MUTED | DIM)
    values = scale.ticks(axis, (place.height + 2) // (2 if place.height < 8 else 3))
    taken = set()
    for value, words in zip(values, scale.tick_words(values, log=axis.log), strict=True):
        share = float(axis.place(np.array([value]))[0])
        if not 0 <= share <= 1:
            continue
        row = place.top + min(int((1 - share) * place.height), place.height - 1)
        if row in taken:
            continue
        taken.add(row)
        shown = words if len(words) <= edge else f"…{words[len(words) - edge + 1 :]}"  # the last digits differ
        canvas.put(row, max(edge - len(shown), 0), shown[:edge], MUTED)
        canvas.put(row, edge, "┤", MUTED | DIM)


def below(canvas: Canvas, figure: Figure, place: Place, *, framed: bool) -> None:
    """The axis below the plot, with the name of what it counts, and the cursor's place."""
    row = place.top + place.height + int(framed)
    if framed:
        canvas.put(row - 1, place.left - 1, "└" + "─" * place.width, MUTED | DIM)
    canvas.put(row, max(place.left - 2 - len(figure.axis), 0), figure.axis, MUTED, limit=max(place.left - 1, 0))
    most = max(place.width // 10, 1)
    low, high = place.low, place.high
    values = (scale.time_ticks if figure.axis == "time" else scale.linear_ticks)(low, high, most)
    words = scale.time_words(values) if figure.axis == "time" else scale.tick_words(values)
    start = place.left - 1
    for value, word in zip(values, words, strict=True):
        column = place.column_of(value)
        if column is None or value < 0:
            continue
        at = min(max(column - len(word) // 2, place.left), place.left + place.width - len(word))
        if at <= start:
            continue
        start = canvas.put(row, at, word, MUTED)
        if framed:
            canvas.put(row - 1, column, "┬", MUTED | DIM)
    if figure.cursor is not None and (column := place.column_of(figure.cursor)) is not None:
        word = f" {axis_value(figure.axis, figure.cursor)} "
        at = min(max(column - len(word) // 2, place.left), place.left + place.width - len(word))
        canvas.put(row, max(at, 0), word, FOCUS | REVERSE)


def axis_value(axis: Axis, value: float) -> str:
    """A place on the axis in words: 1,234, 2.35 or 1:02."""
    if axis == "time":
        return scale.clock(max(value, 0))
    return f"{value:,.0f}" if axis == "step" else f"{value:.2f}"


# -- stages, levels, the best


def stages(figure: Figure, place: Place) -> list[tuple[Mark, int, int]]:
    """The stages in view, with the columns where each begins and the next one does."""
    marks = sorted((mark for mark in figure.marks if mark.value is None), key=lambda mark: mark.at)
    found = []
    for mark, end in zip(marks, [*(mark.at for mark in marks), np.inf][1:], strict=True):
        column = place.column_of(max(mark.at, place.low))
        if column is not None and place.low < end and mark.at < end:
            after = place.column_of(end)
            found.append((mark, column, place.left + place.width if after is None else after))
    return found


def borders(canvas: Canvas, figure: Figure, place: Place) -> None:
    """A line where each stage begins, behind the curves."""
    for _, column, _ in stages(figure, place):
        if column > place.left:
            for row in range(place.top, place.top + place.height):
                if canvas.codes[row, column] == BLANK:
                    canvas.put(row, column, BORDER, MUTED)


def stage_names(canvas: Canvas, figure: Figure, place: Place) -> None:
    """Each stage's name beside its border, in the row where it hides least, the upper ones first."""
    for mark, column, after in stages(figure, place):
        start = column + int(column > place.left)
        words = fit(mark.label, after - start)
        width = cell_len(words)
        if width < 2 or place.height < 3:
            continue
        rows = [place.top + row for row in (0, place.height - 1, 1) if row < place.height]
        hidden = {row: int((canvas.codes[row, start : start + width] != BLANK).sum()) for row in rows}
        best = min(rows, key=lambda row: hidden[row])
        if hidden[best] * 4 <= width:
            canvas.put(best, start, words, MUTED, limit=after)


def star_look(mark: Mark) -> int:
    """The look of the best point."""
    return curve_look(mark.color) | BOLD


def _level_words(level: Level, *, full: bool) -> str:
    words = formatting.metric(level.value)
    return f"{level.label} {words}" if full else f"{level.sign} {words.removeprefix('0')}"


def level_names(canvas: Canvas, levels: Sequence[tuple[Level, int]], place: Place) -> None:
    """The levels' names at the right, moved apart where they would share a row."""
    room = canvas.width - place.left - place.width
    rows = sorted(levels, key=lambda each: each[1])
    wanted = [row for _, row in rows]
    for at, (upper, lower) in enumerate(pairwise(wanted)):
        if lower <= upper:
            wanted[at + 1] = upper + 1
    over = max((wanted[-1] if wanted else 0) - place.height + 1, 0)
    for (level, _), row in zip(rows, wanted, strict=True):
        words = _level_words(level, full=room > SHORT + 1) if room > SHORT else level.sign
        column = place.left + place.width + int(room > 1)
        canvas.put(place.top + max(row - over, 0), column, fit(words, room - 1), LEVEL | BOLD)


def own_words(canvas: Canvas, place: Place, top: float, color: int) -> None:
    """The ends of a curve's own scale at the right, in its colour."""
    column = place.left + place.width
    room = canvas.width - column
    if room < 4 or place.height < 2:
        return
    look = curve_look(color)
    canvas.put(place.top, column, "┤" + fit(scale.short(top), room - 1), look)
    canvas.put(place.top + place.height - 1, column, "┤0", look)
