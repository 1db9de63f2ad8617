"""Runs side by side as lines of text: the table of final metrics, and what their presets set differently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.style import Style
from rich.text import Text

from crild_tui.charts.palette import curve_color, curve_marker
from crild_tui.runs import formatting
from crild_tui.text import cells, fit, fit_name
from engine.preset.text import one_line, shown
from engine.report.compare import ABSENT, differences
from engine.report.final_metrics import FinalMetrics
from engine.report.inputs import input_rows
from engine.report.majority import MARK
from engine.report.result_table import ResultTable

MOST = 12
"""Runs that are compared at once."""
BEST = "★"
LONGEST_NAME = 44
LONGEST_LABEL = 28
"""Cells of a name in a legend."""
LONGEST_VALUE = 24


@dataclass(frozen=True)
class RunLine:
    """A line of text; one with a run can be chosen, and starts with a space for the cursor."""

    text: Text
    run_dir: Path | None = None


Places = Mapping[Path, int]
"""The runs that are compared, in their order, each with the number that its colour and marker come from."""


def assigned(before: Places, run_dirs: Sequence[Path]) -> dict[Path, int]:
    """A number for each run: a run that stays keeps its own, a new one gets the lowest free one."""
    compared = list(dict.fromkeys(run_dirs))[:MOST]
    taken = {before[run_dir] for run_dir in compared if run_dir in before}
    free = iter(number for number in range(MOST) if number not in taken)
    return {run_dir: before[run_dir] if run_dir in before else next(free) for run_dir in compared}


def labels(run_dirs: Sequence[Path]) -> list[str]:
    """Names of runs for a legend: without the words that all begin with, if one would be cut in the middle there."""
    names = [one_line(run_dir.name) for run_dir in run_dirs]
    first, last = min(names, default=""), max(names, default="")
    shared = next((index for index, letters in enumerate(zip(first, last, strict=False)) if len(set(letters)) > 1), 0)
    words, _, _ = first[:shared].rpartition("-")
    if len(names) < 2 or max(map(cells, names)) <= LONGEST_LABEL or not words:
        return names
    return [f"…{name[len(words) + 1 :]}" for name in names]


def mark(number: int, *, dark: bool) -> Text:
    """The marker of a run in its colour."""
    return Text(curve_marker(number), Style(color=curve_color(number, dark), bold=True))


# -- final metrics


def metrics_lines(
    table: ResultTable, finals: Sequence[FinalMetrics], numbers: Sequence[int], *, dark: bool
) -> list[RunLine]:
    """The table of final metrics: a line for each row, the runs with their markers."""
    name = min(max((cells(one_line(row.name)) for row in table.rows), default=3), LONGEST_NAME)
    columns = []
    for index, column in enumerate(table.columns):
        own = [row.cells[index] for row in table.rows]
        width = max(cells(one_line(text)) for text in (column.heading, *(cell.text for cell in own)))
        columns.append((column, width, any(cell.value is not None for cell in own)))
    heading = f"    {fit('run', name)} "
    for column, width, figures in columns:
        heading += fit(one_line(column.heading), width, right=not column.words) + ("   " if figures else "  ")
    lines = [RunLine(Text(heading, "bold"))]
    for section in table.sections:
        if section.heading:
            lines.append(RunLine(Text(one_line(section.heading), "bold underline")))
        for row in section.rows:
            text = Text("  ")
            text.append_text(Text(" ") if row.run is None else mark(numbers[row.run], dark=dark))
            style = {"mean": "bold", "other": "dim"}.get(row.kind, "")
            unfinished = row.run is not None and not finals[row.run].finished
            text.append(f" {fit_name(one_line(row.name), name)} ", style)
            for cell, (column, width, figures) in zip(row.cells, columns, strict=True):
                best = cell.mark == "highest"
                words = fit(one_line(cell.text), width, right=not column.words)
                if figures:
                    text.append(words, style or ("bold" if best else "dim" if unfinished else ""))
                    sign = BEST if best else MARK if cell.below_majority else ""
                    text.append(f" {sign:1} ", "bold")
                else:
                    text.append(f"{words}  ", "dim" if column.words else "")
            lines.append(RunLine(text, None if row.run is None else finals[row.run].run_dir))
    lines += [RunLine(Text(f"{one_line(f.name)}: {one_line(f.problem)}", "bold")) for f in finals if f.problem]
    lines += [RunLine(Text(one_line(note), "bold")) for note in table.notes]
    if any(not final.finished for final in finals):
        lines.append(
            RunLine(Text("Figures of runs that have not finished are their latest; no mean takes them in.", "dim"))
        )
    return lines


# -- differences of presets


def difference_lines(finals: Sequence[FinalMetrics], numbers: Sequence[int], *, dark: bool) -> list[RunLine]:
    """The settings in which the runs differ, and what they read: a line for each, a column for each run under its marker."""
    readable = [(final, number) for final, number in zip(finals, numbers, strict=True) if final.preset is not None]
    if len(readable) < 2:
        return []
    rows = differences([final.preset or {} for final, _ in readable])
    read = input_rows([final.inputs for final, _ in readable])
    same = [] if rows else [RunLine(Text("Their presets are the same.", "dim"))]
    if not rows and not read:
        return same
    keys = [*(name for name, _ in read), *(one_line(row.key) for row in rows)]
    table = [[one_line(text) for text in texts] for _, texts in read]
    table += [[_value(value) for value in row.values] for row in rows]
    key = max(cells("setting"), *map(cells, keys))
    widths = [max(map(cells, column)) for column in zip(*table, strict=True)]
    heading = Text(f"  {fit('setting', key)}", "bold")
    for (_, number), width in zip(readable, widths, strict=True):
        heading.append("  ").append_text(mark(number, dark=dark)).append(" " * (width - 1))
    return [*same, RunLine(heading), *_difference_rows(keys, table, key, widths)]


def _difference_rows(
    keys: Sequence[str], table: Sequence[Sequence[str]], key: int, widths: Sequence[int]
) -> Iterator[RunLine]:
    for name, values in zip(keys, table, strict=True):
        text = Text(f"  {fit(name, key)}")
        for value, width in zip(values, widths, strict=True):
            text.append(f"  {fit(value, width)}", "dim" if value == formatting.NONE else "")
        yield RunLine(text)


def _value(value: Any) -> str:
    if value is ABSENT:
        return formatting.NONE
    if isinstance(value, str):
        text = one_line(value) or '""'
        return text if cells(text) <= LONGEST_VALUE else fit(text, LONGEST_VALUE)
    return shown(value, LONGEST_VALUE)
