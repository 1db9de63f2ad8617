"""What the dashboard does to runs: the engine's functions that the command line calls too.

Each returns the sentence to show, or raises CrildError with one. They may take seconds: call them in a thread.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from crild_tui.runs import formatting
from crild_tui.runs.create import RunRequest, create_runs, discard_runs, load_presets
from crild_tui.runs.resume import prepare
from crild_tui.runs.states import check_possible, command_hints
from engine.errors import CrildError, RunError, UsageError


def create(request: RunRequest) -> list[Path]:
    """Check the presets and create the run directories without starting anything.

    Raises CrildError and leaves no directory behind if one fails.
    """
    return create_runs(request, load_presets(request))


def start(runs: Sequence[Path], *, trust: bool = False) -> str:
    """Start a run that was just created, or several one after the other through a queue.

    `trust` is whether the user lets code that comes with their models run. Raises CrildError: a single run then stays, failed or resumable; several are discarded if their queue cannot start.
    """
    from engine.launch.start import start_engine
    from engine.preset.load import load_run_preset
    from engine.sweep.queue import enqueue
    from engine.user.consent import NONE, consent_to

    consent = consent_to([load_run_preset(run).preset for run in runs], trust=True) if trust else NONE
    if len(runs) == 1:
        start_engine(runs[0], consent=consent)
        return f"{runs[0].name} has started"
    try:
        enqueue(runs, consent=consent)
    except CrildError:
        discard_runs(runs)
        raise
    return f"{formatting.plural(len(runs), 'run')} queued; they run one after the other"


def stop(run_dir: Path) -> str:
    """Ask the engine to write a checkpoint and stop. Raises RunError."""
    from engine.launch import signals

    signals.stop(run_dir)
    return f"{run_dir.name} stops at its next step, with a checkpoint{_sweep_goes_on(run_dir)}"


def _sweep_goes_on(run_dir: Path) -> str:
    """The end of a sentence about a run that stops while its sweep is running."""
    from crild_tui.runs.sweeps import read_sweep
    from engine.record.run import read_run

    status = read_run(run_dir).status
    if status is None or not status.sweep:
        return ""
    try:
        alive = read_sweep(run_dir.parent, status.sweep).alive()
    except CrildError:
        return ""
    return f"; sweep {status.sweep} goes on with its other runs, and won't start this one again" if alive else ""


def kill(run_dir: Path) -> str:
    """Kill the engine. Raises RunError."""
    from engine.launch import signals

    signals.kill(run_dir)
    return f"{run_dir.name} was killed; it can be resumed from its last checkpoint"


def stop_sweep(runs_dir: Path, name: str) -> str:
    """Ask a sweep to stop; its engines write checkpoints. Raises CrildError."""
    from engine.sweep import submit

    submit.stop_sweep(runs_dir, name)
    record = submit.existing(runs_dir, name)
    command = "sweep" if record is None else record.command
    return f"{name}: each run stops at its next step, with a checkpoint; run `crild {command}` to continue it"


def resume(run_dir: Path, changes: Sequence[str] = (), *, trust: bool = False) -> str:
    """Resume a run from its last good checkpoint, with changes as for `--set`. Raises CrildError.

    `trust` is whether the user lets code that comes with its models run.
    """
    from engine.launch.start import start_engine
    from engine.sweep.queue import continue_queue

    prepared = prepare(run_dir, changes, trust=trust)
    status = prepared.entry.status
    if status is not None and status.state == "queued":
        continue_queue(run_dir, consent=prepared.consent)
        return f"the queue of {run_dir.name} continues"
    start_engine(run_dir, resume=True, consent=prepared.consent)
    return "; ".join([f"{run_dir.name} resumed", *prepared.notes])


def trash(run_dir: Path) -> str:
    """Move a run to the trash folder next to it. Raises UsageError while it is in progress, RunError if it cannot move."""
    from engine.record.files import cause
    from engine.record.lock import RunLock
    from engine.record.paths import TRASH
    from engine.record.removal import OpenFolder
    from engine.record.run import is_run, read_run

    if not is_run(run_dir):
        raise UsageError(f"{run_dir.name} is not a run directory", kind="not-a-run")
    if run_dir.is_symlink():
        raise RunError(f"{run_dir.name} is a link: delete {str(run_dir.resolve())!r} instead", kind="run-is-a-link")
    check_possible(read_run(run_dir), "delete", command_hints(run_dir))
    target = run_dir.parent / TRASH / f"{run_dir.name}.{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        with (
            OpenFolder.at(run_dir.parent) as runs,
            OpenFolder.at(run_dir.parent, TRASH, create=True) as trash,
            RunLock(run_dir) as lock,
        ):
            lock.take()
            runs.rename(run_dir.name, target.name, into=trash)
    except OSError as error:
        sentence = f"the run cannot be moved to the trash: {cause(error)}"
        raise RunError(sentence, kind="trash-failed", file=str(run_dir)) from error
    return f"{run_dir.name} moved to {target}; run `crild prune` to delete it for good"
