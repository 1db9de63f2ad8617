"""A report as result tables, and as the data that its JSON holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from engine.preset.names import task_title
from engine.report.closing_table import ModelRow
from engine.report.cost_columns import COLUMNS, NOTE, CostColumn
from engine.report.final_metrics import BASELINE, STUDENT, TEACHER
from engine.report.group_errors import mistake_tables
from engine.report.result_table import Cell, Column, ResultDocument, ResultTable, Row, Section
from engine.report.settings import setting_text
from engine.report.shared_settings import settings_table, shared_settings
from engine.report.table import PRIMARY, Block, MethodRow, MetricTable, Report, SeedMean
from engine.report.units import difference, metric

SCHEMA = 1


@dataclass(frozen=True)
class ReportDocument(ResultDocument):
    """The tables of a report with the runs behind them, for formats with room for more (HTML: charts, settings)."""

    report: Report = field(kw_only=True)

    def appendix(self) -> tuple[ResultTable, ...]:
        """What the students get wrong."""
        return mistake_tables(self.report.groups)


def report_document(report: Report, costs: Sequence[CostColumn] = ()) -> ReportDocument:
    """The document of a report, for any format: its tables, with columns of `costs` after the metrics, then the settings.

    Figures of tables are in per cent, those of records and JSON shares of 1.
    """
    data = {
        "schema": SCHEMA,
        "tables": [_table_data(table) for table in report.tables],
        "settings": [asdict(section) for section in shared_settings(report.groups)],
        "runs": _runs_data(report),
        "notes": list(report.notes),
    }
    tables = (*(_result_table(table, report, costs) for table in report.tables), settings_table(report.groups))
    return ReportDocument(tables, report.notes, data, report=report)


def _result_table(table: MetricTable, report: Report, costs: Sequence[CostColumn]) -> ResultTable:
    same = len(set(table.metrics.values())) == 1 and len(table.tasks) > 1
    titles = [task_title(task) for task in table.tasks]
    headings = [
        title if same else f"{title} {table.metrics[task]}" for task, title in zip(table.tasks, titles, strict=True)
    ]
    average = any(row.average is not None for block in table.blocks for row in block.rows)
    reference = "the highest" if table.against is None else table.against
    return ResultTable(
        "method",
        (
            Column("seeds"),
            *map(Column, (*headings, *(["average"] if average else []))),
            *(Column(cost.heading, scores=False) for cost in costs),
        ),
        tuple(
            Section(
                block.heading,
                tuple(
                    _row(table, row, reference, average=average, costs=costs, models=_models(report, block, row))
                    for row in block.rows
                ),
            )
            for block in table.blocks
        ),
        name="Primary metric" if table.choice == PRIMARY else table.choice,
        title=_title(table),
        notes=(*table.footers, *([NOTE] if any(cost.measured for cost in costs) else [])),
        reference=reference,
        records=tuple(_records(table, report)),
    )


def _title(table: MetricTable) -> str:
    of = "each task's primary metric" if table.choice == PRIMARY else table.choice
    if len(set(table.metrics.values())) == 1:
        of = next(iter(table.metrics.values()))
    return f"{of} on dev, in %, mean ± sample standard deviation over seeds"


def _models(report: Report, block: Block, row: MethodRow, task: str | None = None) -> list[ModelRow]:
    """Size and speed of a row's model in each of its runs, on one task or all."""
    model = {"method": STUDENT, "baseline": BASELINE, "teacher": TEACHER}.get(row.kind, "")
    names = set(row.runs)
    return [
        run.sizes[model]
        for group in report.groups
        if setting_text(group.common, most=99) == block.heading and task in (None, group.task)
        for run in group.runs
        if model in run.sizes and (row.kind != "method" or run.name in names)
    ]


def _row(
    table: MetricTable,
    row: MethodRow,
    reference: str,
    *,
    average: bool,
    costs: Sequence[CostColumn],
    models: Sequence[ModelRow],
) -> Row:
    return Row(
        row.name,
        (
            Cell(_seeds(row)),
            *(_cell(row.cells.get(task), reference) for task in table.tasks),
            *([_average_cell(row.average)] if average else []),
            *(Cell(cost.text(models), cost.value(models)) for cost in costs),
        ),
        "result" if row.kind == "method" else "other",
        row.setting,
    )


def _average_cell(mean: float | None) -> Cell:
    return Cell() if mean is None else Cell(metric(mean), mean)


def _seeds(row: MethodRow) -> str:
    """The number of seeds of a method's row, `3` or `3 to 5` where tasks have more or less; nothing for other rows."""
    if row.kind not in ("method", "baseline"):
        return ""
    counts = sorted({cell.count for cell in row.cells.values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _cell(cell: SeedMean | None, reference: str) -> Cell:
    if cell is None:
        return Cell()
    deviation = "" if cell.deviation is None else f" ± {metric(cell.deviation)}"
    gap = cell.gap
    detail = "" if gap is None else f"{difference(gap.mean)} ({difference(gap.low)} to {difference(gap.high)})"
    hints = [f"seed {seed}: {metric(value)}" for seed, value in cell.values if seed is not None]
    if cell.p is not None:
        hints.append(f"{f'p = {cell.p:.4f}' if cell.p >= 0.0001 else 'p < 0.0001'} against {reference}")
    return Cell(f"{metric(cell.mean)}{deviation}", cell.mean, cell.mark, detail, "; ".join(hints), cell.below_majority)


def _records(table: MetricTable, report: Report) -> Iterator[dict[str, str | float | tuple[str, ...] | None]]:
    """A record for each row and task, with each seed's figure, and size and speed of the model."""
    for block, row, task in ((b, row, task) for b in table.blocks for row in b.rows for task in table.tasks):
        heading = block.heading
        if (cell := row.cells.get(task)) is not None:
            models = _models(report, block, row, task)
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
                **{name: cost.value(models) for name, cost in COLUMNS.items()},
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
            "models": {
                name: {column: value for column, cost in COLUMNS.items() if (value := cost.read(row)) is not None}
                for name, row in run.sizes.items()
            },
            "metrics": {model: dict(figures) for model, figures in run.models.items()},
            "inputs": None if run.inputs is None else run.inputs.to_dict(),
        }
        for group in report.groups
        for run in group.runs
    ]
