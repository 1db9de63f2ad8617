"""Print the matrix of a sweep, method x task, as a table or as JSON."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crild_tui.cli import terminal
from crild_tui.runs import formatting
from crild_tui.runs.sweeps import counts, entries_of, figures_of, inputs_by_run, mean_of, metrics_of

if TYPE_CHECKING:
    from engine.report.result_table import Cell, ResultTable
    from engine.sweep.matrix import Matrix, MatrixCell
    from engine.sweep.record import SweepRecord


def look(record: SweepRecord, runs_dir: Path) -> Matrix:
    """The current matrix of a sweep."""
    from engine.sweep.matrix import matrix

    entries = entries_of(record, runs_dir)
    return matrix(
        record,
        entries,
        now=time.time(),
        figures=figures_of(record, runs_dir, entries),
        inputs=inputs_by_run(entries, runs_dir),
    )


def show_matrix(table: Matrix) -> None:
    """Print a matrix: mean ± standard deviation (number of runs), then how many runs are in which state, then errors."""
    from crild_tui.cli.result_tables import show_table

    metrics = metrics_of(table)
    terminal.sentence(f"{table.name}: {f'{metrics} on dev' if metrics else 'no run has finished yet'}")
    terminal.sentence()
    show_table(matrix_table(table))
    terminal.sentence()
    terminal.sentence(f"{counts(table)}; mean ± standard deviation over seeds, and their number")
    for note in table.notes:
        terminal.sentence(note)
    for run, sentence in table.faults.items():
        terminal.say(f"error: {run}: {sentence}")


def matrix_table(table: Matrix) -> ResultTable:
    """The matrix as a result table: methods are rows, tasks columns."""
    from engine.report.result_table import Column, ResultTable, Row, Section

    rows = (Row(row, tuple(_cell(table.entries.get((row, task))) for task in table.tasks)) for row in table.rows)
    return ResultTable("method", tuple(map(Column, table.tasks)), (Section("", tuple(rows)),))


def _cell(entry: MatrixCell | None) -> Cell:
    from engine.report.result_table import Cell

    if entry is None:
        return Cell()
    text = f"{mean_of(entry)} ({len(entry.values)})" if entry.values else formatting.NONE
    failed = entry.states.get("failed", 0) + entry.states.get("lost", 0)
    return Cell(f"{text}, {failed} failed" if failed else text, entry.spread.mean if entry.spread else None)


def document(table: Matrix, record: SweepRecord) -> dict[str, Any]:
    """The JSON of a matrix."""
    return {
        "sweep": table.name,
        "state": record.state if record.state != "active" or table.alive else "lost",
        "file": record.file,
        "states": dict(table.states),
        "progress": table.progress,
        "eta": table.eta,
        "axes": {name: list(values) for name, values in record.axes.items()},
        "matrix": [
            {"row": row, "task": task, "metric": entry.metric, "states": dict(entry.states), "values": list(entry.values),
             "differs": entry.differs,
             **({"mean": spread.mean, "deviation": spread.deviation} if (spread := entry.spread) else {})}
            for (row, task), entry in table.entries.items()
        ],
        "runs": [{"run": cell.run, "cell": dict(cell.cell), "teacher": cell.teacher} for cell in record.cells],
        "slots": [asdict(slot) for slot in record.slots],
        "faults": dict(table.faults),
        "notes": list(table.notes),
    }  # fmt: skip
