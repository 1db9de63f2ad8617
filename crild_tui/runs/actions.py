"""What a person can do to runs from the dashboard: the same functions that the command line uses, without its printing.

Each returns the sentence to show, or raises CrildError with the one to show instead. They may take seconds: call them in
a thread.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from crild_tui.runs import formatting
from crild_tui.runs.create import Request, create_all, load_all, unmake
from crild_tui.runs.resume import prepare
from engine.errors import CrildError, RunError, UsageError


def make(request: Request) -> list[Path]:
    """Check the presets and make the run directories; nothing is started. Raises CrildError, and leaves nothing then."""
    return create_all(request, load_all(request))


def start(runs: Sequence[Path]) -> str:
    """Start a run that was just made, or several one after the other through a queue.

    Raises CrildError: a single run then stays, as failed or to be resumed; several are unmade when no queue comes up.
    """
    from engine.launch.start import start_engine
    from engine.sweep.queue import enqueue

    if len(runs) == 1:
        start_engine(runs[0])
        return f"{runs[0].name} has started"
    try:
        enqueue(runs)
    except CrildError:
        unmake(runs)
        raise
    return f"{formatting.plural(len(runs), 'run')} queued; they run one after the other"


def stop(run_dir: Path) -> str:
    """Ask the engine for a checkpoint and its end. Raises RunError."""
    from engine.launch import signals

    signals.stop(run_dir)
    return f"{run_dir.name} was asked to stop at its next step with a checkpoint"


def kill(run_dir: Path) -> str:
    """End the engine at once. Raises RunError."""
    from engine.launch import signals

    signals.kill(run_dir)
    return f"{run_dir.name} was killed; it can go on from its last checkpoint"


def stop_sweep(runs_dir: Path, name: str) -> str:
    """Ask a sweep to stop; its engines write checkpoints. Raises CrildError."""
    from engine.sweep import submit

    submit.stop_sweep(runs_dir, name)
    return f"{name}: its runs stop at their next step with a checkpoint; crild sweep goes on with it"


def resume(run_dir: Path, changes: Sequence[str] = ()) -> str:
    """Go on from the last good checkpoint, with `--set` items that a run can still take. Raises CrildError."""
    from engine.launch.start import start_engine
    from engine.sweep.queue import continue_queue

    entry = prepare(run_dir, changes)
    if entry.status is not None and entry.status.state == "queued":
        continue_queue(run_dir)
        return f"the queue of {run_dir.name} goes on"
    start_engine(run_dir, resume=True)
    return f"{run_dir.name} goes on"


def trash(run_dir: Path) -> str:
    """Move a run to the trash folder beside it. Raises RunError while an engine works on it, or when it cannot move."""
    from engine.record.files import cause
    from engine.record.lock import RunLock
    from engine.record.paths import TRASH
    from engine.record.run import is_run, read_run
    from engine.record.states import IN_PROGRESS

    if not is_run(run_dir):
        raise UsageError(f"{run_dir.name} is no run directory")
    if run_dir.is_symlink():
        raise RunError(f"{run_dir.name} is a link: delete {str(run_dir.resolve())!r} itself")
    entry = read_run(run_dir)
    if entry.state in IN_PROGRESS - {"created"}:
        raise RunError(f"{run_dir.name} is {entry.state}: stop it first")
    folder = run_dir.parent / TRASH
    target = folder / f"{run_dir.name}.{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        folder.mkdir(exist_ok=True)
        with RunLock(run_dir) as lock:
            lock.take()
            run_dir.rename(target)
    except OSError as error:
        raise RunError(f"the run cannot be moved to the trash: {cause(error)}", file=str(run_dir)) from error
    return f"{run_dir.name} is in {target}; crild prune deletes it for good"
