"""Drawing finished runs: the closing table, `crild show`, `crild compare`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crild_tui.cli import terminal
from crild_tui.runs import formatting
from engine.record.states import allows

if TYPE_CHECKING:
    from rich.table import Table

    from engine.record.run import RunEntry
    from engine.report.closing_table import Closing, ModelRow

COST = (
    ("params", "parameters", formatting.amount),
    ("size", "bytes", formatting.size),
    ("latency", "latency_ms", formatting.milliseconds),
    ("examples/s", "throughput", formatting.rate),
)
MESSAGES = 20
"""Warnings and errors that `crild show` repeats at most, the last ones."""


# -- the closing table


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


# -- crild show


def show_run(run_dir: Path, *, as_json: bool) -> None:
    """Everything about one run: state, results, stages, settings, messages."""
    from engine.record.run import read_run

    entry = read_run(run_dir)
    if as_json:
        terminal.show_json(document(entry))
        return
    _show_head(entry)
    if entry.status is not None and entry.status.state == "finished" and (found := closing_of(run_dir)) is not None:
        terminal.sentence()
        show_closing(found, run_dir)
    else:
        _show_stages(run_dir)
    _show_settings(run_dir)
    _show_messages(run_dir)


def document(entry: RunEntry) -> dict[str, Any]:
    """A run as `crild show --json` gives it."""
    from engine.errors import CrildError
    from engine.record.files import read_json
    from engine.record.paths import ENVIRONMENT, RESULTS
    from engine.report.compare import read_preset

    try:
        preset: dict[str, Any] | None = read_preset(entry.path)
    except CrildError:
        preset = None
    return {
        "run": entry.id,
        "path": str(entry.path),
        "state": entry.state,
        "problem": entry.problem,
        "status": entry.status.to_dict() if entry.status else None,
        "note": entry.note,
        "tags": list(entry.tags),
        "results": read_json(entry.path / RESULTS),
        "preset": preset,
        "environment": read_json(entry.path / ENVIRONMENT),
    }


def _show_head(entry: RunEntry) -> None:
    import time

    terminal.sentence(f"run:     {entry.id}")
    terminal.sentence(f"path:    {entry.path}")
    terminal.sentence(f"state:   {entry.state}{'' if entry.problem is None else f' ({entry.problem})'}")
    status = entry.status
    if status is None:
        return
    terminal.sentence(f"preset:  {status.preset or '-'}; task {status.task or '-'}, seed {status.seed}")
    terminal.sentence(
        f"created: {formatting.age(time.time() - status.created)} ago, {formatting.plural(status.attempt, 'attempt')}"
    )
    if entry.tags:
        terminal.sentence(f"tags:    {', '.join(entry.tags)}")
    for number, line in enumerate(entry.note.splitlines()):
        terminal.sentence(f"{'note:   ' if not number else '        '} {line}")
    for line in str(status.error).splitlines() if status.error else ():
        terminal.sentence(f"error:   {line}")
    if allows(entry.state, "resume"):
        terminal.sentence(f"resume:  {formatting.command('resume', entry.path)}")


def _show_stages(run_dir: Path) -> None:
    from crild_tui.cli.follow.event_messages import metrics, summary
    from crild_tui.runs.summary import Picture, fold, thinned
    from engine.record.events import read_events

    picture = fold(Picture(), thinned(list(read_events(run_dir))))
    if picture.stages:
        terminal.sentence()
    for story in picture.stages:
        terminal.sentence(summary(story, picture.metric_name))
    if held := metrics(picture):
        terminal.sentence(", ".join(held))


def _show_settings(run_dir: Path) -> None:
    from engine.errors import CrildError
    from engine.report.compare import flat, read_preset

    try:
        document = read_preset(run_dir)
    except CrildError as error:
        terminal.sentence(str(error))
        return
    terminal.sentence()
    rows = [(key, terminal.as_text(value)) for key, value in flat(document)]
    terminal.show(terminal.table([("setting", "left"), ("value", "left")], rows))


def _show_messages(run_dir: Path) -> None:
    from engine.record.events import read_events

    found = [e for e in read_events(run_dir, {"message"}) if e.get("level") in ("warning", "error")]
    if found:
        terminal.sentence()
    for event in found[-MESSAGES:]:
        terminal.sentence(f"{event['level']}: {event.get('text', '')}")


# -- crild compare


def compare_runs(run_dirs: Sequence[Path], *, as_json: bool) -> None:
    """Runs side by side: final metrics, then the keys that their presets set differently."""
    from engine.record.run import read_run
    from engine.report.compare import ABSENT, differences, read_preset

    entries = [read_run(run_dir) for run_dir in run_dirs]
    different = differences([read_preset(run_dir) for run_dir in run_dirs])
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
    columns = [("key", "left"), *((str(place + 1), "left") for place in range(len(entries)))]
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
    for place, (entry, final) in enumerate(zip(entries, finals, strict=True)):
        student, teacher = final.get("student", {}), final.get("teacher", {})
        first = next((teacher[name] for name in names if name in teacher and name in student), None)
        figures = [formatting.metric(student.get(name)) if name in student else "" for name in names]
        rows.append([str(place + 1), entry.id, entry.state, *figures, formatting.metric(first)])
    return terminal.table(columns, rows)


def show_seeds(run_dirs: Sequence[Path]) -> None:
    """Print the seeds of one preset: each model's primary metric in each run, then mean and standard deviation."""
    from engine.record.run import read_run

    entries = [read_run(run_dir) for run_dir in run_dirs]
    finals = [final_metrics(entry) for entry in entries]
    metric = next(
        (status.metric_name for entry in entries if (status := entry.status) and status.metric_name), "metric"
    )
    terminal.sentence(f"{metric} over {formatting.plural(len(entries), 'seed')}")
    terminal.sentence()
    terminal.show(seeds_table(entries, finals))


def seeds_table(entries: Sequence[RunEntry], finals: Sequence[Mapping[str, Mapping[str, float | None]]]) -> Table:
    """A row for each run, a column for each model."""
    from engine.report.compare import spread

    models = list(dict.fromkeys(name for final in finals for name in final))
    rows, columns = [], [("run", "left"), *((name, "right") for name in models)]
    values: dict[str, list[float]] = {name: [] for name in models}
    for entry, final in zip(entries, finals, strict=True):
        cells = []
        for name in models:
            value = next(iter(final.get(name, {}).values()), None)
            cells.append(formatting.metric(value))
            if value is not None:
                values[name].append(value)
        rows.append([entry.id, *cells])
    spreads = [spread(values[name]) for name in models]
    rows.append(["mean", *(formatting.metric(s.mean if s else None) for s in spreads)])
    rows.append(["standard deviation", *(formatting.metric(s.deviation if s else None) for s in spreads)])
    return terminal.table(columns, rows)
