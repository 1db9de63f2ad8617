"""`crild stop`: stop runs or a whole sweep, and wait for their checkpoints."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import runs_and_sweeps
from crild_tui.cli.options import RunsDir

if TYPE_CHECKING:
    from engine.sweep.record import SweepRecord

POLL = 0.1
PATIENCE = 30.0
"""Seconds to wait for an engine to write its checkpoint."""
REACTION = 10.0
"""Seconds within which an engine notices that it is asked to stop, unless its process is paused or blocked."""


def stop(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Runs or sweeps: ids of runs or their beginnings, paths, latest, or names of sweeps.",
            autocompletion=runs_and_sweeps,
            show_default=False,
        ),
    ],
    kill: Annotated[bool, typer.Option("--kill", help="Kill the process group at once, without a checkpoint.")] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Stop a run, or all runs of a sweep, after the current step, with a checkpoint.

    \b
    crild stop rte-crild             a run, by its id or the beginning of it
    crild stop study                 a sweep, by its full name
    crild stop rte-crild --kill      if it does not respond
    """
    from engine.record.paths import runs_dir as folder_of

    folder = folder_of(runs_dir)
    for stop_one in [stop_function(ref, folder, kill=kill) for ref in runs]:
        stop_one()


def stop_function(ref: str, runs_dir: Path, *, kill: bool) -> Callable[[], None]:
    """The function that stops this run, or the sweep of this name. Raises UsageError if there is neither."""
    from engine.record.run import LATEST, find_run, is_run
    from engine.sweep.record import list_sweeps

    sweeps = {record.name for record in list_sweeps(runs_dir)} - {LATEST}
    if ref in sweeps and not is_run(runs_dir / ref):
        return partial(stop_sweep, runs_dir, ref, kill=kill)
    return partial(stop_run, find_run(ref, runs_dir), kill=kill)


def stop_sweep(runs_dir: Path, name: str, *, kill: bool = False, quiet: bool = False) -> None:
    """Ask a sweep to stop, or kill its runs; wait until it has stopped, at most `PATIENCE` seconds, and report it.

    Raises UsageError when there is nothing to stop, RunError when its process is on another machine.
    """
    from engine.sweep import submit

    (submit.kill_sweep if kill else submit.stop_sweep)(runs_dir, name)
    if not kill:
        terminal.say(f"{name}: each run stops at its next step, with a checkpoint", quiet=quiet)
    until = time.monotonic() + PATIENCE
    silent = time.monotonic() + REACTION
    while time.monotonic() < until:
        record = submit.existing(runs_dir, name)
        if record is None or not (record.alive() or submit.working(record, runs_dir)):
            again = _again(record, runs_dir) if record is not None else "crild sweep"
            terminal.say(f"{name}: stopped; run `{again}` to continue it", quiet=quiet)
            return
        if time.monotonic() > silent and not kill:
            silent = until
            for run_dir in submit.working(record, runs_dir):
                _report_silence(run_dir)
        time.sleep(POLL)
    terminal.say(f"{name} is still stopping, and will do so on its own", quiet=quiet)


def _again(record: SweepRecord, runs_dir: Path) -> str:
    """The command line that continues a sweep; it names the sweep if its file is called something else."""
    from engine.record.paths import runs_dir as folder_of
    from engine.record.status import LOCAL
    from engine.sweep.record import SUBMITTED

    words = ["crild", record.command, record.file]
    if record.name != Path(record.file).stem:
        words += ["--name", record.name]
    if record.ray is not None:
        words += ["--ray", record.ray]
    if record.state == SUBMITTED or record.scheduler is not None:
        words.append("--slurm-local" if record.scheduler == LOCAL else "--slurm")
    if runs_dir.absolute() != folder_of(None):
        words += ["--runs-dir", str(runs_dir)]
    return shlex.join(words)


def stop_run(run_dir: Path, *, kill: bool) -> None:
    """Ask the engine of a run to stop, or kill it; wait at most `PATIENCE` seconds and report how it ended.

    Raises UsageError when there is nothing to stop, RunError when an engine on another machine does not react.
    """
    from crild_tui.cli.follow.displays import marked
    from crild_tui.cli.follow.outcome import Outcome
    from crild_tui.runs import formatting
    from crild_tui.runs.states import check_possible, command_hints
    from engine.launch import signals
    from engine.launch.slurm_watch import settle
    from engine.record.run import read_run
    from engine.record.states import IN_PROGRESS

    settle(run_dir)
    entry = read_run(run_dir)
    check_possible(entry, "kill" if kill else "stop", command_hints(run_dir))
    (signals.kill if kill else signals.stop)(run_dir)
    if not kill and entry.state != "queued":
        terminal.say(f"{run_dir.name} stops at its next step, with a checkpoint")
    until = time.monotonic() + PATIENCE
    silent = time.monotonic() + REACTION
    while (entry := read_run(run_dir)).state in IN_PROGRESS - {"stalled"}:
        if time.monotonic() > until:
            terminal.say(
                f"{run_dir.name} is still {entry.state}, and will stop on its own; "
                f"run `{formatting.command('attach', run_dir)}` to watch it"
            )
            return
        if time.monotonic() > silent and not kill:
            silent = until
            _report_silence(run_dir)
        time.sleep(POLL)
    for level, line in Outcome(run_dir, entry.state, entry.status, problem=entry.problem).sentences():
        terminal.say(f"{run_dir.name}: {marked(level, line)}")


def _report_silence(run_dir: Path) -> None:
    """Say that an engine has not noticed that it is asked to stop, and how to end it; nothing if it has."""
    from crild_tui.runs import formatting
    from engine.record.run import read_run

    if read_run(run_dir).state in ("running", "created"):
        terminal.say(
            f"{run_dir.name} has not reacted for {REACTION:.0f} seconds: its process may be paused or blocked. To end it at "
            f"once, without a checkpoint, run `{formatting.command('stop', run_dir)} --kill`"
        )
