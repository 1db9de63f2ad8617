"""The closing table of a finished run: teacher, student and baselines, what was measured, the stages."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crild_tui.cli import terminal
from crild_tui.runs import formatting

if TYPE_CHECKING:
    from rich.table import Table

    from engine.report.closing_table import Closing, ModelRow

COST = (
    ("params", "parameters", formatting.amount),
    ("size", "bytes", formatting.size),
    ("latency", "latency_ms", formatting.milliseconds),
    ("examples/s", "throughput", formatting.rate),
)


def closing_of(run_dir: Path) -> Closing | None:
    """The closing table of a run; None, said on stderr, where it has no results that can be read."""
    from engine.errors import CrildError
    from engine.record.files import read_json
    from engine.record.paths import RESULTS
    from engine.report.closing_table import closing

    results = read_json(run_dir / RESULTS)
    if results is None:
        terminal.say(f"{run_dir.name} has no results.json that can be read")
        return None
    try:
        return closing(results)
    except CrildError as error:
        terminal.say(error.sentence)
        return None


def show_closing(found: Closing, run_dir: Path) -> None:
    """Print the closing table of a run."""
    from engine.record.paths import PRESET

    terminal.sentence(f"{found.run or run_dir.name}: {found.task}, {found.split}")
    terminal.sentence()
    terminal.show(models_table(found))
    terminal.sentence()
    for statement in found.statements:
        terminal.sentence(statement)
    if found.stages:
        terminal.sentence()
        terminal.show(stages_table(found))
    terminal.sentence()
    student = run_dir / "student"
    if student.is_dir():
        terminal.sentence(f"student: {student}")
    if (took := _took(run_dir)) is not None:
        terminal.sentence(f"took:    {took}")
    terminal.sentence(f"repeat:  {found.command or f'crild run {shlex.quote(str(run_dir / PRESET))}'}")


def _took(run_dir: Path) -> str | None:
    from engine.errors import CrildError
    from engine.record.run import read_status

    try:
        return formatting.took(read_status(run_dir))
    except CrildError:  # results alone say enough
        return None


def models_table(found: Closing) -> Table:
    """Teacher, student and what they are held against; columns of cost only where something was measured."""
    costs = [cost for cost in COST if any(getattr(row, cost[1]) is not None for row in found.models)]
    columns = [("", "left"), *((name, "right") for name in found.metrics), *((label, "right") for label, _, _ in costs)]
    return terminal.table(columns, (_model_row(row, found.metrics, costs) for row in found.models))


def _model_row(row: ModelRow, metrics: Iterable[str], costs: Iterable[tuple[str, str, Any]]) -> list[str]:
    figures = [formatting.metric(row.metrics.get(name)) for name in metrics]
    measured = [word(getattr(row, field)) if row.has_cost else "" for _, field, word in costs]
    return [row.name, *figures, *measured]


def stages_table(found: Closing) -> Table:
    """Steps, time and speed of each stage."""
    rows = (
        (
            stage.name,
            formatting.NONE if stage.steps is None else f"{stage.steps:,}",
            "cached" if stage.cached else formatting.duration(stage.seconds),
            "" if stage.cached else formatting.rate(stage.examples_per_second),
        )
        for stage in found.stages
    )
    return terminal.table([("stage", "left"), ("steps", "right"), ("time", "right"), ("examples/s", "right")], rows)
