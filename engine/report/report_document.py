"""A report as result tables, and as the data that its JSON holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from engine.report.result_table import Cell, Column, ResultDocument, ResultTable, Row, Section
from engine.report.table import PRIMARY, MethodRow, MetricTable, Report, SeedMean

SCHEMA = 1


@dataclass(frozen=True)
class ReportDocument(ResultDocument):
    """The tables of a report with the runs behind them, for formats with room for more (HTML: charts, settings)."""

    report: Report = field(kw_only=True)


def report_document(report: Report) -> ReportDocument:
    """The document of a report, for any format. Figures of tables are in per cent, those of records and JSON shares of 1."""
    data = {
        "schema": SCHEMA,
        "tables": [_table_data(table) for table in report.tables],
        "runs": _runs_data(report),
        "notes": list(report.notes),
    }
    return ReportDocument(tuple(map(_result_table, report.tables)), report.notes, data, report=report)


def _result_table(table: MetricTable) -> ResultTable:
    same = len(set(table.metrics.values())) == 1 and len(table.tasks) > 1
    headings = [task if same else f"{task} {table.metrics[task]}" for task in table.tasks]
    average = any(line.average is not None for block in table.blocks for line in block.lines)
    reference = "the highest" if table.against is None else table.against
    return ResultTable(
        "method",
        tuple(map(Column, ("seeds", *headings, *(["average"] if average else [])))),
        tuple(
            Section(block.heading, tuple(_row(table, line, reference, average=average) for line in block.lines))
            for block in table.blocks
        ),
        name="Primary metric" if table.choice == PRIMARY else table.choice,
        title=_title(table),
        notes=table.footers,
        reference=reference,
        records=tuple(_records(table)),
    )


def _title(table: MetricTable) -> str:
    of = "each task's primary metric" if table.choice == PRIMARY else table.choice
    if len(set(table.metrics.values())) == 1:
        of = next(iter(table.metrics.values()))
    return f"{of} on dev, in %, mean ± sample standard deviation over seeds"


def _row(table: MetricTable, line: MethodRow, reference: str, *, average: bool) -> Row:
    mean = _percent(line.average)
    return Row(
        line.name,
        (
            Cell(_seeds(line)),
            *(_cell(line.cells.get(task), reference) for task in table.tasks),
            *([Cell(mean, line.average)] if average else []),
        ),
        "result" if line.kind == "method" else "other",
        line.setting,
    )


def _seeds(line: MethodRow) -> str:
    """The number of seeds of a method's row, `3` or `3-5` where tasks have more or less; nothing for other rows."""
    if line.kind not in ("method", "baseline"):
        return ""
    counts = sorted({cell.count for cell in line.cells.values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"


def _cell(cell: SeedMean | None, reference: str) -> Cell:
    if cell is None:
        return Cell()
    deviation = "" if cell.deviation is None else f" ± {_percent(cell.deviation)}"
    gap = cell.difference
    detail = "" if gap is None else f"{gap.mean * 100:+.2f} ({gap.low * 100:+.2f} to {gap.high * 100:+.2f})"
    hints = [f"seed {seed}: {_percent(value)}" for seed, value in cell.values if seed is not None]
    if cell.p is not None:
        hints.append(f"{f'p = {cell.p:.4f}' if cell.p >= 0.0001 else 'p < 0.0001'} against {reference}")
    return Cell(f"{_percent(cell.mean)}{deviation}", cell.mean, cell.mark, detail, "; ".join(hints))


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value * 100:.2f}"


def _records(table: MetricTable) -> Iterator[dict[str, str | float | tuple[str, ...] | None]]:
    """A record for each row and task, with each seed's figure."""
    for block, line, task in ((b, ln, task) for b in table.blocks for ln in b.lines for task in table.tasks):
        if (cell := line.cells.get(task)) is not None:
            gap = cell.difference
            yield {
                "choice": table.choice,
                "block": block.heading,
                "kind": line.kind,
                "method": line.name,
                "setting": line.setting,
                "task": task,
                "metric": table.metrics[task],
                "seeds": cell.count if line.kind in ("method", "baseline") else None,
                "mean": cell.mean,
                "deviation": cell.deviation,
                "mark": cell.mark,
                "p": cell.p,
                "gap": gap.mean if gap else None,
                "low": gap.low if gap else None,
                "high": gap.high if gap else None,
                "values": tuple(f"{'-' if seed is None else seed}:{value!r}" for seed, value in cell.values),
            }


def _table_data(table: MetricTable) -> dict[str, Any]:
    blocks = [{"heading": block.heading, "rows": [_row_data(line) for line in block.lines]} for block in table.blocks]
    return {
        "choice": table.choice,
        "against": table.against,
        "metrics": dict(table.metrics),
        "blocks": blocks,
        "footers": list(table.footers),
    }


def _row_data(line: MethodRow) -> dict[str, Any]:
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
                "gap": asdict(cell.difference) if cell.difference else None,
                "values": [{"seed": seed, "value": value} for seed, value in cell.values],
            }
            for task, cell in line.cells.items()
        },
    }


def _runs_data(report: Report) -> list[dict[str, Any]]:
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
