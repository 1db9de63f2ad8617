"""A sweep on stdout: the matrix of method x task, as a table or as JSON."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crild_tui.cli import terminal
from crild_tui.runs import formatting
from crild_tui.runs.sweeps import counts, entries_of, figures_of, mean_of, metrics_of

if TYPE_CHECKING:
    from engine.sweep.matrix import Entry, Matrix
    from engine.sweep.record import SweepRecord


def look(record: SweepRecord, runs_dir: Path) -> Matrix:
    """The matrix of a sweep as it stands."""
    from engine.sweep.matrix import matrix

    entries = entries_of(record, runs_dir)
    return matrix(record, entries, now=time.time(), figures=figures_of(record, runs_dir, entries))


def show_matrix(found: Matrix) -> None:
    """Print a matrix: mean ± standard deviation (number of runs), then what is not finished, then why runs failed."""
    columns = [("method", "left"), *((task, "right") for task in found.tasks)]
    rows = [[row, *(cell_of(found.entries.get((row, task))) for task in found.tasks)] for row in found.rows]
    metrics = metrics_of(found)
    terminal.sentence(f"{found.name}: {f'{metrics} on dev' if metrics else 'no run has finished yet'}")
    terminal.sentence()
    terminal.show(terminal.table(columns, rows))
    terminal.sentence()
    terminal.sentence(f"{counts(found)}; mean ± standard deviation over seeds, and their number")
    for run, sentence in found.faults.items():
        terminal.say(f"error: {run}: {sentence}")


def cell_of(entry: Entry | None) -> str:
    """One place of the matrix in words."""
    if entry is None:
        return ""
    said = formatting.NONE
    if entry.values:
        said = f"{mean_of(entry, '+-' if terminal.ascii_only() else '±')} ({len(entry.values)})"
    failed = entry.states.get("failed", 0) + entry.states.get("lost", 0)
    return f"{said}, {failed} failed" if failed else said


def document(found: Matrix, record: SweepRecord) -> dict[str, Any]:
    """A matrix as JSON has it."""
    return {
        "sweep": found.name,
        "state": record.state if record.state != "active" or found.alive else "lost",
        "file": record.file,
        "states": dict(found.states),
        "progress": found.progress,
        "eta": found.eta,
        "axes": {name: list(values) for name, values in record.axes.items()},
        "matrix": [
            {"row": row, "task": task, "metric": entry.metric, "states": dict(entry.states), "values": list(entry.values),
             **({"mean": spread.mean, "deviation": spread.deviation} if (spread := entry.spread) else {})}
            for (row, task), entry in found.entries.items()
        ],
        "runs": [{"run": cell.run, "cell": dict(cell.cell), "teacher": cell.teacher} for cell in record.cells],
        "slots": [asdict(slot) for slot in record.slots],
        "faults": dict(found.faults),
    }  # fmt: skip
