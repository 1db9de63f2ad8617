"""`crild compare`: runs side by side, with their metrics, what they read, and how their presets differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crild_tui.cli import terminal
from crild_tui.cli.options import AsJson, Runs, RunsDir
from crild_tui.runs import formatting

if TYPE_CHECKING:
    from engine.report.final_metrics import FinalMetrics
    from engine.report.result_table import ResultTable


def compare(runs: Runs, as_json: AsJson = False, runs_dir: RunsDir = None) -> None:
    """Compare runs side by side: metrics, data and teachers, and how their presets differ.

    \b
    crild compare rte-kd rte-crild
    """
    from crild_tui.cli.result_tables import show_notes, show_table
    from crild_tui.runs.side_by_side import check_number, side_by_side
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run
    from engine.report.compare import ABSENT

    check_number(runs)
    folder = folder_of(runs_dir)
    read = side_by_side([find_run(ref, folder) for ref in runs])
    finals, different = read.finals, read.different
    if as_json:
        terminal.show_json(
            {
                "runs": [
                    {
                        "run": final.name,
                        "path": str(final.run_dir),
                        "state": final.state,
                        "metrics": final.models,
                        "inputs": None if final.inputs is None else final.inputs.to_dict(),
                    }
                    for final in finals
                ],
                "differences": [
                    {"key": d.key, "values": [None if v is ABSENT else v for v in d.values]} for d in different
                ],
            }
        )
        return
    table = metrics_table(finals)
    show_table(table)
    show_notes(table)
    terminal.sentence()
    if not different:
        terminal.sentence("their presets are the same")
    if not read.differences:
        return
    columns = [("key", "left"), *((str(index + 1), "left") for index in range(len(finals)))]
    terminal.show(terminal.table(columns, read.differences))


def metrics_table(finals: Sequence[FinalMetrics]) -> ResultTable:
    """A numbered row for each run: state, the student's metrics, the teacher's first one."""
    from engine.report.final_metrics import MAJORITY, STUDENT, TEACHER
    from engine.report.majority import LEGEND, not_above
    from engine.report.result_table import Cell, Column, ResultTable, Row, Section

    names = list(dict.fromkeys(name for final in finals for name in final.models.get(STUDENT, {})))
    rows = []
    for number, final in enumerate(finals, 1):
        student, teacher = final.models.get(STUDENT, {}), final.models.get(TEACHER, {})
        least = final.models.get(MAJORITY, {}) if final.finished else {}
        first = next((name for name in names if name in teacher and name in student), "")
        figures = [*map(student.get, names), teacher.get(first)]
        marked = [*(name in not_above(student, least) for name in names), first in not_above(teacher, least)]
        cells = (
            Cell(final.name),
            Cell(final.state),
            *(
                Cell(formatting.metric(value), value, below_majority=mark)
                for value, mark in zip(figures, marked, strict=True)
            ),
        )
        rows.append(Row(str(number), cells))
    columns = (Column("run", words=True), Column("state", words=True), *map(Column, (*names, TEACHER)))
    notes = (LEGEND,) if any(cell.below_majority for row in rows for cell in row.cells) else ()
    return ResultTable("", columns, (Section("", tuple(rows)),), notes=notes)
