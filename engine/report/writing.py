"""A report as Markdown, CSV, LaTeX and JSON. Text from outside is escaped for each."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from engine.preset.text import one_line
from engine.record.files import json_text
from engine.report.best_marks import Mark
from engine.report.formats import csv_text, latex_line, latex_text, markdown_text, padded
from engine.report.table import PRIMARY, Block, Cell, Line, Report, Table

SCHEMA = 1
MARKS: Mapping[Mark, str] = {"best": "★", "tied": "≈", "above": "▲", "below": "▼", "": ""}
"""Beside a figure: it is better than every other of its column; it is not told apart from the highest (or from the method
that was named); it is above or below that method."""


def heads(table: Table) -> list[str]:
    """The headings of the task columns: task and metric, where one of them does not go without saying."""
    same = len(set(table.metrics.values())) == 1 and len(table.tasks) > 1
    return [task if same else f"{task} {table.metrics[task]}" for task in table.tasks]


def has_average(table: Table) -> bool:
    """Whether any row has figures for several tasks, all of them."""
    return any(line.average is not None for block in table.blocks for line in block.lines)


def seeds(line: Line) -> str:
    """The number of seeds of a method's row, `3` or `3-5` where tasks have more or less; nothing for other rows."""
    if line.kind not in ("method", "baseline"):
        return ""
    counts = sorted({cell.count for cell in line.cells.values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"


def figure(cell: Cell | None, between: str = " ± ") -> str:
    """A metric in per cent, two digits after the point: `81.37 ± 0.42`; nothing for none."""
    if cell is None:
        return ""
    deviation = "" if cell.deviation is None else f"{between}{cell.deviation * 100:.2f}"
    return f"{cell.mean * 100:.2f}{deviation}"


def gap(cell: Cell | None) -> str:
    """How far a figure is above that of the method that was named, and the interval: `+0.35 (-0.62 to +1.31)`."""
    if cell is None or cell.gap is None:
        return ""
    return f"{cell.gap.mean * 100:+.2f} ({cell.gap.low * 100:+.2f} to {cell.gap.high * 100:+.2f})"


def mean(value: float | None) -> str:
    """An average in per cent; nothing for none."""
    return "" if value is None else f"{value * 100:.2f}"


def title(table: Table) -> str:
    """What the figures are, for a heading."""
    of = "each task's primary metric" if table.choice == PRIMARY else table.choice
    if len(set(table.metrics.values())) == 1:
        of = next(iter(table.metrics.values()))
    return f"{of} on dev, in %, mean ± sample standard deviation over seeds"


# -- Markdown


def markdown(report: Report) -> str:
    """Tables as Markdown that can also be read as it is: what is best beyond chance is bold."""
    parts = []
    for table in report.tables:
        parts.append(f"**{markdown_text(title(table))}**\n")
        parts += [_markdown_block(table, block) for block in table.blocks]
        footers = [*table.footers, *(report.notes if table is report.tables[-1] else ())]
        if footers:
            parts.append("".join(f"- {markdown_text(line)}\n" for line in footers))
    return "\n".join(parts)


def _markdown_block(table: Table, block: Block) -> str:
    average = has_average(table)
    lines = [["method", "seeds", *map(markdown_text, heads(table)), *(["average"] if average else [])]]
    for line in block.lines:
        cells = [_markdown_cell(line.cells.get(task)) for task in table.tasks]
        lines.append([markdown_text(line.label), seeds(line), *cells, *([mean(line.average)] if average else [])])
    widths = [max(4, *map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width if place == 0 else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    heading = f"{markdown_text(block.heading)}\n\n" if block.heading else ""
    return heading + "".join(
        f"| {' | '.join(padded(cells, widths, (0,)))} |\n" for cells in (lines[0], rule, *lines[1:])
    )


def _markdown_cell(cell: Cell | None) -> str:
    if cell is None:
        return ""
    text = f"**{figure(cell)}**" if cell.mark == "best" else figure(cell)
    return " ".join(part for part in (text, gap(cell), MARKS[cell.mark]) if part)


# -- LaTeX


def latex(report: Report) -> str:
    """Tables as LaTeX `tabular`s with the lines of booktabs: bold is best beyond chance, underlined tied with the highest."""
    parts = [r"% needs \usepackage{booktabs}"]
    for table in report.tables:
        average = has_average(table)
        columns = ["method", "seeds", *map(latex_text, heads(table)), *(["average"] if average else [])]
        parts += [f"% {_comment(title(table))}", rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}", r"\toprule"]
        parts.append(latex_line(columns))
        for block in table.blocks:
            parts.append(r"\midrule")
            if block.heading:
                parts.append(rf"\multicolumn{{{len(columns)}}}{{l}}{{\textit{{{latex_text(block.heading)}}}}} \\")
            parts += _latex_lines(table, block, average=average)
        parts += [r"\bottomrule", r"\end{tabular}"]
        parts += [f"% {_comment(line)}".replace("▲", "↑").replace("▼", "↓") for line in table.footers]
    return "\n".join([*parts, *(f"% {_comment(line)}" for line in report.notes)]) + "\n"


def _latex_lines(table: Table, block: Block, *, average: bool) -> Iterator[str]:
    kind = "method"
    for line in block.lines:
        if line.kind != kind and kind == "method" and line.kind != "published":
            yield r"\addlinespace"
        kind = line.kind
        cells = [_latex_cell(line.cells.get(task)) for task in table.tasks]
        yield latex_line([latex_text(line.label), seeds(line), *cells, *([mean(line.average)] if average else [])])


_ARROWS = {"above": r"$\uparrow$", "below": r"$\downarrow$", "tied": r"$\approx$"}


def _latex_cell(cell: Cell | None) -> str:
    text = figure(cell, r" $\pm$ ")
    if cell is None or not cell.mark:
        return text
    if cell.gap is not None:
        return rf"{text} {gap(cell).replace('-', '$-$')} {_ARROWS[cell.mark]}"
    return rf"\textbf{{{text}}}" if cell.mark == "best" else rf"\underline{{{text}}}"


def _comment(text: str) -> str:
    return one_line(text).replace("%", "per cent").replace("\\", "/")


# -- CSV


def comma_separated(report: Report) -> str:
    """One line for each row and task: figures as shares of 1 in full precision, each seed's among them."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            "choice",
            "block",
            "kind",
            "method",
            "setting",
            "task",
            "metric",
            "seeds",
            "mean",
            "deviation",
            "mark",
            "p",
            "gap",
            "low",
            "high",
            "values",
        ]
    )
    for table in report.tables:
        for block, line, task, cell in _cells(table):
            metric = table.metrics[task]
            texts = map(csv_text, (table.choice, block.heading, line.kind, line.name, line.setting, task, metric))
            values = " ".join(f"{'-' if seed is None else seed}:{value!r}" for seed, value in cell.values)
            between = (cell.gap.mean, cell.gap.low, cell.gap.high) if cell.gap else (None, None, None)
            figures = (repr(cell.mean), _repr(cell.deviation), cell.mark, _repr(cell.p), *map(_repr, between), values)
            writer.writerow([*texts, seeds_of(cell, line), *figures])
    return out.getvalue()


def seeds_of(cell: Cell, line: Line) -> str:
    """The number of seeds behind a cell; nothing where it is not about seeds."""
    return str(cell.count) if line.kind in ("method", "baseline") else ""


def _repr(value: float | None) -> str:
    return "" if value is None else repr(value)


def _cells(table: Table) -> Iterator[tuple[Block, Line, str, Cell]]:
    for block in table.blocks:
        for line in block.lines:
            for task in table.tasks:
                if task in line.cells:
                    yield block, line, task, line.cells[task]


# -- JSON


def json_document(report: Report) -> str:
    """Everything as one JSON document: tables, and each run with all its metrics and settings. Figures are shares of 1."""
    return json_text({"schema": SCHEMA, "tables": [_table(table) for table in report.tables],
                      "runs": _runs(report), "notes": list(report.notes)})  # fmt: skip


def _table(table: Table) -> dict[str, Any]:
    blocks = [{"heading": block.heading, "rows": [_row(line) for line in block.lines]} for block in table.blocks]
    return {
        "choice": table.choice,
        "against": table.against,
        "metrics": dict(table.metrics),
        "blocks": blocks,
        "footers": list(table.footers),
    }


def _row(line: Line) -> dict[str, Any]:
    return {
        "kind": line.kind,
        "name": line.name,
        "setting": line.setting,
        "average": line.average,
        "runs": list(line.runs),
        "cells": {
            task: {
                "mean": cell.mean,
                "deviation": cell.deviation,
                "mark": cell.mark,
                "p": cell.p,
                "gap": asdict(cell.gap) if cell.gap else None,
                "values": [{"seed": seed, "value": value} for seed, value in cell.values],
            }
            for task, cell in line.cells.items()
        },
    }


def _runs(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "run": run.name,
            "task": run.task,
            "method": run.method,
            "seed": run.seed,
            "setting": {**dict(group.common), **dict(group.own)},
            "metrics": {model: dict(figures) for model, figures in run.models.items()},
        }
        for group in report.groups
        for run in group.runs
    ]


WRITERS: Mapping[str, Callable[[Report], str]] = {
    "markdown": markdown,
    "csv": comma_separated,
    "json": json_document,
    "latex": latex,
}
"""Formats by the name that `--format` takes; the terminal's table and the HTML page are written elsewhere."""

ENDINGS: Mapping[str, Sequence[str]] = {
    "markdown": (".md", ".markdown"), "csv": (".csv",), "json": (".json",), "latex": (".tex",), "html": (".html", ".htm"),
}  # fmt: skip
"""How a file's name ends that is meant to hold a format."""
