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
    average = any(row.average is not None for block in table.blocks for row in block.rows)
    reference = "the highest" if table.against is None else table.against
    return ResultTable(
        "method",
        tuple(map(Column, ("seeds", *headings, *(["average"] if average else [])))),
        tuple(
            Section(block.heading, tuple(_row(table, row, reference, average=average) for row in block.rows))
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


def _row(table: MetricTable, row: MethodRow, reference: str, *, average: bool) -> Row:
    mean = _percent(row.average)
    return Row(
        row.name,
        (
            Cell(_seeds(row)),
            *(_cell(row.cells.get(task), reference) for task in table.tasks),
            *([Cell(mean, row.average)] if average else []),
        ),
        "result" if row.kind == "method" else "other",
        row.setting,
    )


def _seeds(row: MethodRow) -> str:
    """The number of seeds of a method's row, `3` or `3-5` where tasks have more or less; nothing for other rows."""
    if row.kind not in ("method", "baseline"):
        return ""
    counts = sorted({cell.count for cell in row.cells.values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"


def _cell(cell: SeedMean | None, reference: str) -> Cell:
    if cell is None:
        return Cell()
    deviation = "" if cell.deviation is None else f" ± {_percent(cell.deviation)}"
    gap = cell.gap
    detail = "" if gap is None else f"{gap.mean * 100:+.2f} ({gap.low * 100:+.2f} to {gap.high * 100:+.2f})"
    hints = [f"seed {seed}: {_percent(value)}" for seed, value in cell.values if seed is not None]
    if cell.p is not None:
        hints.append(f"{f'p = {cell.p:.4f}' if cell.p >= 0.0001 else 'p < 0.0001'} against {reference}")
    return Cell(
        f"{_percent(cell.mean)}{deviation}", cell.mean, cell.mark, detail, "; ".join(hints), cell.below_majority
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value * 100:.2f}"


def _records(table: MetricTable) -> Iterator[dict[str, str | float | tuple[str, ...] | None]]:
    """A record for each row and task, with each seed's figure."""
    for heading, row, task in ((b.heading, row, task) for b in table.blocks for row in b.rows for task in table.tasks):
        if (cell := row.cells.get(task)) is not None:
            yield {
                "choice": table.choice,
                "block": heading,
                "kind": row.kind,
                "method": row.name,
                "setting": row.setting,
                "task": task,
                "metric": table.metrics[task],
                "seeds": cell.count if row.kind in ("method", "baseline") else None,
                "mean": cell.mean,
                "deviation": cell.deviation,
                "mark": cell.mark,
                "below_majority": "yes" if cell.below_majority else "no",
                "p": cell.p,
                "gap": cell.gap.mean if cell.gap else None,
                "low": cell.gap.low if cell.gap else None,
                "high": cell.gap.high if cell.gap else None,
                "inputs": row.inputs.get(task),
                "values": tuple(f"{'-' if seed is None else seed}:{value!r}" for seed, value in cell.values),
            }


def _table_data(table: MetricTable) -> dict[str, Any]:
    data = asdict(table)
    del data["tasks"]  # the keys of metrics
    for row in (row for block in data["blocks"] for row in block["rows"]):
        for cell in row["cells"].values():
            cell["values"] = [{"seed": seed, "value": value} for seed, value in cell["values"]]
    return data


def _runs_data(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "run": run.name,
            "task": run.task,
            "method": run.method,
            "seed": run.seed,
            "setting": {**dict(group.common), **dict(group.own)},
            "metrics": {model: dict(figures) for model, figures in run.models.items()},
            "inputs": None if run.inputs is None else run.inputs.to_dict(),
        }
        for group in report.groups
        for run in group.runs
    ]
