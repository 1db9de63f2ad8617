"""`crild track`: send runs to TensorBoard, W&B, MLflow and trackio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.options import AsJson, Quiet, Runs, RunsDir

if TYPE_CHECKING:
    from engine.record.run import RunEntry

BUSY = 75
"""Exit code of a reader that found another one at it (`engine/track/process.py`)."""


def track(
    runs: Runs,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="TRACKER,TRACKER",
            help="tensorboard, wandb, mlflow, trackio. [default: those in settings.toml]",
        ),
    ] = None,
    student: Annotated[bool, typer.Option("--student", help="Upload the student of a finished run, too.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    runs_dir: RunsDir = None,
) -> None:
    """Send runs to TensorBoard, W&B, MLflow or trackio: settings, curves, results.

    A run that is running is followed to its end. What a tracker has is not sent
    again: repeat the command after an error to send the rest. Each tracker needs
    its extra, as crild[wandb]; addresses and folders are in settings.toml.

    \b
    crild track latest --to tensorboard
    crild track tickets rte-crild --to wandb,mlflow --student

    \b
    Exit codes: 0 sent; 1 a tracker did not take everything; 2 wrong usage.
    """
    from crild_tui.runs.trackers import is_complete, tracker_documents, tracker_lines
    from engine.errors import UsageError
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run, read_run
    from engine.record.states import IN_PROGRESS
    from engine.record.tracking import Tracking, trackings
    from engine.user.settings import Track, read_settings
    from engine.user.tracking import check_installed, chosen_trackers, parse_trackers

    with_student = read_settings(Track).student or student
    kinds = chosen_trackers() if to is None else parse_trackers(to)
    if not kinds:
        sentence = "no tracker is named: --to tensorboard, or to = [...] in the section [track] of your settings.toml"
        raise UsageError(sentence, kind="no-tracker", key="--to")
    check_installed(kinds)
    entries = [read_run(find_run(run, folder_of(runs_dir))) for run in dict.fromkeys(runs)]
    documents, failed = [], False
    for entry in sorted(entries, key=lambda one: one.state in IN_PROGRESS):  # those that are followed come last
        known = trackings(entry.path)
        open_kinds = [
            kind for kind in kinds
            if not isinstance(record := known.get(kind), Tracking) or not is_complete(entry, kind, record, student=with_student)
        ]  # fmt: skip
        if open_kinds:
            terminal.say(_introduction(entry, open_kinds), quiet=quiet)
        failed = _send(entry.path, open_kinds, student=with_student) or failed
        now = read_run(entry.path)
        documents.append({"run": entry.id, "path": str(entry.path), "trackers": tracker_documents(entry.path)})
        if not as_json:
            for line in tracker_lines(now):
                terminal.sentence(f"{entry.id}: {line}")
    if as_json:
        terminal.show_json(documents)
    raise typer.Exit(int(failed))


def _introduction(entry: RunEntry, kinds: Sequence[str]) -> str:
    from engine.preset.text import listed
    from engine.record.states import IN_PROGRESS
    from engine.record.tracking import NAMES

    what = listed((NAMES[kind] for kind in kinds), "and")
    until = f" until it ends (it is {entry.state}; Ctrl-C leaves off)" if entry.state in IN_PROGRESS else ""
    return f"sending {entry.id} to {what}{until}; loading the libraries takes a few seconds"


def _send(run_dir: Path, kinds: Sequence[str], *, student: bool) -> bool:
    """Send a run to trackers side by side; returns whether one did not take everything."""
    from engine.errors import RunError
    from engine.launch.start import start_reader
    from engine.record.logs import last_lines
    from engine.record.owner import Owner
    from engine.record.tracking import NAMES, read_tracking, tracking_log

    failed = False
    readers = {}
    try:
        for kind in kinds:
            readers[kind] = start_reader(run_dir, kind, *(["--student"] if student else []))
        for kind, reader in readers.items():
            code = reader.wait()
            failed = failed or code != 0
            record = None
            try:
                record = read_tracking(run_dir, kind)
            except RunError:
                code = code or 1
            if code == BUSY:
                owner: Owner | None = None if record is None else record.owner
                again = (
                    "" if record is None or record.error is None else ", and tries again: repeat this in two minutes"
                )
                terminal.say(f"{NAMES[kind]}: {owner or 'another process'} is sending {run_dir.name} there{again}")
            elif not run_dir.is_dir():
                terminal.say(f"{NAMES[kind]}: {run_dir.name} was removed while it was sent")
            elif code < 0:
                terminal.say(f"{NAMES[kind]}: the reader was killed by signal {-code}")
            elif code and (record is None or record.error is None):  # it could not even write its record
                lines = [line for line in last_lines(tracking_log(run_dir, kind)) if line.strip()]
                terminal.say(f"{NAMES[kind]}: {lines[-1] if lines else f'the reader ended with code {code}'}")
    finally:
        for reader in readers.values():
            if reader.poll() is None:
                reader.terminate()
                reader.wait()
    return failed
