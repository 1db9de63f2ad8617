"""The table of one preset's seeds: each model's primary metric in each run, then mean and standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crild_tui.cli import terminal
from crild_tui.runs import formatting

if TYPE_CHECKING:
    from engine.report.final_metrics import FinalMetrics
    from engine.report.result_table import Cell, ResultTable

DEVIATION = "standard deviation"


def show_seeds(run_dirs: Sequence[Path], *, chained: bool = False) -> None:
    """Print the seeds of one preset: each model's primary metric in each run, then mean and standard deviation.

    With `chained`, they are one run of several chains, and named; each starts as the student of its own chain.
    """
    from crild_tui.cli.result_tables import show_notes, show_table
    from engine.report.final_metrics import STUDENT, read_final_metrics

    finals = [read_final_metrics(run_dir) for run_dir in run_dirs]
    metric = next((name for final in finals for name in final.models.get(STUDENT, {})), "metric")
    heading = f"{finals[0].task} by {finals[0].method}: " if chained else ""
    terminal.sentence(f"{heading}{metric} over {formatting.plural(len(finals), 'seed')}")
    terminal.sentence()
    table = seeds_table(finals, chained=chained)
    show_table(table)
    show_notes(table)


def seeds_table(finals: Sequence[FinalMetrics], *, chained: bool = False) -> ResultTable:
    """A row for each run, a column for each model; mean and deviation, unless runs had other data or models. `chained` runs
    start as the students of others, of which each has its own."""
    from engine.report.compare import spread
    from engine.report.final_metrics import MAJORITY
    from engine.report.inputs import all_but_start, all_of, difference_note
    from engine.report.majority import LEGEND
    from engine.report.result_table import Column, ResultTable, Row, Section

    models = list(dict.fromkeys(name for final in finals for name in final.models))
    values = {
        final.name: [next(iter(final.models.get(name, {}).values()), None) for name in models] for final in finals
    }
    pick = all_but_start if chained else all_of
    note = difference_note(finals[0].method or "these seeds", [final.content for final in finals], pick)
    if note is None:
        columns = zip(*values.values(), strict=True)
        spreads = [spread([value for value in column if value is not None]) for column in columns]
        values["mean"] = [each.mean if each else None for each in spreads]
        values[DEVIATION] = [
            each.deviation if each and name != MAJORITY else None for name, each in zip(models, spreads, strict=True)
        ]  # the majority guess follows from the data
    rows = tuple(Row(name, _cells(models, figures, name != DEVIATION)) for name, figures in values.items())
    marked = any(cell.below_majority for row in rows for cell in row.cells)
    notes = (*([note] if note else []), *([LEGEND] if marked else []))
    return ResultTable("run", tuple(map(Column, models)), (Section("", rows),), notes=notes)


def _cells(models: Sequence[str], figures: Sequence[float | None], compared: bool) -> tuple[Cell, ...]:
    """The cells of a row; `compared` marks models that don't beat the majority guess of the row."""
    from engine.report.final_metrics import MAJORITY
    from engine.report.majority import at_or_below
    from engine.report.result_table import Cell

    least = dict(zip(models, figures, strict=True)).get(MAJORITY) if compared else None
    return tuple(
        Cell(formatting.metric(value), value, below_majority=name != MAJORITY and at_or_below(value, least))
        for name, value in zip(models, figures, strict=True)
    )
