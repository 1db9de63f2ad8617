"""Runs side by side as lines of text: the table of final metrics, and what their presets set differently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.style import Style
from rich.text import Text

from crild_tui.charts.palette import curve_color, curve_marker
from crild_tui.runs import formatting
from crild_tui.runs.listing import cells, fitted, fitted_ends, one_line
from crild_tui.widgets.row_list import Line
from engine.preset.text import shown
from engine.report.compare import ABSENT, differences
from engine.report.sheet import Figure, Final, Row, Sheet

MOST = 12
"""Runs that are compared at once."""
BEST = "★"
LONGEST_NAME = 44
LONGEST_VALUE = 24

Places = Mapping[Path, int]
"""The runs that are compared, in their order, each with the number that its colour and marker come from."""


def assigned(before: Places, run_dirs: Sequence[Path]) -> dict[Path, int]:
    """A number for each run: one that stays keeps its own, a new one gets the lowest that is free."""
    wanted = list(dict.fromkeys(run_dirs))[:MOST]
    taken = {before[run_dir] for run_dir in wanted if run_dir in before}
    free = iter(number for number in range(MOST) if number not in taken)
    return {run_dir: before[run_dir] if run_dir in before else next(free) for run_dir in wanted}


def labels(run_dirs: Sequence[Path]) -> list[str]:
    """Short names of runs for a legend: without what all of them begin with, where that is long."""
    names = [run_dir.name for run_dir in run_dirs]
    common = 0
    if len(names) > 1 and max(map(len, names)) > 20:
        shortest = min(map(len, names))
        same = next((at for at in range(shortest) if len({name[at] for name in names}) > 1), shortest)
        common = max(names[0].rfind(mark, 0, same) for mark in "-_.") + 1
    return [one_line(f"…{name[common:]}" if common > 8 else name) for name in names]


def mark(number: int, *, dark: bool) -> Text:
    """The marker of a run in its colour."""
    return Text(curve_marker(number), Style(color=curve_color(number, dark), bold=True))


# -- final metrics


def sheet_lines(sheet: Sheet, finals: Sequence[Final], numbers: Sequence[int], *, dark: bool) -> list[Line]:
    """The table of final metrics: a line for each row, the runs with their markers."""
    rows = [row for row in sheet.rows if row.kind != "task"]
    name = min(max((cells(_name(row)) for row in rows), default=3), LONGEST_NAME)
    state = max((len(_state(row)) for row in rows), default=0)
    widths = {metric: _width(metric, rows) for metric in sheet.metrics}
    heading = f"    {fitted('run', name)} seed  " + (f"{'state':<{state}}  " if state else "")
    for metric, width in widths.items():
        heading += fitted(one_line(metric), width, right=True) + "   "
    lines = [Line(Text(heading, "bold"))]
    for row in sheet.rows:
        if row.kind == "task":
            lines.append(Line(Text(one_line(row.name), "bold underline")))
            continue
        text = Text("  ")
        text.append_text(Text(" ") if row.place is None else mark(numbers[row.place], dark=dark))
        style = {"mean": "bold", "model": "dim"}.get(row.kind, "")
        text.append(f" {fitted_ends(_name(row), name)} ", style)
        text.append(f"{'' if row.seed is None else row.seed:>4}  ")
        if state:
            text.append(f"{_state(row):<{state}}  ", "dim")
        for metric, width in widths.items():
            figure = row.figures.get(metric)
            best = figure is not None and figure.best
            text.append(_figure(figure).rjust(width), style or ("bold" if best else "dim" if row.state else ""))
            text.append(f" {BEST} " if best else "   ", "bold")
        lines.append(Line(text, None if row.place is None else finals[row.place].run_dir))
    lines += [Line(Text(f"{one_line(f.name)}: {one_line(f.problem)}", "bold")) for f in finals if f.problem]
    if any(row.state for row in rows):
        lines.append(
            Line(Text("Figures of runs that have not finished are their latest; no mean takes them in.", "dim"))
        )
    return lines


def _name(row: Row) -> str:
    return one_line(row.name)


def _state(row: Row) -> str:
    return one_line(row.state)


def _width(metric: str, rows: Sequence[Row]) -> int:
    figures = [row.figures[metric] for row in rows if metric in row.figures]
    return max(cells(one_line(metric)), *(len(_figure(figure)) for figure in figures), 6)


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return ""
    deviation = "" if figure.deviation is None else f" ± {figure.deviation:.4f}"
    return f"{formatting.metric(figure.value)}{deviation}"


# -- differences of presets


def difference_lines(finals: Sequence[Final], numbers: Sequence[int], *, dark: bool) -> list[Line]:
    """The settings in which the runs differ: a line for each, a column for each run under its marker."""
    readable = [(final, number) for final, number in zip(finals, numbers, strict=True) if final.preset is not None]
    if len(readable) < 2:
        return []
    rows = differences([final.preset or {} for final, _ in readable])
    if not rows:
        return [Line(Text("Their presets are the same.", "dim"))]
    table = [[_value(value) for value in row.values] for row in rows]
    key = max(cells("setting"), *(cells(one_line(row.key)) for row in rows))
    widths = [max(cells(line[place]) for line in table) for place in range(len(readable))]
    heading = Text(f"  {fitted('setting', key)}", "bold")
    for (_, number), width in zip(readable, widths, strict=True):
        heading.append("  ").append_text(mark(number, dark=dark)).append(" " * (width - 1))
    return [Line(heading), *_difference_rows([one_line(row.key) for row in rows], table, key, widths)]


def _difference_rows(
    keys: Sequence[str], table: Sequence[Sequence[str]], key: int, widths: Sequence[int]
) -> Iterator[Line]:
    for name, values in zip(keys, table, strict=True):
        text = Text(f"  {fitted(name, key)}")
        for value, width in zip(values, widths, strict=True):
            text.append(f"  {fitted(value, width)}", "dim" if value == formatting.NONE else "")
        yield Line(text)


def _value(value: Any) -> str:
    if value is ABSENT:
        return formatting.NONE
    if isinstance(value, str):
        text = one_line(value) or '""'
        return text if cells(text) <= LONGEST_VALUE else fitted(text, LONGEST_VALUE)
    return shown(value, LONGEST_VALUE)
