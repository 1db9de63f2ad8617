"""`crild show`: everything about one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from crild_tui.cli import terminal
from crild_tui.cli.options import AsJson, Run, RunsDir
from crild_tui.runs import formatting

if TYPE_CHECKING:
    from engine.launch.slurm import JobState
    from engine.record.run import RunEntry

MESSAGES = 20
"""How many warnings and errors `crild show` repeats at most, the last ones."""


def show(run: Run, as_json: AsJson = False, runs_dir: RunsDir = None) -> None:
    """Show a run's results, stages, settings and messages."""
    from crild_tui.cli.closing_table import closing_of
    from engine.launch.slurm_watch import settle
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run, read_run
    from engine.record.student import REPLACED, student_replaced

    run_dir = find_run(run, folder_of(runs_dir))
    job = settle(run_dir)
    entry = read_run(run_dir)
    if as_json:
        terminal.show_json(document(entry))
        return
    _show_head(entry, job)
    _show_inputs(run_dir)
    if entry.status is not None and entry.status.state == "finished" and (closing := closing_of(run_dir)):
        if student_replaced(run_dir):
            terminal.sentence(f"warning: {REPLACED}")
        terminal.show_parts(["", *closing])
        _show_errors(run_dir)
    else:
        _show_stages(run_dir)
    _show_settings(run_dir)
    _show_findings(run_dir)
    _show_messages(run_dir)


def document(entry: RunEntry) -> dict[str, Any]:
    """A run as `crild show --json` gives it."""
    from crild_tui.runs.trackers import tracker_documents
    from engine.errors import CrildError
    from engine.record.files import read_json
    from engine.record.inputs import known_inputs
    from engine.record.paths import ENVIRONMENT, RESULTS
    from engine.record.student import student_replaced
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
        "trackers": tracker_documents(entry.path),
        "results": read_json(entry.path / RESULTS),
        "student_errors": _errors_document(entry.path),
        "student_replaced": student_replaced(entry.path),
        "inputs": None if (inputs := known_inputs(entry.path)) is None else inputs.to_dict(),
        "preset": preset,
        "environment": read_json(entry.path / ENVIRONMENT),
        "findings": [{**event["finding"], "sentence": event.get("text")} for event in _findings(entry.path)],
    }


def _show_head(entry: RunEntry, job: JobState | None) -> None:
    import time

    from crild_tui.runs.trackers import tracker_lines
    from engine.record.states import allows

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
    if status.job is not None:
        cluster = f" on {status.job.cluster}" if status.job.cluster else ""
        terminal.sentence(f"job:     {status.job}{cluster}{'' if job is None else f' ({job})'}")
    if entry.tags:
        terminal.sentence(f"tags:    {', '.join(entry.tags)}")
    for line in tracker_lines(entry):
        terminal.sentence(f"tracker: {line}")
    for number, line in enumerate(entry.note.splitlines()):
        terminal.sentence(f"{'note:   ' if not number else '        '} {line}")
    if status.error and entry.state == "finished":
        terminal.sentence("note:    the last attempt to extend this run ended before it trained; its results stand:")
    for line in str(status.error).splitlines() if status.error else ():
        terminal.sentence(f"error:   {line}")
    if allows(entry.state, "resume"):
        terminal.sentence(f"resume:  {formatting.command('resume', entry.path)}")


def _show_inputs(run_dir: Path) -> None:
    from engine.errors import RunError
    from engine.record.inputs import read_inputs
    from engine.report.inputs import input_lines

    try:
        inputs = read_inputs(run_dir)
    except RunError as error:
        terminal.sentence(f"warning: {error}")
        return
    for name, text in input_lines(inputs) if inputs is not None else ():
        terminal.sentence(f"{f'{name}:':8} {text}")


def _show_errors(run_dir: Path) -> None:
    """What the student gets wrong, in short; nothing for a run without predictions."""
    from engine.errors import CrildError
    from engine.report.student_errors import has_predictions, student_errors

    if not has_predictions(run_dir):
        return
    from crild_tui.runs.error_parts import brief_parts

    try:
        found = student_errors(run_dir)
    except CrildError as error:
        if error.kind != "untrained-head":  # the closing table says it
            terminal.say(f"warning: {error}")
        return
    terminal.show_parts(["", *brief_parts(found, run_dir, ascii_only=terminal.ascii_only())])


def _errors_document(run_dir: Path) -> dict[str, Any] | None:
    """What the student gets wrong, without the rows; None where there are no predictions, or they cannot be read."""
    from engine.errors import CrildError
    from engine.report.student_errors import has_predictions, student_errors

    try:
        return student_errors(run_dir).to_dict(rows=False) if has_predictions(run_dir) else None
    except CrildError:
        return None


def _show_stages(run_dir: Path) -> None:
    from crild_tui.cli.follow.event_messages import metrics, stage_sentence
    from crild_tui.runs.summary import RunSummary, apply_events
    from engine.record.events import read_events

    summary = apply_events(RunSummary(), list(read_events(run_dir)))
    if summary.stages:
        terminal.sentence()
    for stage in summary.stages:
        terminal.sentence(stage_sentence(stage, summary.metric_name))
    if figures := metrics(summary):
        terminal.sentence(", ".join(figures))


def _show_settings(run_dir: Path) -> None:
    """The settings in words, and where all of them stand."""
    from engine.errors import CrildError
    from engine.record.paths import PRESET
    from engine.report.compare import read_preset
    from engine.report.setting_words import setting_lines

    try:
        settings = list(setting_lines(read_preset(run_dir)))
    except CrildError as error:
        terminal.sentence(str(error))
        return
    terminal.sentence()
    terminal.show(terminal.table([("setting", "left"), ("value", "left")], settings))
    terminal.sentence(f"all settings: {formatting.command('presets show', run_dir / PRESET)}")


def _findings(run_dir: Path) -> list[dict[str, Any]]:
    """The messages of the newest attempt about data, tokenizer and models."""
    from engine.record.events import read_events

    findings: list[dict[str, Any]] = []
    for event in read_events(run_dir, {"run_started", "message"}):
        if event.get("kind") == "run_started":
            findings.clear()
        elif isinstance(event.get("finding"), dict):
            findings.append(event)
    return findings


def _show_findings(run_dir: Path) -> None:
    findings = _findings(run_dir)
    if findings:
        terminal.sentence()
    for event in findings:
        label = "warning" if event.get("level") == "warning" else "data"
        terminal.sentence(f"{label}: {event.get('text', '')}")


def _show_messages(run_dir: Path) -> None:
    from engine.record.events import read_events

    messages = [
        event
        for event in read_events(run_dir, {"message"})
        if event.get("level") in ("warning", "error") and not isinstance(event.get("finding"), dict)
    ]
    if messages:
        terminal.sentence()
    for event in messages[-MESSAGES:]:
        terminal.sentence(f"{event['level']}: {event.get('text', '')}")
