"""`crild compare`: runs side by side, with their metrics and how their presets differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from crild_tui.cli import terminal
from crild_tui.cli.options import AsJson, Runs, RunsDir
from crild_tui.runs import formatting

if TYPE_CHECKING:
    from rich.table import Table

    from engine.record.run import RunEntry


def compare(runs: Runs, as_json: AsJson = False, runs_dir: RunsDir = None) -> None:
    """Compare runs side by side: metrics, and how their presets differ.

    \b
    crild compare rte-kd rte-crild
    """
    from engine.errors import UsageError
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run, read_run
    from engine.report.compare import ABSENT, differences, read_preset

    if len(runs) < 2:
        raise UsageError("compare takes two runs or more", kind="too-few-runs")
    folder = folder_of(runs_dir)
    entries = [read_run(find_run(ref, folder)) for ref in runs]
    different = differences([read_preset(entry.path) for entry in entries])
    finals = [final_metrics(entry) for entry in entries]
    if as_json:
        terminal.show_json(
            {
                "runs": [
                    {"run": e.id, "path": str(e.path), "state": e.state, "metrics": m}
                    for e, m in zip(entries, finals, strict=True)
                ],
                "differences": [
                    {"key": d.key, "values": [None if v is ABSENT else v for v in d.values]} for d in different
                ],
            }
        )
        return
    terminal.show(metrics_table(entries, finals))
    terminal.sentence()
    if not different:
        terminal.sentence("their presets are the same")
        return
    columns = [("key", "left"), *((str(index + 1), "left") for index in range(len(entries)))]
    rows = (
        [d.key, *(formatting.NONE if value is ABSENT else terminal.as_text(value) for value in d.values)]
        for d in different
    )
    terminal.show(terminal.table(columns, rows))


def final_metrics(entry: RunEntry) -> dict[str, dict[str, float | None]]:
    """What a run reached, by model: from its results, else the last that its status says."""
    from engine.errors import CrildError
    from engine.record.files import read_json
    from engine.record.paths import RESULTS
    from engine.report.closing_table import closing

    results = read_json(entry.path / RESULTS) if entry.state == "finished" else None
    if results is not None:
        try:
            found = closing(results)
            return {_plain_name(row.name): dict(row.metrics) for row in found.models}
        except CrildError:
            pass
    status = entry.status
    if status is None or status.metric_name is None:
        return {}
    return {"student": {status.metric_name: status.last}, "teacher": {status.metric_name: status.teacher}}


def _plain_name(name: str) -> str:
    return name.split(",", maxsplit=1)[0].strip()


def metrics_table(entries: Sequence[RunEntry], finals: Sequence[Mapping[str, Mapping[str, float | None]]]) -> Table:
    """A numbered row for each run: state, the student's metrics, the teacher's first one."""

    names = list(dict.fromkeys(name for final in finals for name in final.get("student", {})))
    columns = [("", "right"), ("run", "left"), ("state", "left"), *((n, "right") for n in names), ("teacher", "right")]
    rows = []
    for index, (entry, final) in enumerate(zip(entries, finals, strict=True)):
        student, teacher = final.get("student", {}), final.get("teacher", {})
        first = next((teacher[name] for name in names if name in teacher and name in student), None)
        figures = [formatting.metric(student.get(name)) if name in student else "" for name in names]
        rows.append([str(index + 1), entry.id, entry.state, *figures, formatting.metric(first)])
    return terminal.table(columns, rows)
