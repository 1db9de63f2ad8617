"""A sweep on stdout: the matrix of method x task, as a table or as JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crild_tui import wording
from crild_tui.cli import terminal

if TYPE_CHECKING:
    from engine.record.run import RunEntry
    from engine.sweep.matrix import Entry, Matrix
    from engine.sweep.record import SweepRecord


def entries_of(record: SweepRecord, runs_dir: Path, known: Mapping[str, RunEntry] | None = None) -> dict[str, RunEntry]:
    """What the runs of a sweep are in, by id; those in `known` that are finished are not read again."""
    from engine.record.run import is_run, read_run

    found: dict[str, RunEntry] = {}
    for cell in record.cells:
        before = None if known is None else known.get(cell.run)
        if before is not None and before.state == "finished":
            found[cell.run] = before
        elif is_run(runs_dir / cell.run):
            found[cell.run] = read_run(runs_dir / cell.run)
    return found


def figures_of(record: SweepRecord, runs_dir: Path, entries: Mapping[str, RunEntry]) -> dict[str, float]:
    """The task's metric of each finished run's saved student."""
    from engine.record.files import read_json
    from engine.record.paths import RESULTS

    found = {}
    for cell in record.cells:
        if cell.run not in entries or entries[cell.run].state != "finished":
            continue
        results = read_json(runs_dir / cell.run / RESULTS) or {}
        try:
            found[cell.run] = float(results["student"]["metrics"][results["metric"]])
        except (KeyError, TypeError, ValueError):
            continue  # what the status says counts then
    return found


def look(record: SweepRecord, runs_dir: Path) -> Matrix:
    """The matrix of a sweep as it stands."""
    from engine.sweep.matrix import matrix

    entries = entries_of(record, runs_dir)
    return matrix(record, entries, now=time.time(), figures=figures_of(record, runs_dir, entries))


def show_matrix(found: Matrix) -> None:
    """Print a matrix: mean ± standard deviation (number of runs), then what is not finished, then why runs failed."""
    columns = [("method", "left"), *((task, "right") for task in found.tasks)]
    rows = [[row, *(cell_of(found.entries.get((row, task))) for task in found.tasks)] for row in found.rows]
    metrics = list(dict.fromkeys(entry.metric for entry in found.entries.values() if entry.metric))
    terminal.sentence(f"{found.name}: {', '.join(metrics) or 'no metric yet'} on dev")
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
    mean = entry.spread
    said = wording.NONE
    if mean is not None:
        sign = "+-" if terminal.ascii_only() else "±"
        deviation = "" if mean.deviation is None else f" {sign} {wording.metric(mean.deviation)}"
        said = f"{wording.metric(mean.mean)}{deviation} ({mean.count})"
    failed = entry.states.get("failed", 0) + entry.states.get("lost", 0)
    return f"{said}, {failed} failed" if failed else said


def counts(found: Matrix) -> str:
    """`12 of 27 runs finished, 1 failed, 2 running, 12 left`."""
    order = (
        "running",
        "created",
        "stopping",
        "stalled",
        "queued",
        "failed",
        "lost",
        "unreadable",
        "stopped",
        "preempted",
        "left",
    )
    parts = [f"{found.states.get('finished', 0):,} of {wording.plural(found.runs, 'run')} finished"]
    parts += [f"{found.states[state]:,} {state}" for state in order if found.states.get(state)]
    return ", ".join(parts)


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
